// SPDX-License-Identifier: Apache-2.0

/// Whose connections to a service port go to the node proxy, because routes decide about their requests.
public enum ServiceCapture: Hashable, Sendable {
    case none
    /// Those of pods whose namespaces have these route classes; never empty.
    case classes(Set<UInt32>)
    case all

    /// What both say.
    public func intersection(_ other: ServiceCapture) -> ServiceCapture {
        switch (self, other) {
        case (.none, _), (_, .none): return .none
        case (.all, let one), (let one, .all): return one
        case (.classes(let left), .classes(let right)):
            let both = left.intersection(right)
            return both.isEmpty ? .none : .classes(both)
        }
    }
}

/// One TCP port of a Service as the node proxy must know it, with routes or without.
public struct CompiledServicePort: Hashable, Sendable {
    /// The Service's own port, which routes name.
    public let port: UInt16
    /// Empty if the port has no name.
    public let name: String
    public let appProtocol: String?
    /// Where clients connect to, with this port; none for a headless Service.
    public internal(set) var addresses: [IPAddress] = []
    /// Of the Service's first family that has any, in whatever state; ascending by address and port.
    public internal(set) var endpoints: [CompiledEndpoint] = []
    /// What holds for requests to the port.
    public let settings: MeshPolicySettings

    init(_ port: Service.Port, _ settings: MeshPolicySettings) {
        self.port = port.port
        name = port.name
        appProtocol = port.appProtocol
        self.settings = settings
    }

    /// Takes note of the addresses that the endpoints' pods have in the other family.
    mutating func pair(with others: [ResolvedEndpoint]) {
        struct Place: Hashable {
            let pod: NamespacedName
            let port: UInt16
        }
        var addresses: [Place: IPAddress] = [:]
        for other in others { if let pod = other.pod { addresses[Place(pod: pod, port: other.port)] = other.address } }
        for place in endpoints.indices {
            guard let pod = endpoints[place].pod else { continue }
            endpoints[place].alternate = addresses[Place(pod: pod, port: endpoints[place].port)]
        }
    }

    /// Leaves out what the kernel would not choose, except those that end.
    mutating func follow(_ backends: [Backend]) {
        let chosen = Set(backends.map { ServiceEndpoint(address: $0.address, port: $0.port) })
        endpoints.removeAll {
            !$0.isTerminating && !chosen.contains(ServiceEndpoint(address: $0.address, port: $0.port))
        }
    }
}

/// An endpoint as the node proxy must know it, which balances by itself.
public struct CompiledEndpoint: Hashable, Sendable {
    public let address: IPAddress
    public let port: UInt16
    public let weight: UInt32
    public let zone: String?
    public let node: String?
    public let isTerminating: Bool
    /// Its pod's address in the other family, with the same port; `nil`: it has none.
    public internal(set) var alternate: IPAddress?
    let pod: NamespacedName?

    init?(_ endpoint: ResolvedEndpoint) {
        // Anything else gets nothing whatever the others are.
        guard endpoint.weight > 0, endpoint.isReady || (endpoint.isServing && endpoint.isTerminating) else {
            return nil
        }
        address = endpoint.address
        port = endpoint.port
        weight = endpoint.weight
        zone = endpoint.zone
        node = endpoint.nodeName
        isTerminating = endpoint.isTerminating
        pod = endpoint.pod
    }
}

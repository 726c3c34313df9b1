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
    /// Of the Service's first family that has any, as the kernel would choose among them for clients of this node.
    public internal(set) var backends: [Backend] = []

    init(_ port: Service.Port) {
        self.port = port.port
        name = port.name
        appProtocol = port.appProtocol
    }
}

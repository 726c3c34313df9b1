// SPDX-License-Identifier: Apache-2.0

/// Asks for the services as this node translates them; one item per service.
public struct ServicesRequest: AdminCall {
    public typealias Item = ServiceReport
    public static let method = "services"
    public static let access = AdminAccess.read

    /// Only services of this namespace.
    public var namespace: String?

    public init(namespace: String? = nil) {
        self.namespace = namespace
    }
}

/// A service and where its connections go.
public struct ServiceReport: Codable, Equatable, Sendable {
    public var namespace: String
    public var name: String
    /// `ClusterIP`, `NodePort`, `LoadBalancer`, `ExternalName`, or `Headless`.
    public var type: String
    /// How long a client stays with its backend; absent: no affinity.
    public var affinitySeconds: UInt32?
    /// One for every address and port.
    public var frontends: [FrontendReport]

    public init(
        namespace: String, name: String, type: String, affinitySeconds: UInt32? = nil, frontends: [FrontendReport]
    ) {
        self.namespace = namespace
        self.name = name
        self.type = type
        self.affinitySeconds = affinitySeconds
        self.frontends = frontends
    }
}

/// An address and port of a service.
public struct FrontendReport: Codable, Equatable, Sendable {
    public var address: String
    public var port: UInt16
    /// `TCP` or `UDP`.
    public var `protocol`: String
    /// Name of the service port.
    public var portName: String?
    /// Empty: connections are refused.
    public var backends: [BackendReport]

    public init(
        address: String, port: UInt16, protocol: String, portName: String? = nil, backends: [BackendReport]
    ) {
        self.address = address
        self.port = port
        self.protocol = `protocol`
        self.portName = portName
        self.backends = backends
    }
}

/// An endpoint of a service.
public struct BackendReport: Codable, Equatable, Sendable {
    public var address: String
    public var port: UInt16
    /// Share of new connections, relative to the other backends in use; 0: not in use from this node.
    public var weight: UInt32
    public var ready: Bool
    public var terminating: Bool
    /// On this node.
    public var local: Bool
    public var zone: String?
    /// `NAMESPACE/NAME` of the pod behind it.
    public var workload: String?

    public init(
        address: String, port: UInt16, weight: UInt32, ready: Bool, terminating: Bool = false, local: Bool,
        zone: String? = nil, workload: String? = nil
    ) {
        self.address = address
        self.port = port
        self.weight = weight
        self.ready = ready
        self.terminating = terminating
        self.local = local
        self.zone = zone
        self.workload = workload
    }
}

// SPDX-License-Identifier: Apache-2.0

/// Everything the kernel of one node must know, with no trace of how objects said it.
///
/// A copy shares storage until the compiler's next change, which then copies what it touches: a caller
/// that keeps one pays for that. Keep ``CompiledChanges`` instead and look the keys up.
public struct CompiledMesh: Sendable {
    /// Pods of this node that are enrolled.
    public internal(set) var workloads: [NamespacedName: CompiledWorkload] = [:]
    /// Pods of all nodes, addresses of this node, cluster addresses of services.
    public internal(set) var addresses: [IPAddress: CompiledAddress] = [:]
    /// Enrolled pods of other nodes, which are reached through tunnels; none without tunnels. Where a pod of this node
    /// encrypts, those of this node too: an egress set tells which of them a pod reaches so.
    public internal(set) var remotePods: [NamespacedName: CompiledRemotePod] = [:]
    /// For all other addresses, by longest prefix. Holds ``CIDR/allIPv4`` and ``CIDR/allIPv6`` always.
    public internal(set) var cidrs: [CIDR: IdentityNumber] = [:]
    public internal(set) var services: [ServiceKey: CompiledService] = [:]
    /// Of ``services``, those whose connections are the proxy's.
    public internal(set) var captures: [ServiceKey: ServiceCapture] = [:]
    /// The TCP ports of all Services, in their order; empty without a proxy.
    public internal(set) var servicePorts: [NamespacedName: [CompiledServicePort]] = [:]
    /// The sets that workloads name, ``PolicySetID/none`` excepted.
    public internal(set) var policySets: [PolicySetID: PolicySet] = [:]
    /// What every number means.
    public internal(set) var identities: [IdentityNumber: IdentityKey] = [:]
}

/// A local pod that the kernel hooks cover.
public struct CompiledWorkload: Hashable, Sendable {
    /// Who the workload is by its IPv4 and by its IPv6 address.
    public let identity: PerFamily<IdentityNumber>
    public let policySet: PolicySetID
    /// The set that would be in force if dry-run policies were enforced; ``PolicySetID/none`` if it is no other.
    public let dryRunSet: PolicySetID
    /// The primary address first.
    public let addresses: [IPAddress]
    public let acceleration: PodMeshSettings.Acceleration
    public let allowsRawSockets: Bool
    public let skipInboundPorts: [UInt16]
    public let skipOutboundPorts: [UInt16]
    /// Ports that the node's probes ask, to which rules about requests do not apply when it is the node that asks.
    public let probePorts: Set<UInt16>
    /// Of its namespace, if routes are made for clients there; else 0.
    public let routeClass: UInt32

    public init(
        identity: PerFamily<IdentityNumber>, policySet: PolicySetID, dryRunSet: PolicySetID, addresses: [IPAddress],
        settings: PodMeshSettings, probePorts: Set<UInt16> = [], routeClass: UInt32 = 0
    ) {
        self.identity = identity
        self.policySet = policySet
        self.dryRunSet = dryRunSet
        self.addresses = addresses
        self.acceleration = settings.acceleration
        self.allowsRawSockets = settings.allowRawSockets
        self.skipInboundPorts = settings.skipInboundPorts
        self.skipOutboundPorts = settings.skipOutboundPorts
        self.probePorts = probePorts
        self.routeClass = routeClass
    }
}

/// An end of tunnels.
public struct CompiledRemotePod: Hashable, Sendable {
    public let serviceAccount: String
    public let labels: Labels
    /// Those that nobody else claims.
    public let addresses: [IPAddress]
    /// Who it is by its addresses: in the egress policy of this node's pods.
    public let identity: PerFamily<IdentityNumber>
    /// Who it is once its certificate has proved it: in their ingress policy.
    public let proven: PerFamily<IdentityNumber>
}

/// Who an address is.
public struct CompiledAddress: Hashable, Sendable {
    public let identity: IdentityNumber
    /// The pod that has the address, on any node.
    public let workload: NamespacedName?
    /// An enrolled pod of this node; a SYN from here must have a record.
    public let isLocal: Bool
    /// A cluster address of a service: only its ports exist.
    public let isService: Bool
    /// An address of this node.
    public let isNode: Bool

    public init(
        identity: IdentityNumber, workload: NamespacedName? = nil, isLocal: Bool = false, isService: Bool = false,
        isNode: Bool = false
    ) {
        self.identity = identity
        self.workload = workload
        self.isLocal = isLocal
        self.isService = isService
        self.isNode = isNode
    }

    public var needsRecord: Bool { isLocal }
}

/// Where a client of a service connects to.
public struct ServiceKey: Hashable, Sendable {
    public let address: IPAddress
    public let port: UInt16
    public let transport: TransportProtocol

    public init(address: IPAddress, port: UInt16, transport: TransportProtocol) {
        self.address = address
        self.port = port
        self.transport = transport
    }
}

extension ServiceKey: Comparable, CustomStringConvertible {
    public static func < (left: Self, right: Self) -> Bool {
        (left.address, left.port, left.transport.number) < (right.address, right.port, right.transport.number)
    }

    public var description: String {
        (address.isIPv4 ? "\(address):\(port)" : "[\(address)]:\(port)") + (transport == .udp ? "/udp" : "")
    }
}

public struct CompiledService: Hashable, Sendable {
    /// Why the address leads to the service.
    public enum Origin: String, Hashable, Sendable {
        case clusterIP = "ClusterIP"
        case nodePort = "NodePort"
        case loadBalancer = "LoadBalancer"
        case externalIP = "ExternalIP"
    }

    /// Stable number of what these backends serve; keys with equal numbers have equal backends and endpoints.
    public let number: UInt32
    public let service: NamespacedName
    /// Empty if the port has no name.
    public let portName: String
    public let origin: Origin
    /// Ascending by address and port, with weights above 0. Empty: connections are refused.
    public let backends: [Backend]
    /// Every endpoint that the service lists in whatever state, ascending: who may keep a connection.
    public let endpoints: [ServiceEndpoint]
    /// 0: no affinity.
    public let affinitySeconds: UInt32
    /// Whose connections are the proxy's.
    public let capture: ServiceCapture
}

public struct Backend: Hashable, Sendable {
    public let address: IPAddress
    public let port: UInt16
    public let weight: UInt32

    public init(address: IPAddress, port: UInt16, weight: UInt32) {
        self.address = address
        self.port = port
        self.weight = weight
    }
}

/// The keys of a ``CompiledMesh`` whose values a compilation changed, added or removed.
public struct CompiledChanges: Hashable, Sendable {
    public internal(set) var workloads: Set<NamespacedName> = []
    public internal(set) var addresses: Set<IPAddress> = []
    public internal(set) var cidrs: Set<CIDR> = []
    public internal(set) var remotePods: Set<NamespacedName> = []
    public internal(set) var services: Set<ServiceKey> = []
    public internal(set) var servicePorts: Set<NamespacedName> = []
    /// Objects that have come, gone or changed; ``MeshCompiler/routeObjects`` has them.
    public internal(set) var routes: Set<ObjectReference> = []
    /// Enrolled pods about whose requests other policies may decide; ``MeshCompiler/requestPolicies(of:)`` has them.
    public internal(set) var requestPolicies: Set<NamespacedName> = []
    /// Whether the node is in another zone.
    public internal(set) var hasZoneChange = false
    /// Sets come and go, but never change.
    public internal(set) var policySets: Set<PolicySetID> = []
    public internal(set) var identities: Set<IdentityNumber> = []

    public init(services: Set<ServiceKey> = []) { self.services = services }

    public var isEmpty: Bool { self == CompiledChanges() }
}

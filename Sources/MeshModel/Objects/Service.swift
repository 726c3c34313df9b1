// SPDX-License-Identifier: Apache-2.0

/// A core/v1 Service.
public struct Service: Hashable, Sendable {
    public enum Kind: String, Hashable, Sendable {
        case clusterIP = "ClusterIP"
        case nodePort = "NodePort"
        case loadBalancer = "LoadBalancer"
        case externalName = "ExternalName"
    }

    public struct Port: Hashable, Sendable {
        /// Empty if the service has one port without a name.
        public var name: String
        public var port: UInt16
        /// `nil`: the same as `port`.
        public var targetPort: PortReference?
        public var nodePort: UInt16?
        public var transport: TransportProtocol
        public var appProtocol: String?

        public init(
            name: String = "", port: UInt16, targetPort: PortReference? = nil, nodePort: UInt16? = nil,
            transport: TransportProtocol = .tcp, appProtocol: String? = nil
        ) {
            self.name = name
            self.port = port
            self.targetPort = targetPort
            self.nodePort = nodePort
            self.transport = transport
            self.appProtocol = appProtocol
        }
    }

    public enum TrafficPolicy: String, Hashable, Sendable {
        case cluster = "Cluster"
        case local = "Local"
    }

    public enum TrafficDistribution: String, Hashable, Sendable {
        /// The older name of ``preferSameZone``.
        case preferClose = "PreferClose"
        case preferSameZone = "PreferSameZone"
        case preferSameNode = "PreferSameNode"
    }

    public var metadata: ObjectMetadata
    public var kind: Kind
    /// Without `None`: a headless service has no address here.
    public var clusterIPs: [IPAddress]
    /// `clusterIP: None`.
    public var isHeadless: Bool
    public var ports: [Port]
    /// `nil` or empty: endpoints come from EndpointSlices only.
    public var selector: Labels?
    public var externalIPs: [IPAddress]
    /// `status.loadBalancer.ingress[].ip` with ipMode VIP, which is the default.
    public var loadBalancerIPs: [IPAddress]
    /// Seconds a client stays with its endpoint after its last connection, for `sessionAffinity: ClientIP`.
    public var affinitySeconds: UInt32?
    /// Applies to the cluster addresses.
    public var internalTrafficPolicy: TrafficPolicy
    public var trafficDistribution: TrafficDistribution?
    public var publishNotReadyAddresses: Bool

    /// `sessionAffinityConfig.clientIP.timeoutSeconds` if the object does not say: three hours.
    public static let defaultAffinitySeconds: UInt32 = 10800

    public init(
        metadata: ObjectMetadata, kind: Kind = .clusterIP, clusterIPs: [IPAddress] = [], isHeadless: Bool = false,
        ports: [Port] = [], selector: Labels? = nil, externalIPs: [IPAddress] = [], loadBalancerIPs: [IPAddress] = [],
        affinitySeconds: UInt32? = nil, internalTrafficPolicy: TrafficPolicy = .cluster,
        trafficDistribution: TrafficDistribution? = nil, publishNotReadyAddresses: Bool = false
    ) {
        self.metadata = metadata
        self.kind = kind
        self.clusterIPs = clusterIPs
        self.isHeadless = isHeadless
        self.ports = ports
        self.selector = selector
        self.externalIPs = externalIPs
        self.loadBalancerIPs = loadBalancerIPs
        self.affinitySeconds = affinitySeconds
        self.internalTrafficPolicy = internalTrafficPolicy
        self.trafficDistribution = trafficDistribution
        self.publishNotReadyAddresses = publishNotReadyAddresses
    }

    public var namespacedName: NamespacedName { metadata.namespacedName }
}

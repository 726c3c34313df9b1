// SPDX-License-Identifier: Apache-2.0

/// A discovery.k8s.io/v1 EndpointSlice.
public struct EndpointSlice: Hashable, Sendable {
    public enum AddressType: String, Hashable, Sendable {
        case ipv4 = "IPv4"
        case ipv6 = "IPv6"
        /// Accepted, and ignored: the kernel knows no names.
        case fqdn = "FQDN"
    }

    public struct Endpoint: Hashable, Sendable {
        /// Interchangeable addresses; only the first is used, as by kube-proxy.
        public var addresses: [IPAddress]
        /// `nil` counts as ready.
        public var ready: Bool?
        /// `nil`: as `ready`.
        public var serving: Bool?
        /// `nil` counts as not terminating.
        public var terminating: Bool?
        public var nodeName: String?
        public var zone: String?
        /// `hints.forZones`.
        public var hintedZones: [String]
        /// `hints.forNodes`.
        public var hintedNodes: [String]
        /// The pod behind the endpoint, if it is one.
        public var targetPod: NamespacedName?

        public init(
            addresses: [IPAddress], ready: Bool? = nil, serving: Bool? = nil, terminating: Bool? = nil,
            nodeName: String? = nil, zone: String? = nil, hintedZones: [String] = [], hintedNodes: [String] = [],
            targetPod: NamespacedName? = nil
        ) {
            self.addresses = addresses
            self.ready = ready
            self.serving = serving
            self.terminating = terminating
            self.nodeName = nodeName
            self.zone = zone
            self.hintedZones = hintedZones
            self.hintedNodes = hintedNodes
            self.targetPod = targetPod
        }
    }

    public struct Port: Hashable, Sendable {
        /// Name of the service's port; empty if that has none.
        public var name: String
        /// `nil`: all ports, which names no destination, so such a port is ignored.
        public var port: UInt16?
        public var transport: TransportProtocol
        public var appProtocol: String?

        public init(
            name: String = "", port: UInt16?, transport: TransportProtocol = .tcp, appProtocol: String? = nil
        ) {
            self.name = name
            self.port = port
            self.transport = transport
            self.appProtocol = appProtocol
        }
    }

    public var metadata: ObjectMetadata
    public var addressType: AddressType
    public var endpoints: [Endpoint]
    public var ports: [Port]
    /// Annotation `sockmesh.io/weight` of the slice: the weight of each of its endpoints.
    ///
    /// The same annotation on the pod behind an endpoint is more specific and wins. Default 1.
    public var weight: UInt32?

    public init(
        metadata: ObjectMetadata, addressType: AddressType, endpoints: [Endpoint] = [], ports: [Port] = [],
        weight: UInt32? = nil
    ) {
        self.metadata = metadata
        self.addressType = addressType
        self.endpoints = endpoints
        self.ports = ports
        self.weight = weight
    }

    /// Label that names the service of a slice.
    public static let serviceNameLabel = "kubernetes.io/service-name"

    /// The service whose endpoints these are; `nil` if the label is missing.
    public var service: NamespacedName? {
        metadata.labels[Self.serviceNameLabel].map { NamespacedName(namespace: metadata.namespace, name: $0) }
    }
}

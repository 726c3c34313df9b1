// SPDX-License-Identifier: Apache-2.0

/// What a route attaches to. The mesh knows Services; a Gateway is for somebody else's controller.
public struct RouteParentReference: Hashable, Sendable {
    /// Empty for the core group. The API's default is the group of Gateway.
    public var group: String
    public var kind: String
    /// `nil`: the namespace of the route.
    public var namespace: String?
    public var name: String
    /// The name of a port. If both are given, both must hold.
    public var sectionName: String?
    /// `nil`: every port.
    public var port: UInt16?

    public static let gatewayGroup = "gateway.networking.k8s.io"

    public init(
        group: String = "", kind: String = "Service", namespace: String? = nil, name: String,
        sectionName: String? = nil, port: UInt16? = nil
    ) {
        self.group = group
        self.kind = kind
        self.namespace = namespace
        self.name = name
        self.sectionName = sectionName
        self.port = port
    }

    /// Whether it is for the mesh to attach the route.
    public var isService: Bool { group.isEmpty && kind == "Service" }

    /// The parent of a route in `namespace`.
    public func target(from namespace: String) -> NamespacedName {
        NamespacedName(namespace: self.namespace ?? namespace, name: name)
    }

    /// Whether it means this port of the Service. Routes are for HTTP, which UDP and SCTP do not carry.
    func selects(_ servicePort: Service.Port) -> Bool {
        servicePort.transport == .tcp && (port == nil || port == servicePort.port)
            && (sectionName == nil || sectionName == servicePort.name)
    }
}

/// What requests are sent or copied to.
public struct RouteBackendReference: Hashable, Sendable {
    public var group: String
    public var kind: String
    /// `nil`: the namespace of the route.
    public var namespace: String?
    public var name: String
    /// The port of the Service, not of its endpoints. Required for a Service.
    public var port: UInt16?

    public init(
        group: String = "", kind: String = "Service", namespace: String? = nil, name: String, port: UInt16? = nil
    ) {
        self.group = group
        self.kind = kind
        self.namespace = namespace
        self.name = name
        self.port = port
    }

    public func target(from namespace: String) -> NamespacedName {
        NamespacedName(namespace: self.namespace ?? namespace, name: name)
    }
}

/// One of the backends of a rule.
public struct RouteBackend: Hashable, Sendable {
    public var reference: RouteBackendReference
    /// Its share is its weight by the sum of the rule's weights; 0 gets nothing.
    public var weight: UInt32
    /// Only for requests that are sent here.
    public var filters: [RouteFilter]

    /// The API's limit; sixteen of them fit in 32 bits.
    public static let maximumWeight: UInt32 = 1_000_000

    public init(reference: RouteBackendReference, weight: UInt32 = 1, filters: [RouteFilter] = []) {
        self.reference = reference
        self.weight = weight
        self.filters = filters
    }
}

/// A ReferenceGrant of gateway.networking.k8s.io: its namespace lets others refer to objects in it.
public struct ReferenceGrant: Hashable, Sendable {
    public struct From: Hashable, Sendable {
        public var group: String
        public var kind: String
        public var namespace: String

        public init(group: String = RouteParentReference.gatewayGroup, kind: String, namespace: String) {
            self.group = group
            self.kind = kind
            self.namespace = namespace
        }
    }

    public struct To: Hashable, Sendable {
        public var group: String
        public var kind: String
        /// `nil`: all objects of the kind.
        public var name: String?

        public init(group: String = "", kind: String = "Service", name: String? = nil) {
            self.group = group
            self.kind = kind
            self.name = name
        }
    }

    public var metadata: ObjectMetadata
    /// Also v1beta1 is read, as which grants began.
    public var apiVersion: String
    public var from: [From]
    public var to: [To]

    public init(
        metadata: ObjectMetadata, apiVersion: String = "gateway.networking.k8s.io/v1", from: [From], to: [To]
    ) {
        self.metadata = metadata
        self.apiVersion = apiVersion
        self.from = from
        self.to = to
    }

    /// Whether it lets a route refer to an object in the grant's namespace.
    func permits(_ kind: MeshRoute.Kind, in namespace: String, to reference: RouteBackendReference) -> Bool {
        from.contains {
            $0.group == RouteParentReference.gatewayGroup && $0.kind == kind.rawValue && $0.namespace == namespace
        }
            && to.contains {
                $0.group == reference.group && $0.kind == reference.kind
                    && ($0.name == nil || $0.name == reference.name)
            }
    }
}

// SPDX-License-Identifier: Apache-2.0

/// An HTTPRoute of gateway.networking.k8s.io/v1.
///
/// https://gateway-api.sigs.k8s.io/reference/api-spec/main/spec/#httproute
public typealias HTTPRoute = Route<HTTPRouteMatch>

/// A GRPCRoute of gateway.networking.k8s.io/v1.
///
/// https://gateway-api.sigs.k8s.io/reference/api-spec/main/spec/#grpcroute
public typealias GRPCRoute = Route<GRPCRouteMatch>

/// What the two kinds of route have in common: where they attach, and a list of rules.
///
/// A value holds what the object says, with the API's defaults filled in; whether it attaches to anything and whether
/// its backends exist is for ``RouteStatusEvaluation`` to say.
public struct Route<Match: Hashable & Sendable>: Hashable, Sendable {
    public var metadata: ObjectMetadata
    /// `metadata.generation`, which conditions repeat; `nil` where no API server counts.
    public var generation: Int64?
    public var parentRefs: [RouteParentReference]
    /// Kept for display: a mesh matches by the address of the Service, and GEP-1294 gives hostnames no meaning there.
    public var hostnames: [String]
    public var rules: [Rule]

    public init(
        metadata: ObjectMetadata, generation: Int64? = nil, parentRefs: [RouteParentReference] = [],
        hostnames: [String] = [], rules: [Rule] = []
    ) {
        self.metadata = metadata
        self.generation = generation
        self.parentRefs = parentRefs
        self.hostnames = hostnames
        self.rules = rules
    }

    /// Any of `matches`, then all of `filters`, then one of `backends`.
    public struct Rule: Hashable, Sendable {
        /// Unique in the route; for policies and people.
        public var name: String?
        /// Empty: every request.
        public var matches: [Match]
        /// In written order.
        public var filters: [RouteFilter]
        /// Empty: the endpoints of the parent Service.
        public var backends: [RouteBackend]
        /// GRPCRoute has none.
        public var timeouts: RouteTimeouts
        /// `nil`: nothing is retried. GRPCRoute has none.
        public var retry: RouteRetry?
        /// Parts of the rule that are valid in the API and not supported here.
        public var unsupported: [UnsupportedRouteValue]

        public init(
            name: String? = nil, matches: [Match] = [], filters: [RouteFilter] = [], backends: [RouteBackend] = [],
            timeouts: RouteTimeouts = RouteTimeouts(), retry: RouteRetry? = nil,
            unsupported: [UnsupportedRouteValue] = []
        ) {
            self.name = name
            self.matches = matches
            self.filters = filters
            self.backends = backends
            self.timeouts = timeouts
            self.retry = retry
            self.unsupported = unsupported
        }
    }
}

/// A value that the API allows and the mesh does not support.
public struct UnsupportedRouteValue: Hashable, Sendable {
    public enum Part: Hashable, Sendable {
        /// It is not known which requests the rule is for, so the rule is dropped.
        case match
        /// The requests are known, and must not pass without it: they are answered with an error.
        case action
    }

    public let part: Part
    /// `spec.rules[0].filters[1].extensionRef`.
    public let field: String
    public let reason: String

    public init(part: Part, field: String, reason: String) {
        self.part = part
        self.field = field
        self.reason = reason
    }
}

/// A route of either kind.
public enum MeshRoute: Hashable, Sendable {
    case http(HTTPRoute)
    case grpc(GRPCRoute)

    public enum Kind: String, Hashable, Sendable, CaseIterable {
        case http = "HTTPRoute"
        case grpc = "GRPCRoute"
    }

    public var kind: Kind {
        switch self {
        case .http: .http
        case .grpc: .grpc
        }
    }

    public var metadata: ObjectMetadata {
        switch self {
        case .http(let route): route.metadata
        case .grpc(let route): route.metadata
        }
    }

    public var generation: Int64? {
        switch self {
        case .http(let route): route.generation
        case .grpc(let route): route.generation
        }
    }

    public var parentRefs: [RouteParentReference] {
        switch self {
        case .http(let route): route.parentRefs
        case .grpc(let route): route.parentRefs
        }
    }

    /// The rules without their matches.
    var ruleBodies: [RouteRuleBody] {
        switch self {
        case .http(let route): route.rules.map(RouteRuleBody.init)
        case .grpc(let route): route.rules.map(RouteRuleBody.init)
        }
    }

    public var reference: ObjectReference {
        ObjectReference(
            apiVersion: Self.apiVersion, kind: kind.rawValue, namespace: metadata.namespace, name: metadata.name)
    }

    public static let apiVersion = "gateway.networking.k8s.io/v1"
}

/// What a rule does with a request, whatever it matches.
struct RouteRuleBody: Hashable, Sendable {
    let name: String?
    let filters: [RouteFilter]
    let backends: [RouteBackend]
    let timeouts: RouteTimeouts
    let retry: RouteRetry?
    let unsupported: [UnsupportedRouteValue]

    init<Match>(_ rule: Route<Match>.Rule) {
        name = rule.name
        filters = rule.filters
        backends = rule.backends
        timeouts = rule.timeouts
        retry = rule.retry
        unsupported = rule.unsupported
    }
}

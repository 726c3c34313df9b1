// SPDX-License-Identifier: Apache-2.0

/// What happens to the requests of one rule.
public struct CompiledRouteRule: Sendable {
    /// The route of the rule.
    public let route: ObjectReference
    /// In the route, from 0.
    public let index: Int
    public let name: String?
    public let actions: RouteActions
    public let backends: [Backend]
    public let timeouts: RouteTimeouts
    public let retry: RouteRetry?
    /// Not `nil`: the rule has a filter that the mesh does not have. Its requests must not pass without it and are
    /// answered with 500, gRPC UNAVAILABLE; this says why.
    public let failure: String?
    private let shares: AliasTable

    public struct Backend: Sendable {
        public let target: RouteBackendResolution
        public let weight: UInt32
        public let actions: RouteActions
    }

    /// Where one request goes.
    public enum Destination: Hashable, Sendable {
        /// The endpoints of the Service that it was sent to.
        case parentService
        /// Index into ``CompiledRouteRule/backends``. Its target may be invalid: 500, gRPC UNAVAILABLE.
        case backend(Int)
        /// Every weight is 0: 500, gRPC UNAVAILABLE.
        case nowhere
    }

    init(_ rule: RouteRuleBody, index: Int, of route: MeshRoute, _ resolver: RouteBackendResolver) {
        self.route = route.reference
        self.index = index
        name = rule.name
        timeouts = rule.timeouts
        retry = rule.retry
        failure = rule.unsupported.first { $0.part == .action }.map { "\($0.field): \($0.reason)" }
        actions = RouteActions(rule.filters, of: route, resolver)
        backends = rule.backends.map {
            Backend(
                target: resolver.resolve($0.reference, of: route), weight: $0.weight,
                actions: RouteActions($0.filters, of: route, resolver))
        }
        let weights = rule.backends.map(\.weight)
        shares = AliasTable(weights: weights.contains { $0 > 0 } ? weights : [])
    }

    /// The destination of one request. An invalid backend keeps its share, as the API demands.
    ///
    /// - Parameter random: uniform over all values.
    public func destination(random: UInt64) -> Destination {
        if backends.isEmpty { return .parentService }
        return shares.index(random: random).map { .backend($0) } ?? .nowhere
    }
}

/// Filters by what they do.
public struct RouteActions: Sendable {
    public var requestHeaders: HeaderModification?
    public var responseHeaders: HeaderModification?
    public var redirect: RequestRedirect?
    public var rewrite: URLRewrite?
    public var mirrors: [Mirror] = []
    public var cors: CORSPolicy?

    public struct Mirror: Sendable {
        public let target: RouteBackendResolution
        public let share: Share

        /// `numerator / denominator` of the requests.
        public struct Share: Hashable, Sendable, BitwiseCopyable {
            public let numerator: UInt32
            public let denominator: UInt32

            /// Whether a request is copied.
            ///
            /// - Parameter random: uniform over all values. The share is exact to 2^-32.
            @inlinable
            public func selects(random: UInt64) -> Bool {
                UInt64(denominator).multipliedFullWidth(by: random).high < UInt64(numerator)
            }
        }
    }

    init(_ filters: [RouteFilter], of route: MeshRoute, _ resolver: RouteBackendResolver) {
        for filter in filters {
            switch filter {
            case .requestHeaderModifier(let modifier): requestHeaders = HeaderModification(modifier)
            case .responseHeaderModifier(let modifier): responseHeaders = HeaderModification(modifier)
            case .requestRedirect(let redirect): self.redirect = redirect
            case .urlRewrite(let rewrite): self.rewrite = rewrite
            case .requestMirror(let mirror):
                mirrors.append(
                    Mirror(
                        target: resolver.resolve(mirror.backend, of: route),
                        share: Mirror.Share(numerator: mirror.numerator, denominator: mirror.denominator)))
            case .cors(let policy): cors = policy
            }
        }
    }
}

extension AliasTable {
    /// An index with the probability of its weight, to 2^-32; `nil` if the table is empty.
    ///
    /// - Parameter random: uniform over all values: the upper half chooses the column, the lower half in it.
    public func index(random: UInt64) -> Int? {
        if columns.isEmpty { return nil }
        let index = Int(((random >> 32) * UInt64(columns.count)) >> 32)
        let column = columns[index]
        let isOwn = column.threshold == .max || UInt32(truncatingIfNeeded: random) < column.threshold
        return isOwn ? index : Int(column.alias)
    }
}

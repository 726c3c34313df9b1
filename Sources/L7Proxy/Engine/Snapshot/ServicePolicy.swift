// SPDX-License-Identifier: Apache-2.0

public import MeshModel

/// How requests to a port of a Service are carried, in the terms of what carries them.
public struct ServicePolicy: Hashable, Sendable {
    /// What requests that belong together have in common, for ``BalancingAlgorithm/maglev``.
    public enum Key: Hashable, Sendable {
        case none
        case sourceAddress
        /// In lower case.
        case header(String)
    }

    /// A limit of the rate of requests.
    public struct Limit: Hashable, Sendable {
        public var subject: RateLimiter.Subject
        public var rate: RateLimit
        /// Counted, and every request passes.
        public var isDryRun: Bool

        public init(_ subject: RateLimiter.Subject, _ rate: RateLimit, isDryRun: Bool = false) {
            self.subject = subject
            self.rate = rate
            self.isDryRun = isDryRun
        }
    }

    public var cluster: ClusterPolicy
    public var key = Key.none
    /// Where the node is, as far as that counts.
    public var origin = ClusterOrigin()
    public var limits: [Limit] = []
    public var fault: FaultInjection?
    /// Connections to its endpoints carry requests of one client's address only, and show it to them.
    public var poolsPerClient = false
    /// What its port speaks, whatever else says so; `nil`: its `appProtocol` says.
    public var detection: MeshPolicySettings.Detection?
    // Milliseconds; 0: that of the engine's configuration, or none.
    public var detectTimeout: UInt64 = 0
    public var connectTimeout: UInt64 = 0
    public var requestTimeout: UInt64 = 0
    public var backendTimeout: UInt64 = 0
    /// Of connections to its endpoints that carry nothing; ``UInt64/max``: they may stay.
    public var idleTimeout: UInt64 = 0

    /// Without a policy nothing is limited that the engine does not limit anyway.
    public init() {
        cluster = ClusterPolicy(limits: Self.unlimited, retryBudget: Self.unlimitedRetries)
    }

    private static let unlimited = CircuitLimits(
        connections: .max, pending: .max, requests: .max, retries: .max)
    private static let unlimitedRetries = RetryBudget.Policy(percent: .max, minimumCount: .max)

    /// - Parameters:
    ///   - zone, node: where this node is.
    public init(_ settings: MeshPolicySettings, zone: String?, node: String?) {
        self.init()
        if let limit = settings.maxConnections { cluster.limits.connections = limit }
        if let limit = settings.maxPending { cluster.limits.pending = limit }
        if let budget = settings.retryBudget { cluster.retryBudget = RetryBudget.Policy(budget) }
        if let outliers = settings.outlierDetection { cluster.outliers = OutlierPolicy(outliers) }
        switch settings.algorithm {
        case .roundRobin: cluster.algorithm = .roundRobin
        case .leastRequest, nil: cluster.algorithm = .leastRequest
        case .maglev(.sourceAddress): (cluster.algorithm, key) = (.maglev, .sourceAddress)
        case .maglev(.header(let name)): (cluster.algorithm, key) = (.maglev, .header(name))
        }
        switch settings.locality {
        case .anywhere, nil: break
        case .zone: origin = ClusterOrigin(.zone, zone: zone, node: node)
        case .node: origin = ClusterOrigin(.node, zone: zone, node: node)
        }
        limits = settings.rateLimits.map { $0.compactMap(Limit.init) } ?? []
        fault = settings.fault.map(FaultInjection.init)
        poolsPerClient = settings.poolPerClient ?? false
        detection = settings.detect
        detectTimeout = settings.detectTimeout?.milliseconds ?? 0
        connectTimeout = settings.connectTimeout?.milliseconds ?? 0
        requestTimeout = settings.requestTimeout?.milliseconds ?? 0
        backendTimeout = settings.backendRequestTimeout?.milliseconds ?? 0
        idleTimeout = settings.idleTimeout.map { $0.milliseconds == 0 ? .max : $0.milliseconds } ?? 0
    }
}

extension GatewayDuration {
    fileprivate var nanoseconds: UInt64 {
        let (value, overflow) = milliseconds.multipliedReportingOverflow(by: 1_000_000)
        return overflow ? .max : value
    }
}

extension RetryBudget.Policy {
    fileprivate init(_ budget: MeshPolicySettings.RetryBudget) {
        self.init(
            percent: budget.percent, interval: budget.interval.nanoseconds, minimumCount: budget.minimumCount,
            minimumInterval: budget.minimumInterval.nanoseconds)
    }
}

extension OutlierPolicy {
    fileprivate init(_ detection: MeshPolicySettings.OutlierDetection) {
        self.init(
            consecutiveServerErrors: UInt16(clamping: detection.consecutiveServerErrors),
            consecutiveGatewayErrors: UInt16(clamping: detection.consecutiveGatewayErrors),
            consecutiveConnectFailures: UInt16(clamping: detection.consecutiveConnectFailures),
            interval: detection.interval.nanoseconds, baseEjection: detection.baseEjectionTime.nanoseconds,
            maximumEjection: detection.maxEjectionTime.nanoseconds,
            maximumEjectionPercent: detection.maxEjectionPercent, panicThreshold: detection.minHealthPercent)
    }
}

extension ServicePolicy.Limit {
    /// - Returns: `nil` for numbers that no valid object has.
    fileprivate init?(_ limit: MeshPolicySettings.RateLimit) {
        guard let rate = RateLimit(requestsPerSecond: limit.requestsPerSecond, burst: limit.burst) else { return nil }
        let subject: RateLimiter.Subject =
            switch limit.key {
            case .route: .route
            case .sourceIdentity: .sourceIdentity
            case .header(let name): .header(name)
            }
        self.init(subject, rate, isDryRun: limit.isDryRun)
    }
}

extension FaultInjection {
    fileprivate init(_ fault: MeshPolicySettings.Fault) {
        self.init()
        guard let share = Share(perMillion: min(fault.percent, 100) * 10_000) else { return }
        delay = fault.delay.map { Delay(nanoseconds: $0.nanoseconds, share: share) }
        abort = fault.abort.map {
            switch $0 {
            case .httpStatus(let status): Abort(.status(status), share: share)
            case .grpcStatus(let status): Abort(.grpcStatus(status), share: share)
            }
        }
    }
}

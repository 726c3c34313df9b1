// SPDX-License-Identifier: Apache-2.0

/// What a ``MeshPolicy`` sets. `nil`: it says nothing about it, and a policy of a wider target may.
public struct MeshPolicySettings: Hashable, Sendable {
    // connection
    public var maxConnections: UInt32?
    public var maxPending: UInt32?
    public var connectTimeout: GatewayDuration?
    /// 0: connections are never closed for having nothing to do.
    public var idleTimeout: GatewayDuration?
    /// Connections to backends carry requests of one client's address only, which the backend sees as its peer.
    public var poolPerClient: Bool?
    /// In units of 1024 bytes.
    public var maxRequestHeadersKb: UInt32?
    public var maxConcurrentStreams: UInt32?

    // resilience
    public var requestTimeout: GatewayDuration?
    public var backendRequestTimeout: GatewayDuration?
    public var retryBudget: RetryBudget?
    public var outlierDetection: OutlierDetection?
    public var algorithm: Algorithm?
    public var locality: Locality?

    public var rateLimits: [RateLimit]?
    public var fault: Fault?

    // protocol
    /// What is spoken on ports of a Service by their numbers; goes before ``detect``, which is for all of them.
    public var protocolOverrides: [UInt16: Detection]?
    public var detect: Detection?
    public var detectTimeout: GatewayDuration?

    public init() {}

    /// The retry constraint of the Gateway API's XBackendTrafficPolicy.
    public struct RetryBudget: Hashable, Sendable {
        public var percent: UInt32 = 20
        public var interval = GatewayDuration(milliseconds: 10_000)
        public var minimumCount: UInt32 = 10
        public var minimumInterval = GatewayDuration(milliseconds: 1000)

        public init() {}
    }

    /// With the names of Istio's DestinationRule.
    public struct OutlierDetection: Hashable, Sendable {
        /// Of the three counts, 0: however many.
        public var consecutiveServerErrors: UInt32 = 5
        public var consecutiveGatewayErrors: UInt32 = 5
        public var consecutiveConnectFailures: UInt32 = 3
        public var interval = GatewayDuration(milliseconds: 10_000)
        public var baseEjectionTime = GatewayDuration(milliseconds: 30_000)
        public var maxEjectionTime = GatewayDuration(milliseconds: 300_000)
        public var maxEjectionPercent: UInt32 = 50
        public var minHealthPercent: UInt32 = 30

        public init() {}
    }

    /// How an endpoint is chosen. Algorithm and key are one setting: the key of one policy is nothing to the algorithm of
    /// another.
    public enum Algorithm: Hashable, Sendable {
        case roundRobin
        case leastRequest
        case maglev(HashKey)
    }

    public enum HashKey: Hashable, Sendable {
        case sourceAddress
        /// In lower case.
        case header(String)
    }

    /// With the words of a Service's `trafficDistribution`.
    public enum Locality: String, Hashable, Sendable, CaseIterable {
        case anywhere = "None"
        case zone = "PreferSameZone"
        case node = "PreferSameNode"
    }

    public struct RateLimit: Hashable, Sendable {
        public enum Key: Hashable, Sendable {
            case route
            case sourceIdentity
            /// In lower case.
            case header(String)
        }

        public var key: Key
        public var requestsPerSecond: UInt32
        public var burst: UInt32
        /// Counted and reported, and every request passes.
        public var isDryRun: Bool

        public init(key: Key, requestsPerSecond: UInt32, burst: UInt32, isDryRun: Bool = false) {
            self.key = key
            self.requestsPerSecond = requestsPerSecond
            self.burst = burst
            self.isDryRun = isDryRun
        }
    }

    public struct Fault: Hashable, Sendable {
        public enum Answer: Hashable, Sendable {
            case httpStatus(UInt16)
            case grpcStatus(UInt8)
        }

        public var delay: GatewayDuration?
        public var abort: Answer?
        /// Of the requests, for delay and abort each.
        public var percent: UInt32

        public init(delay: GatewayDuration? = nil, abort: Answer? = nil, percent: UInt32 = 100) {
            self.delay = delay
            self.abort = abort
            self.percent = percent
        }
    }

    public enum Detection: String, Hashable, Sendable, CaseIterable {
        case auto = "Auto"
        case http1 = "HTTP1"
        case http2 = "HTTP2"
        case grpc = "gRPC"
        case tcp = "TCP"
        case tls = "TLS"
    }
}

/// One of the settings that are decided apart: the smallest part of a policy that can win or lose.
public enum MeshPolicyField: String, Hashable, Sendable, CaseIterable {
    case maxConnections = "connection.maxConnections"
    case maxPending = "connection.maxPending"
    case connectTimeout = "connection.connectTimeout"
    case idleTimeout = "connection.idleTimeout"
    case poolPerClient = "connection.poolPerClient"
    case maxRequestHeadersKb = "connection.http.maxRequestHeadersKb"
    case maxConcurrentStreams = "connection.http.maxConcurrentStreams"
    case requestTimeout = "resilience.timeouts.request"
    case backendRequestTimeout = "resilience.timeouts.backendRequest"
    case retryBudget = "resilience.retryBudget"
    case outlierDetection = "resilience.outlierDetection"
    case algorithm = "resilience.loadBalancing.algorithm"
    case locality = "resilience.loadBalancing.locality"
    case rateLimits = "rateLimit"
    case fault
    case protocolOverrides = "protocol.appProtocolOverrides"
    case detect = "protocol.detect"
    case detectTimeout = "protocol.detectTimeout"

    /// Sets the field of `target` to that of `source`, if `source` has it.
    ///
    /// - Returns: Whether it has.
    func copy(from source: MeshPolicySettings, to target: inout MeshPolicySettings) -> Bool {
        func copy<Value>(_ value: Value?, _ place: inout Value?) -> Bool {
            guard let value else { return false }
            place = value
            return true
        }
        return switch self {
        case .maxConnections: copy(source.maxConnections, &target.maxConnections)
        case .maxPending: copy(source.maxPending, &target.maxPending)
        case .connectTimeout: copy(source.connectTimeout, &target.connectTimeout)
        case .idleTimeout: copy(source.idleTimeout, &target.idleTimeout)
        case .poolPerClient: copy(source.poolPerClient, &target.poolPerClient)
        case .maxRequestHeadersKb: copy(source.maxRequestHeadersKb, &target.maxRequestHeadersKb)
        case .maxConcurrentStreams: copy(source.maxConcurrentStreams, &target.maxConcurrentStreams)
        case .requestTimeout: copy(source.requestTimeout, &target.requestTimeout)
        case .backendRequestTimeout: copy(source.backendRequestTimeout, &target.backendRequestTimeout)
        case .retryBudget: copy(source.retryBudget, &target.retryBudget)
        case .outlierDetection: copy(source.outlierDetection, &target.outlierDetection)
        case .algorithm: copy(source.algorithm, &target.algorithm)
        case .locality: copy(source.locality, &target.locality)
        case .rateLimits: copy(source.rateLimits, &target.rateLimits)
        case .fault: copy(source.fault, &target.fault)
        case .protocolOverrides: copy(source.protocolOverrides, &target.protocolOverrides)
        case .detect: copy(source.detect, &target.detect)
        case .detectTimeout: copy(source.detectTimeout, &target.detectTimeout)
        }
    }

    /// Whether settings have the field.
    public func isSet(in settings: MeshPolicySettings) -> Bool {
        var scratch = MeshPolicySettings()
        return copy(from: settings, to: &scratch)
    }
}

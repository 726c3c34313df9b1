// SPDX-License-Identifier: Apache-2.0

/// When an endpoint that fails is left out for a while.
public struct OutlierPolicy: Hashable, Sendable, BitwiseCopyable {
    /// Failures in a row after which an endpoint is ejected; 0: however many. Responses with a status from 500 on, and
    /// attempts that ended without a response.
    public var consecutiveServerErrors: UInt16
    /// Of these, 502, 503, 504, and those without a response.
    public var consecutiveGatewayErrors: UInt16
    /// Of these, connections that could not be made.
    public var consecutiveConnectFailures: UInt16
    /// An endpoint that has been back for so long is forgiven one of its ejections. Nanoseconds.
    public var interval: UInt64
    /// How long the first ejection is; each further one in a row is twice as long. Nanoseconds.
    public var baseEjection: UInt64
    /// The longest ejection. Nanoseconds.
    public var maximumEjection: UInt64
    /// Of the ready endpoints, how many percent may be ejected; one may be in any case, if it is not the only one.
    public var maximumEjectionPercent: UInt32
    /// Percent of the configured endpoints that must remain; below, an error is taken for one of the service, not of an
    /// endpoint, and no further one is ejected.
    public var panicThreshold: UInt32

    public init(
        consecutiveServerErrors: UInt16 = 5, consecutiveGatewayErrors: UInt16 = 5,
        consecutiveConnectFailures: UInt16 = 3, interval: UInt64 = 10_000_000_000,
        baseEjection: UInt64 = 30_000_000_000, maximumEjection: UInt64 = 300_000_000_000,
        maximumEjectionPercent: UInt32 = 50, panicThreshold: UInt32 = 30
    ) {
        self.consecutiveServerErrors = consecutiveServerErrors
        self.consecutiveGatewayErrors = consecutiveGatewayErrors
        self.consecutiveConnectFailures = consecutiveConnectFailures
        self.interval = interval
        self.baseEjection = baseEjection
        self.maximumEjection = maximumEjection
        self.maximumEjectionPercent = maximumEjectionPercent
        self.panicThreshold = panicThreshold
    }

    /// How long the next ejection is, nanoseconds.
    ///
    /// - Parameter ejections: how many there have been in a row.
    func duration(after ejections: UInt16) -> UInt64 {
        guard ejections < 63, baseEjection <= UInt64.max >> (UInt64(ejections) + 1) else { return maximumEjection }
        return min(baseEjection << UInt64(ejections), maximumEjection)
    }

    /// Whether one more endpoint may be ejected.
    ///
    /// - Parameters:
    ///   - ready: endpoints that could get requests, ejected or not.
    ///   - configured: those that are not ready, too.
    func permitsEjection(ready: UInt32, ejected: UInt32, configured: UInt32) -> Bool {
        let ready = UInt64(ready)
        let after = UInt64(ejected) + 1
        guard after < ready else { return false }
        guard after == 1 || after * 100 <= ready * UInt64(maximumEjectionPercent) else { return false }
        return (ready - after) * 100 >= UInt64(configured) * UInt64(panicThreshold)
    }
}

/// How an attempt at an endpoint has ended.
public enum AttemptOutcome: Hashable, Sendable, BitwiseCopyable {
    /// A response, with any status.
    case response(status: UInt16)
    /// The connection could not be made.
    case connectFailure
    /// The endpoint has broken off, or has not answered in time.
    case noResponse
    /// Says nothing about the endpoint: its client went away, or the proxy has given up.
    case cancelled
}

/// Failures of an endpoint in a row.
struct FailureCounts: Equatable, BitwiseCopyable {
    private(set) var serverErrors: UInt16 = 0
    private(set) var gatewayErrors: UInt16 = 0
    private(set) var connectFailures: UInt16 = 0

    /// - Returns: Whether the endpoint is to be ejected.
    @inline(__always)
    mutating func count(_ outcome: AttemptOutcome, _ policy: OutlierPolicy) -> Bool {
        switch outcome {
        case .response(let status) where status < 500:
            self = FailureCounts()
            return false
        case .cancelled: return false
        default: return countFailure(outcome, policy)
        }
    }

    private mutating func countFailure(_ outcome: AttemptOutcome, _ policy: OutlierPolicy) -> Bool {
        serverErrors = serverErrors &+ (serverErrors < .max ? 1 : 0)
        switch outcome {
        case .response(let status):
            gatewayErrors = (502...504).contains(status) ? gatewayErrors &+ (gatewayErrors < .max ? 1 : 0) : 0
            connectFailures = 0
        case .connectFailure:
            gatewayErrors = gatewayErrors &+ (gatewayErrors < .max ? 1 : 0)
            connectFailures = connectFailures &+ (connectFailures < .max ? 1 : 0)
        case .noResponse, .cancelled:
            gatewayErrors = gatewayErrors &+ (gatewayErrors < .max ? 1 : 0)
            connectFailures = 0
        }
        func reached(_ count: UInt16, _ limit: UInt16) -> Bool { limit > 0 && count >= limit }
        return reached(serverErrors, policy.consecutiveServerErrors)
            || reached(gatewayErrors, policy.consecutiveGatewayErrors)
            || reached(connectFailures, policy.consecutiveConnectFailures)
    }
}

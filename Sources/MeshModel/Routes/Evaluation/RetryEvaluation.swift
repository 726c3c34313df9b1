// SPDX-License-Identifier: Apache-2.0

extension RouteTimeouts {
    /// Milliseconds that an attempt may take; `nil`: as long as it likes.
    ///
    /// - Parameter elapsed: milliseconds since the request began.
    public func attemptLimit(elapsed: UInt64) -> UInt64? {
        let whole = Self.limit(request).map { $0 > elapsed ? $0 - elapsed : 0 }
        guard let attempt = Self.limit(backendRequest) else { return whole }
        return min(attempt, whole ?? attempt)
    }

    /// Whether the request has no time left: 504, gRPC DEADLINE_EXCEEDED.
    public func isOver(elapsed: UInt64) -> Bool {
        Self.limit(request).map { elapsed >= $0 } ?? false
    }

    /// Zero is no limit.
    private static func limit(_ duration: GatewayDuration?) -> UInt64? {
        duration.flatMap { $0.milliseconds == 0 ? nil : $0.milliseconds }
    }
}

extension RouteRetry {
    /// How an attempt has ended.
    public enum Outcome: Hashable, Sendable {
        /// With a status of the backend.
        case status(UInt16)
        /// Before the backend has seen the request: no connection, or HTTP/2 REFUSED_STREAM.
        case notProcessed
        /// By the time limit of the attempt.
        case timedOut
        /// After the backend may have begun with it: a reset, an end in the middle.
        case broken
    }

    public enum Decision: Hashable, Sendable {
        /// Milliseconds to wait before the next attempt.
        case retry(after: UInt64)
        /// The outcome stands.
        case giveUp
    }

    /// The wait does not grow beyond this many times the first.
    public static let backoffGrowth: UInt64 = 10

    /// Decides about another attempt.
    ///
    /// A request that a backend may have processed is not sent again, unless its status is listed or the attempt has
    /// reached its time limit: RFC 9110 section 9.2.2 leaves that to who knows the service, who wrote the route.
    ///
    /// - Parameters:
    ///   - retries: made so far.
    ///   - elapsed: milliseconds since the request began.
    ///   - random: uniform over all values.
    public func decision(
        _ outcome: Outcome, retries: UInt32, elapsed: UInt64, timeouts: RouteTimeouts, random: UInt64
    ) -> Decision {
        guard retries < attempts ?? Self.defaultAttempts, isRetriable(outcome) else { return .giveUp }
        let wait = delay(retries: retries, random: random)
        // Without time for the attempt the answer that there is goes to the client.
        return timeouts.isOver(elapsed: elapsed + wait) ? .giveUp : .retry(after: wait)
    }

    private func isRetriable(_ outcome: Outcome) -> Bool {
        switch outcome {
        case .status(let status): codes.contains(status)
        case .notProcessed: true
        // GEP-1731: "the Gateway SHOULD schedule the next retry attempt".
        case .timedOut: true
        case .broken: false
        }
    }

    /// The base doubled for each retry up to a limit, and up to half of it more, so that clients that failed together
    /// do not come back together.
    private func delay(retries: UInt32, random: UInt64) -> UInt64 {
        let base = (backoff ?? Self.defaultBackoff).milliseconds
        let factor = retries < 8 ? min(1 << UInt64(retries), Self.backoffGrowth) : Self.backoffGrowth
        let (wait, overflow) = base.multipliedReportingOverflow(by: factor)
        if overflow { return base }
        return wait + (wait / 2 + 1).multipliedFullWidth(by: random).high
    }
}

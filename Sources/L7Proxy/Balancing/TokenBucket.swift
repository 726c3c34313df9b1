// SPDX-License-Identifier: Apache-2.0

/// A rate, and how much of it may come at once.
public struct RateLimit: Hashable, Sendable, BitwiseCopyable {
    /// 1 to ``maximumRate``.
    public let requestsPerSecond: UInt32
    /// Requests that may come at once after a pause, 1 or more.
    public let burst: UInt32

    /// The greatest rate. A bucket counts nanoseconds, which are too coarse for more.
    public static let maximumRate: UInt32 = 1_000_000
    public static let maximumBurst: UInt32 = 1_000_000

    /// - Parameter burst: `nil`: what a second has.
    /// - Returns: `nil` if a number is 0 or above its maximum.
    public init?(requestsPerSecond: UInt32, burst: UInt32? = nil) {
        let burst = burst ?? requestsPerSecond
        guard (1...Self.maximumRate).contains(requestsPerSecond), (1...Self.maximumBurst).contains(burst) else {
            return nil
        }
        self.requestsPerSecond = requestsPerSecond
        self.burst = burst
    }

    /// Nanoseconds from token to token, rounded up: rather 0.1 % too slow than too fast.
    var period: UInt64 {
        (1_000_000_000 + UInt64(requestsPerSecond) - 1) / UInt64(requestsPerSecond)
    }

    /// Seconds in which an empty bucket fills, rounded up: the window of the quota ``burst``.
    public var window: UInt32 { UInt32(truncatingIfNeeded: Self.seconds(period * UInt64(burst))) }

    static func seconds(_ nanoseconds: UInt64) -> UInt64 { (nanoseconds + 999_999_999) / 1_000_000_000 }
}

/// Whether a request may pass, and what its client is told.
public struct RateLimitDecision: Hashable, Sendable, BitwiseCopyable {
    public let isAllowed: Bool
    /// Tokens that are left.
    public let remaining: UInt32
    /// Seconds after which one request may pass again, rounded up; 0: at once. What Retry-After says.
    public let waitSeconds: UInt32
    /// Seconds until all tokens are back, rounded up.
    public let resetSeconds: UInt32
}

/// Tokens that come at a constant rate up to a number, one for a request, in one number: the time at which the bucket
/// will be full again. The generic cell rate algorithm, ITU-T I.371 annex A.
public struct TokenBucket: Hashable, Sendable, BitwiseCopyable {
    /// Nanoseconds; a time that is over: it is full.
    private(set) var fullAt: UInt64 = 0

    public init() {}

    @inline(__always)
    init(fullAt: UInt64) { self.fullAt = fullAt }

    /// Takes a token if there is one.
    ///
    /// - Parameter now: nanoseconds, not less than in the last call; if it is less, no token has come.
    @inline(__always)
    public mutating func take(_ limit: RateLimit, now: UInt64) -> RateLimitDecision {
        let period = limit.period
        let capacity = period &* UInt64(limit.burst)
        var missing = fullAt > now ? fullAt &- now : 0
        // A bucket of a limit that has become smaller, or a clock that went back.
        if missing > capacity { missing = capacity }
        let isAllowed = missing &+ period <= capacity
        if isAllowed { missing &+= period }
        fullAt = now &+ missing
        let left = (capacity &- missing) / period
        let wait = left > 0 ? 0 : missing &+ period &- capacity
        return RateLimitDecision(
            isAllowed: isAllowed, remaining: UInt32(truncatingIfNeeded: left),
            waitSeconds: UInt32(truncatingIfNeeded: RateLimit.seconds(wait)),
            resetSeconds: UInt32(truncatingIfNeeded: RateLimit.seconds(missing)))
    }
}

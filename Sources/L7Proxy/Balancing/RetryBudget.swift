// SPDX-License-Identifier: Apache-2.0

/// Bounds retries by the requests that are there anyway, so that a failing service does not get several times its load.
///
/// The retry constraint of the Gateway API's XBackendTrafficPolicy, of one worker:
/// https://gateway-api.sigs.k8s.io/geps/gep-3388/
public struct RetryBudget: Sendable, BitwiseCopyable {
    public struct Policy: Hashable, Sendable, BitwiseCopyable {
        /// Retries in percent of the first tries of the last ``interval``.
        public var percent: UInt32
        /// Nanoseconds.
        public var interval: UInt64
        /// This many retries in the last ``minimumInterval`` are never too many.
        public var minimumCount: UInt32
        /// Nanoseconds.
        public var minimumInterval: UInt64

        /// The defaults of the Gateway API: 20 % within 10 s, and 10 in a second in any case.
        public init(
            percent: UInt32 = 20, interval: UInt64 = 10_000_000_000, minimumCount: UInt32 = 10,
            minimumInterval: UInt64 = 1_000_000_000
        ) {
            self.percent = percent
            self.interval = interval
            self.minimumCount = minimumCount
            self.minimumInterval = minimumInterval
        }
    }

    public let policy: Policy
    private var requests: SlidingCount
    private var retries: SlidingCount
    private var latest: SlidingCount
    /// Retries that were not made.
    public private(set) var refusals: UInt64 = 0

    public init(_ policy: Policy = Policy()) {
        self.policy = policy
        requests = SlidingCount(interval: policy.interval)
        retries = SlidingCount(interval: policy.interval)
        latest = SlidingCount(interval: policy.minimumInterval)
    }

    /// Counts a first try.
    @inline(__always)
    public mutating func countRequest(now: UInt64) {
        requests.advance(to: now)
        requests.add()
    }

    /// Whether one more retry may be made; if so, it is counted. If not: 503, or the response that is there.
    public mutating func takeRetry(now: UInt64) -> Bool {
        requests.advance(to: now)
        retries.advance(to: now)
        latest.advance(to: now)
        let isWithinBudget = (retries.sum + 1) * 100 <= requests.sum * UInt64(policy.percent)
        guard isWithinBudget || latest.sum < UInt64(policy.minimumCount) else {
            refusals &+= 1
            return false
        }
        retries.add()
        latest.add()
        return true
    }
}

// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// A bucket for every key, up to a number of keys, which all workers of a node take from: a limit is the node's.
///
/// One key for all requests of a route, or one for every source identity or value of a header. A table of small sets
/// without a lock: a key belongs to one set, and to whichever place of it has its number; a key that is new takes the
/// place whose bucket is the fullest, and nothing is lost by that if it is full. All memory is taken at the beginning: 16
/// bytes a place, twice as many places as keys.
///
/// Buckets are exact as long as their keys fit. Once all places of a set have been used, and two workers want one for two
/// new keys in the same moment, a token may be taken from the wrong one of the two.
public final class RateLimiter: Sendable {
    /// What requests are counted by.
    public enum Subject: Hashable, Sendable {
        /// All requests of the route together.
        case route
        /// The client's SPIFFE ID; all clients without one together.
        case sourceIdentity
        /// The value of a header field, by its name in lower case; all requests without it together.
        case header(String)
    }

    /// 0 is no key, but that of a place that was never used.
    private struct Place: ~Copyable {
        let key = Atomic<UInt64>(0)
        /// ``TokenBucket/fullAt``.
        let fullAt = Atomic<UInt64>(0)
    }

    public static let defaultKeys = 10_000
    public static let maximumKeys = 1_000_000
    /// Places of a set: 64 bytes hold four, and two such lines are fetched together.
    private static let ways = 8

    public let limit: RateLimit
    private let ways: Int
    private let mask: Int
    // Never changed; what it points to is atomic.
    private nonisolated(unsafe) let places: UnsafeMutablePointer<Place>
    private let lost = Atomic<UInt64>(0)

    /// Buckets that were forgotten though they were not full: their keys have got more than they should. If this grows,
    /// there are too many keys, or somebody makes keys up.
    public var forgotten: UInt64 { lost.load(ordering: .relaxed) }

    /// - Parameter keys: that there is room for, 1 to ``maximumKeys``; of ``Subject/route`` there is one.
    public init(_ limit: RateLimit, keys: Int = defaultKeys) {
        precondition((1...Self.maximumKeys).contains(keys), "a rate limiter for \(keys) keys")
        self.limit = limit
        ways = keys == 1 ? 1 : Self.ways
        var sets = 1
        while keys > 1, sets * Self.ways < 2 * keys { sets *= 2 }
        mask = sets - 1
        places = .allocate(capacity: sets * ways)
        for index in 0..<(sets * ways) { (places + index).initialize(to: Place()) }
    }

    deinit {
        places.deinitialize(count: (mask + 1) * ways)
        places.deallocate()
    }

    /// The key of some bytes. Keyed with a secret of the process: nobody can choose two that share a bucket.
    public static func key(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
        var hasher = Hasher()
        hasher.combine(bytes: bytes)
        return UInt64(truncatingIfNeeded: hasher.finalize())
    }

    /// Whether a request may pass. It is counted if it may.
    ///
    /// - Parameters:
    ///   - key: of ``key(_:)``; any constant for those that are counted together.
    ///   - now: nanoseconds of a monotonic clock; the same one for all who call.
    public func take(_ key: UInt64, now: UInt64) -> RateLimitDecision {
        let key = max(key, 1)
        let set = places + (Int(truncatingIfNeeded: key) & mask) * ways
        while true {
            if let known = find(key, set) { return charge(set + known, now) }
            guard let (victim, old, fullAt) = weakest(set, for: key) else { continue }
            // Whoever is first has it; the others look again, and find it if it was for their key.
            guard (set + victim).pointee.key.compareExchange(expected: old, desired: key, ordering: .relaxed).exchanged
            else { continue }
            if fullAt > now {
                lost.wrappingAdd(1, ordering: .relaxed)
                _ = (set + victim).pointee.fullAt.compareExchange(expected: fullAt, desired: 0, ordering: .relaxed)
            }
            return charge(set + victim, now)
        }
    }

    @inline(__always)
    private func find(_ key: UInt64, _ set: UnsafeMutablePointer<Place>) -> Int? {
        for way in 0..<ways where (set + way).pointee.key.load(ordering: .relaxed) == key { return way }
        return nil
    }

    /// The place that a new key takes: the first unused one, else that with the fullest bucket. `nil`: another thread has just
    /// given it one, before what is unused now.
    private func weakest(
        _ set: UnsafeMutablePointer<Place>, for new: UInt64
    ) -> (way: Int, key: UInt64, fullAt: UInt64)? {
        var best = (way: 0, key: UInt64(0), fullAt: UInt64.max)
        for way in 0..<ways {
            let key = (set + way).pointee.key.load(ordering: .relaxed)
            if key == 0 { return (way, 0, 0) }
            if key == new { return nil }
            let fullAt = (set + way).pointee.fullAt.load(ordering: .relaxed)
            if fullAt < best.fullAt { best = (way, key, fullAt) }
        }
        return best
    }

    @inline(__always)
    private func charge(_ place: UnsafeMutablePointer<Place>, _ now: UInt64) -> RateLimitDecision {
        var known = place.pointee.fullAt.load(ordering: .relaxed)
        while true {
            var bucket = TokenBucket(fullAt: known)
            let decision = bucket.take(limit, now: now)
            // Nothing was taken.
            if !decision.isAllowed { return decision }
            let (isTaken, current) = place.pointee.fullAt.weakCompareExchange(
                expected: known, desired: bucket.fullAt, ordering: .relaxed)
            if isTaken { return decision }
            known = current
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// What the workers of a node share of limits: buckets of rates, and counts of what is done at once.
///
/// Asked when a configuration is new or a Service is first used, not for requests. What is shared lives as long as a
/// worker has it; after a change of a rate there is a new bucket, while counts stay whatever their limits become.
public final class NodeLimits: Sendable {
    private struct LimiterKey: Hashable {
        let cluster: ClusterKey
        /// Among the limits of the Service's policy.
        let place: Int
        let subject: RateLimiter.Subject
        let rate: RateLimit
    }

    private struct State {
        var limiters = SharedTable<LimiterKey, RateLimiter>()
        var circuits = SharedTable<ClusterKey, NodeCircuit>()
    }

    private let state = Mutex(State())

    public init() {}

    /// The limiter of one of a Service's limits: the one that other workers have, if there is one.
    func limiter(_ cluster: ClusterKey, _ place: Int, _ limit: ServicePolicy.Limit) -> RateLimiter {
        let key = LimiterKey(cluster: cluster, place: place, subject: limit.subject, rate: limit.rate)
        return state.withLock {
            $0.limiters.find(key) {
                RateLimiter(limit.rate, keys: limit.subject == .route ? 1 : RateLimiter.defaultKeys)
            }
        }
    }

    /// What the workers do of a Service's port together.
    func circuit(_ cluster: ClusterKey) -> NodeCircuit {
        state.withLock { $0.circuits.find(cluster) { NodeCircuit() } }
    }

    /// Limiters that somebody has.
    var count: Int { state.withLock { $0.limiters.count } }
}

/// Objects that somebody has, by what they are for.
private struct SharedTable<Key: Hashable, Object: AnyObject> {
    private struct Entry {
        weak var object: Object?
    }

    private var entries: [Key: Entry] = [:]
    /// Entries at which those that nobody has are removed: not at each new one, since then many would take long.
    private var sweepAt = 64

    var count: Int { entries.values.count { $0.object != nil } }

    mutating func find(_ key: Key, make: () -> Object) -> Object {
        if let known = entries[key]?.object { return known }
        if entries.count >= sweepAt {
            entries = entries.filter { $0.value.object != nil }
            sweepAt = max(64, 2 * entries.count)
        }
        let made = make()
        entries[key] = Entry(object: made)
        return made
    }
}

// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// The rate limiters that the workers of a node share, by what they are for.
///
/// Asked when a configuration is new or a Service is first used, not for requests. A limiter lives as long as a worker
/// has it; after a change of the limit there is a new one.
public final class NodeLimits: Sendable {
    private struct Key: Hashable {
        let cluster: ClusterKey
        /// Among the limits of the Service's policy.
        let place: Int
        let subject: RateLimiter.Subject
        let rate: RateLimit
    }

    private struct Entry {
        weak var limiter: RateLimiter?
    }

    private struct State {
        var entries: [Key: Entry] = [:]
        /// Entries at which those that nobody has are removed: not at each new one, since then many would take long.
        var sweepAt = 64
    }

    private let state = Mutex(State())

    public init() {}

    /// The limiter of one of a Service's limits: the one that other workers have, if there is one.
    func limiter(_ cluster: ClusterKey, _ place: Int, _ limit: ServicePolicy.Limit) -> RateLimiter {
        let key = Key(cluster: cluster, place: place, subject: limit.subject, rate: limit.rate)
        return state.withLock { state in
            if let known = state.entries[key]?.limiter { return known }
            if state.entries.count >= state.sweepAt {
                state.entries = state.entries.filter { $0.value.limiter != nil }
                state.sweepAt = max(64, 2 * state.entries.count)
            }
            let made = RateLimiter(limit.rate, keys: limit.subject == .route ? 1 : RateLimiter.defaultKeys)
            state.entries[key] = Entry(limiter: made)
            return made
        }
    }

    /// Limiters that somebody has.
    var count: Int { state.withLock { $0.entries.values.count { $0.limiter != nil } } }
}

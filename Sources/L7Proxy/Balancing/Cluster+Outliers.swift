// SPDX-License-Identifier: Apache-2.0

extension Cluster {
    /// What followed from the end of an attempt.
    public enum AttemptEffect: Hashable, Sendable {
        case none
        /// The endpoint gets nothing until this time, nanoseconds.
        case ejected(until: UInt64)
        /// It has failed often enough, but too few others would remain.
        case spared
    }

    /// Ends a request that ``begin(_:)`` has counted.
    @inline(__always)
    public mutating func end(_ handle: EndpointHandle, _ outcome: AttemptOutcome, now: UInt64) -> AttemptEffect {
        let slot = table.slot(of: handle)
        precondition(table[slot].activeRequests > 0, "a request ended twice")
        table[slot].activeRequests &-= 1
        var effect = AttemptEffect.none
        if let outliers = policy.outliers, table[slot].failures.count(outcome, outliers) {
            effect = eject(slot, outliers, now)
        }
        table.releaseIfUnused(slot)
        return effect
    }

    private mutating func eject(_ slot: Int, _ outliers: OutlierPolicy, _ now: UInt64) -> AttemptEffect {
        // Requests that were on their way when it was ejected, or when it left, say nothing new.
        guard !table[slot].isEjected, table[slot].isEligible else { return .none }
        table[slot].failures = FailureCounts()
        guard outliers.permitsEjection(ready: ready, ejected: ejected, configured: configured) else { return .spared }
        let forgiven =
            now > table[slot].releasedAt && outliers.interval > 0
            ? (now - table[slot].releasedAt) / outliers.interval : 0
        let ejections = table[slot].ejections - UInt16(min(UInt64(table[slot].ejections), forgiven))
        let (end, overflow) = now.addingReportingOverflow(outliers.duration(after: ejections))
        let until = max(overflow ? .max : end, 1)
        table[slot].ejections = ejections &+ (ejections < .max ? 1 : 0)
        table[slot].ejectedUntil = until
        nextRelease = min(nextRelease, until)
        rebuild()
        return .ejected(until: until)
    }

    /// Ends the ejections whose time has come.
    mutating func releaseExpired(_ now: UInt64) {
        nextRelease = .max
        for slot in 0..<table.count where table[slot].isEjected {
            if table[slot].ejectedUntil <= now {
                table[slot].ejectedUntil = 0
                table[slot].releasedAt = now
                table[slot].failures = FailureCounts()
            } else {
                nextRelease = min(nextRelease, table[slot].ejectedUntil)
            }
        }
        rebuild()
    }

    /// Ends all ejections: the configuration has none any more.
    mutating func releaseAll() {
        nextRelease = .max
        for slot in 0..<table.count {
            table[slot].ejectedUntil = 0
            table[slot].ejections = 0
            table[slot].failures = FailureCounts()
        }
    }
}

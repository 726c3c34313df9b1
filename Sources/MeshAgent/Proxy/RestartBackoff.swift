// SPDX-License-Identifier: Apache-2.0

/// How long to wait before a process that has ended is started again: not at all the first time, then longer and longer
/// while it does not live long.
struct RestartBackoff: Hashable, Sendable {
    /// Starts beside the first.
    private(set) var restarts: UInt64 = 0
    /// Ends in a row, each soon after its start but perhaps the first.
    private(set) var failures = 0
    private var startedAt = Duration.zero

    /// Whoever lived as long as this has not failed at its start.
    static let stableTime = Duration.seconds(10)
    static let longest = Duration.seconds(5)

    mutating func started(at now: Duration) { startedAt = now }

    /// Whether what was started last has not failed at its start.
    func isStable(at now: Duration) -> Bool { now - startedAt >= Self.stableTime }

    /// - Parameter now: time since the supervision began.
    /// - Returns: how long to wait.
    mutating func ended(at now: Duration) -> Duration {
        restarts += 1
        if isStable(at: now) { failures = 0 }
        defer { failures += 1 }
        guard failures > 0 else { return .zero }
        return min(.milliseconds(100) * (1 << min(failures - 1, 10)), Self.longest)
    }
}

// SPDX-License-Identifier: Apache-2.0

/// Decides when a loop that is awake most of the time sleeps for a moment instead of waiting for the next event.
///
/// A loop that keeps up with its peers is woken for nearly each message, and to sleep and to be woken costs as much as to pass
/// the message on. While many requests are under way their messages come anyhow before the answers are waited for: after
/// a moment there are several, which are read and sent together. Network cards moderate their interrupts for the same reason,
/// and for as long. Where few requests are under way each message is looked at as soon as it comes.
struct WakeModeration: Sendable, BitwiseCopyable {
    /// How long the moment is, in nanoseconds: less than a tenth of what ``leastUnderWay`` requests take one after another.
    static let moment: Int64 = 40_000
    /// With fewer requests under way a moment could be waited for.
    static let leastUnderWay = 32
    /// Turns that begin so soon after each other, in nanoseconds, are many.
    static let dense: UInt64 = 50_000
    /// After so many moments it is asked whether they were worth it: whether as many requests have begun.
    static let trial: UInt16 = 16
    /// If not, so many turns are without: requests can be under way and say little, and streams say much to few.
    static let rest: UInt16 = 4096

    private var isDense = false
    private var moments: UInt16 = 0
    private var requestsBefore: UInt64 = 0
    private var resting: UInt16 = 0

    /// Whether to sleep for a ``moment``, if the loop has nothing left to do.
    @inline(__always)
    func sleeps(underWay: Int) -> Bool { isDense && resting == 0 && underWay >= Self.leastUnderWay }

    /// Takes note of a turn.
    ///
    /// - Parameters:
    ///   - requests: That have ever begun.
    ///   - hasSlept: For a moment, before it asked for events.
    ///   - interval: Nanoseconds since the turn before began.
    @inline(__always)
    mutating func note(requests: UInt64, hasSlept: Bool, interval: UInt64) {
        guard hasSlept else {
            if resting > 0 { resting &-= 1 }
            isDense = interval < Self.dense
            // Those that have begun since are no moment's.
            if moments == 0 { requestsBefore = requests }
            return
        }
        moments &+= 1
        guard moments == Self.trial else { return }
        if requests &- requestsBefore < UInt64(Self.trial) { resting = Self.rest }
        requestsBefore = requests
        moments = 0
    }
}

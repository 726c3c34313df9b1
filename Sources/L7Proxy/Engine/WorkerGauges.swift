// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// A few counts of a worker that any thread may read at any time: as they were at the end of the last turn of its loop.
public final class WorkerGauges: Sendable {
    private let open = Atomic<UInt64>(0)
    private let taken = Atomic<UInt64>(0)
    private let turnedAway = Atomic<UInt64>(0)

    init() {}

    /// Clients' connections that are open.
    public var connections: UInt64 { open.load(ordering: .relaxed) }
    /// Since the start.
    public var accepted: UInt64 { taken.load(ordering: .relaxed) }
    /// Of these, reset at once.
    public var refused: UInt64 { turnedAway.load(ordering: .relaxed) }

    @inline(__always)
    func set(_ counters: borrowing WorkerCounters) {
        open.store(counters.connections, ordering: .relaxed)
        taken.store(counters.accepted, ordering: .relaxed)
        turnedAway.store(counters.refusedConnections, ordering: .relaxed)
    }
}

// SPDX-License-Identifier: Apache-2.0

typealias HoldPointer = UnsafeMutablePointer<SnapshotHold>

/// A snapshot that a worker uses: the newest, or one by which an unanswered request was routed.
///
/// Counted by the worker itself, so that holding it costs no atomic operation.
struct SnapshotHold: BitwiseCopyable {
    var handle = SlabHandle(index: 0, generation: 0)
    /// `nil`: the slot is free.
    var snapshot: Unmanaged<ProxySnapshot>?
    /// Grows with each snapshot of the worker, from 1.
    var serial: UInt64 = 0
    var users = 0
    /// One for each service of the snapshot.
    var memories: UnsafeMutablePointer<EndpointChoice.Memory>?
}

/// The snapshots of one worker.
struct SnapshotHolds: ~Copyable {
    /// Older snapshots that requests may hold. Beyond it a newer one waits.
    private static let limit = 1024

    private var slab = Slab<SnapshotHold>(capacity: limit) { _ in SnapshotHold() }
    private(set) var current: HoldPointer?
    /// Comes into force when a hold has become free.
    private var awaited: ProxySnapshot?
    private var lastSerial: UInt64 = 0

    deinit {
        slab.forEachLive { Self.release($0) }
    }

    /// Makes `snapshot` the one by which requests are routed from now on.
    mutating func publish(_ snapshot: ProxySnapshot) {
        guard let (hold, handle) = slab.take() else {
            awaited = snapshot
            return
        }
        awaited = nil
        lastSerial += 1
        let count = max(1, snapshot.serviceCount)
        let memories = UnsafeMutablePointer<EndpointChoice.Memory>.allocate(capacity: count)
        memories.initialize(repeating: EndpointChoice.Memory(), count: count)
        hold.pointee = SnapshotHold(
            handle: handle, snapshot: Unmanaged.passRetained(snapshot), serial: lastSerial, memories: memories)
        let old = current
        current = hold
        if let old { freeIfUnused(old) }
    }

    /// Ends one use.
    @inline(__always)
    mutating func leave(_ hold: HoldPointer) {
        hold.pointee.users -= 1
        if hold.pointee.users == 0, hold != current { freeIfUnused(hold) }
    }

    private mutating func freeIfUnused(_ hold: HoldPointer) {
        guard hold.pointee.users == 0, hold != current else { return }
        Self.release(hold)
        slab.give(back: hold.pointee.handle.index)
        if let snapshot = awaited { publish(snapshot) }
    }

    private static func release(_ hold: HoldPointer) {
        hold.pointee.snapshot?.release()
        hold.pointee.snapshot = nil
        hold.pointee.memories?.deallocate()
        hold.pointee.memories = nil
    }
}

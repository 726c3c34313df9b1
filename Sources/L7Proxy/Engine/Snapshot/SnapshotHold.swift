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
    /// One for each service of the snapshot; `nil`: no request of this worker has gone there.
    var clusters: UnsafeMutablePointer<ClusterPointer?>?
    var clusterCount = 0
}

/// The snapshots of one worker. Who publishes one sees to it that the older ones stay few.
struct SnapshotHolds: ~Copyable {
    private var slab: Slab<SnapshotHold>
    private(set) var current: HoldPointer?
    private var lastSerial: UInt64 = 0
    var clusters: ClusterTable

    /// - Parameters:
    ///   - limit: Older snapshots that requests may hold between two calls of ``publish(_:)``.
    ///   - node: What the workers of a node share of limits.
    init(limit: Int, _ node: NodeLimits) {
        // The newest, and the one before while its requests go over.
        slab = Slab(capacity: limit + 2) { _ in SnapshotHold() }
        clusters = ClusterTable(node)
    }

    deinit {
        slab.forEachLive { Self.release($0, clusters) }
    }

    /// Makes `snapshot` the one by which requests are routed from now on.
    mutating func publish(_ snapshot: ProxySnapshot) {
        guard let (hold, handle) = slab.take() else { preconditionFailure("more snapshots are held than may be") }
        lastSerial += 1
        let count = max(1, snapshot.serviceCount)
        let list = UnsafeMutablePointer<ClusterPointer?>.allocate(capacity: count)
        list.initialize(repeating: nil, count: count)
        clusters.follow(snapshot, list)
        hold.pointee = SnapshotHold(
            handle: handle, snapshot: Unmanaged.passRetained(snapshot), serial: lastSerial, clusters: list,
            clusterCount: count)
        let old = current
        current = hold
        if let old { freeIfUnused(old) }
    }

    /// Snapshots that requests hold beside the newest.
    var olderCount: Int { current == nil ? 0 : slab.liveCount - 1 }

    /// Of these the first.
    var oldest: HoldPointer? {
        var oldest: HoldPointer?
        slab.forEachLive { hold in
            if hold != current, hold.pointee.serial < oldest?.pointee.serial ?? .max { oldest = hold }
        }
        return oldest
    }

    /// The cluster of a service of the snapshot.
    @inline(__always)
    mutating func cluster(_ hold: HoldPointer, _ index: Int32, seed: UInt64) -> ClusterPointer {
        if let known = hold.pointee.clusters?[Int(index)] { return known }
        return makeCluster(hold, Int(index), seed)
    }

    private mutating func makeCluster(_ hold: HoldPointer, _ index: Int, _ seed: UInt64) -> ClusterPointer {
        guard let snapshot = hold.pointee.snapshot?.takeUnretainedValue() else { preconditionFailure("a free hold") }
        var service = snapshot.services[index]
        // Of a Service that there still is, the newest version.
        if let newest = current?.pointee.snapshot?.takeUnretainedValue(),
            let place = newest.index(of: ClusterKey(service))
        {
            service = newest.services[place]
        }
        let cluster = clusters.enter(service, seed: seed)
        hold.pointee.clusters?[index] = cluster
        return cluster
    }

    /// Ends one use.
    @inline(__always)
    mutating func leave(_ hold: HoldPointer) {
        hold.pointee.users -= 1
        if hold.pointee.users == 0, hold != current { freeIfUnused(hold) }
    }

    private mutating func freeIfUnused(_ hold: HoldPointer) {
        guard hold.pointee.users == 0, hold != current else { return }
        Self.release(hold, clusters)
        slab.give(back: hold.pointee.handle.index)
    }

    private static func release(_ hold: HoldPointer, _ clusters: borrowing ClusterTable) {
        hold.pointee.snapshot?.release()
        hold.pointee.snapshot = nil
        guard let list = hold.pointee.clusters else { return }
        for index in 0..<hold.pointee.clusterCount {
            if let cluster = list[index] { clusters.leave(cluster) }
        }
        list.deallocate()
        hold.pointee.clusters = nil
    }
}

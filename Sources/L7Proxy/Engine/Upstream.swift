// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import MeshModel

/// A connection to a backend: idle in its pool, or carrying requests.
struct Upstream: BitwiseCopyable {
    enum Phase: UInt8, BitwiseCopyable {
        /// The socket was asked for and is not here yet.
        case requested
        case connecting
        case open
        case closed
    }

    var handle = SlabHandle(index: 0, generation: 0)
    /// Made when the slot is first used; ``UInt32/max``: not yet.
    var timer: TimerWheel.ID = .max
    var channel = Channel()
    var phase: Phase = .closed
    var http1 = HTTP1UpstreamCodec()
    /// The connection speaks HTTP/2. Retained until the connection is given back.
    var session: Unmanaged<HTTP2ClientSession>?
    /// The backend has told its settings.
    var isSettled = false
    /// It takes no more requests, and is closed when those that it carries have ended.
    var isLeaving = false
    /// Of HTTP/2: whether the backend lives.
    var life = LifeSign()
    /// Waits in the engine's queue for another turn.
    var isQueued = false
    /// The newest of the exchanges that it carries; HTTP/1 carries one at a time.
    var exchange: ExchangePointer?
    var pool: PoolPointer?
    /// That its connection is counted in; `nil`: in none.
    var cluster: ClusterPointer?
    /// Neighbours among the idle ones of the pool.
    var next: UpstreamPointer?
    var previous: UpstreamPointer?
    var isIdle = false
    /// Requests that it has been given.
    var requests: UInt32 = 0
    /// Milliseconds.
    var openedAt: UInt64 = 0
    var idleSince: UInt64 = 0
    /// ``Channel/sent`` and ``Channel/received`` when the request began.
    var sentBefore: UInt64 = 0
    var receivedBefore: UInt64 = 0
}

extension Upstream {
    /// The exchange is carried from now on.
    @inline(__always)
    mutating func add(_ exchange: ExchangePointer) {
        exchange.pointee.previousOnUpstream = nil
        exchange.pointee.nextOnUpstream = self.exchange
        if let first = self.exchange { first.pointee.previousOnUpstream = exchange }
        self.exchange = exchange
    }

    @inline(__always)
    mutating func remove(_ exchange: ExchangePointer) {
        let (next, previous) = (exchange.pointee.nextOnUpstream, exchange.pointee.previousOnUpstream)
        if let previous { previous.pointee.nextOnUpstream = next } else { self.exchange = next }
        if let next { next.pointee.previousOnUpstream = previous }
        exchange.pointee.nextOnUpstream = nil
        exchange.pointee.previousOnUpstream = nil
    }

    /// An exchange whose response is not whole.
    var firstIncomplete: ExchangePointer? {
        var candidate = exchange
        while let found = candidate, found.pointee.responseBody.sourceEnded {
            candidate = found.pointee.nextOnUpstream
        }
        return candidate
    }
}

/// The connections to one endpoint from one pod, or into one pod for one identity outside the mesh.
///
/// They are apart for each of these, because the kernel judges a leg by it (namespace, identity, policy).
struct UpstreamPool: BitwiseCopyable {
    struct Key: Equatable, BitwiseCopyable {
        var address: IPAddress
        var port: UInt16
        var network: UInt64
        /// As ``LegRequest/outsider``.
        var outsider: UInt32?
        /// The one whose requests it carries; `nil`: those of all that the rest is the same of.
        var client: IPAddress?
        var isHTTP2 = false
        /// Copies have connections of their own, so that requests need not wait for them.
        var isMirror = false

        @inline(__always)
        var hash: UInt32 {
            var word = address.low ^ (address.high &* 0x9e37_79b9_7f4a_7c15) ^ (network &* 0xc2b2_ae3d_27d4_eb4f)
            word ^= UInt64(port) ^ UInt64(outsider ?? 0) << 16 ^ (isHTTP2 ? 1 << 63 : 0) ^ (isMirror ? 1 << 62 : 0)
            if let client { word = (word ^ client.low) &* 0x9fb2_1c65_1e98_df25 ^ client.high }
            word &*= 0xff51_afd7_ed55_8ccd
            return UInt32(truncatingIfNeeded: word >> 32)
        }
    }

    var handle = SlabHandle(index: 0, generation: 0)
    var key = Key(address: IPAddress(high: 0, low: 0), port: 0, network: 0)
    /// Used last.
    var firstIdle: UpstreamPointer?
    /// Unused for longest.
    var lastIdle: UpstreamPointer?
    var idleCount = 0
    /// Of any phase.
    var connections = 0
    /// Not connected yet; of HTTP/2, those whose settings are not known yet.
    var dialing = 0
    var firstWaiting: ExchangePointer?
    var lastWaiting: ExchangePointer?
    var waitingCount = 0

    /// Whether the table has it. One operation may find it unused more than once.
    var isRegistered = false

    /// Connections that are not there yet and that those who wait need.
    var neededDials: Int {
        key.isHTTP2 ? (waitingCount + Self.streamsExpected - 1) / Self.streamsExpected : waitingCount
    }

    /// Streams that backends usually allow on a connection (RFC 9113 section 6.5.2 recommends no less).
    private static let streamsExpected = 100

    var isUnused: Bool { isRegistered && connections == 0 && waitingCount == 0 }

    mutating func pushIdle(_ upstream: UpstreamPointer) {
        upstream.pointee.isIdle = true
        upstream.pointee.previous = nil
        upstream.pointee.next = firstIdle
        if let first = firstIdle { first.pointee.previous = upstream } else { lastIdle = upstream }
        firstIdle = upstream
        idleCount += 1
    }

    mutating func removeIdle(_ upstream: UpstreamPointer) {
        guard upstream.pointee.isIdle else { return }
        let (next, previous) = (upstream.pointee.next, upstream.pointee.previous)
        if let previous { previous.pointee.next = next } else { firstIdle = next }
        if let next { next.pointee.previous = previous } else { lastIdle = previous }
        upstream.pointee.isIdle = false
        upstream.pointee.next = nil
        upstream.pointee.previous = nil
        idleCount -= 1
    }

    /// The connection that was used last: its window is open, and the others can grow old.
    mutating func popIdle() -> UpstreamPointer? {
        guard let first = firstIdle else { return nil }
        removeIdle(first)
        return first
    }

    mutating func enqueue(_ exchange: ExchangePointer) {
        exchange.pointee.nextWaiting = nil
        exchange.pointee.previousWaiting = lastWaiting
        if let last = lastWaiting { last.pointee.nextWaiting = exchange } else { firstWaiting = exchange }
        lastWaiting = exchange
        waitingCount += 1
    }

    mutating func removeWaiting(_ exchange: ExchangePointer) {
        let (next, previous) = (exchange.pointee.nextWaiting, exchange.pointee.previousWaiting)
        if let previous { previous.pointee.nextWaiting = next } else { firstWaiting = next }
        if let next { next.pointee.previousWaiting = previous } else { lastWaiting = previous }
        exchange.pointee.nextWaiting = nil
        exchange.pointee.previousWaiting = nil
        waitingCount -= 1
    }
}

/// All pools of a worker, found by endpoint and source: open addressing over the indices of a slab.
struct UpstreamPoolTable: ~Copyable {
    private var pools: Slab<UpstreamPool>
    private let slots: UnsafeMutablePointer<UInt32>
    private let mask: UInt32
    private static var empty: UInt32 { .max }

    init(capacity: Int) {
        pools = Slab(capacity: capacity) { _ in UpstreamPool() }
        // Twice as many slots as pools at least, so that probes stay short.
        var count = 16
        while count < capacity * 2 { count *= 2 }
        slots = .allocate(capacity: count)
        slots.initialize(repeating: .max, count: count)
        mask = UInt32(count - 1)
    }

    deinit { slots.deallocate() }

    @inline(__always)
    private func pool(at slot: UInt32) -> PoolPointer { pools.element(slots[Int(slot)]) }

    /// The pool of `key`, made if there is none. - Returns: `nil` if there are too many.
    @inline(__always)
    mutating func find(_ key: UpstreamPool.Key) -> PoolPointer? {
        var slot = key.hash & mask
        while slots[Int(slot)] != Self.empty {
            let pool = pool(at: slot)
            if pool.pointee.key == key { return pool }
            slot = (slot &+ 1) & mask
        }
        guard let (pool, handle) = pools.take() else { return nil }
        pool.pointee = UpstreamPool()
        pool.pointee.handle = handle
        pool.pointee.key = key
        pool.pointee.isRegistered = true
        slots[Int(slot)] = handle.index
        return pool
    }

    /// Forgets a pool that is not used. Pointers to it are void.
    mutating func removeIfUnused(_ pool: PoolPointer) {
        guard pool.pointee.isUnused else { return }
        pool.pointee.isRegistered = false
        var slot = pool.pointee.key.hash & mask
        while slots[Int(slot)] != pool.pointee.handle.index { slot = (slot &+ 1) & mask }
        // Those behind it move up, so that no search ends too early (Knuth, TAOCP 3, 6.4, algorithm R).
        var hole = slot
        while true {
            slot = (slot &+ 1) & mask
            guard slots[Int(slot)] != Self.empty else { break }
            let home = self.pool(at: slot).pointee.key.hash & mask
            if (slot &- home) & mask >= (slot &- hole) & mask {
                slots[Int(hole)] = slots[Int(slot)]
                hole = slot
            }
        }
        slots[Int(hole)] = Self.empty
        pools.give(back: pool.pointee.handle.index)
    }
}

// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import MeshModel

/// All that one worker has: its loop, its connections, its pools. Touched by the worker's thread only.
///
/// A value with mutating methods and slabs behind pointers, so that serving a request counts no references and checks no
/// access at run time. What is closed is given back at the end of the loop's turn: a pointer that was valid when a method
/// was called stays valid until it returns.
///
/// Files: accepting and reading requests (`Engine+Downstream`), routing (`Engine+Routing`), attempts and pools
/// (`Engine+Attempt`, `Engine+Upstream`), the flow of both messages (`Engine+Flow`), how exchanges end (`Engine+Ending`),
/// time (`Engine+Timers`), commands of other threads (`Engine+Commands`).
struct Engine: ~Copyable {
    let configuration: EngineConfiguration
    let limits: HTTP1Limits
    let origins: OriginSource
    let legs: LegSource
    let sink: Unmanaged<RequestSink>
    let mailbox: Mailbox<WorkerCommand>
    let gauges: WorkerGauges
    let poller: Poller

    var buffers: BufferPool
    var timers: TimerWheel
    var downstreams: Slab<Downstream>
    var upstreams: Slab<Upstream>
    var exchanges: Slab<Exchange>
    var pools: UpstreamPoolTable
    var holds: SnapshotHolds
    var filters = FilterChain()
    var listeners: [Listener] = []
    var counters = WorkerCounters()

    /// Connections that may go on at once, after the others have had their turn.
    var queue = PointerQueue<Downstream>()
    /// What was closed in this turn.
    var closedDownstreams = PointerQueue<Downstream>()
    var closedUpstreams = PointerQueue<Upstream>()
    var freedExchanges = PointerQueue<Exchange>()

    /// Of the loop's turn: CLOCK_MONOTONIC in nanoseconds and in milliseconds.
    var nanoseconds: UInt64
    var now: UInt64
    var random: UInt64
    /// Takes normal forms of paths and rewritten targets.
    let scratch: UnsafeMutableRawBufferPointer
    let workerTimer: TimerWheel.ID
    var isDraining = false
    var drainDeadline: UInt64 = 0
    var onDrained: [@Sendable () -> Void] = []
    var isStopping = false
    var listenersPaused = false
    /// The sink was given something in this turn.
    var hasRecords = false

    struct Listener {
        let descriptor: CInt
        let tag: UInt64
    }

    /// - Throws: ``SystemError``; EMFILE if the process may have no more descriptors.
    init(
        _ configuration: EngineConfiguration, origins: @escaping OriginSource, legs: @escaping LegSource,
        sink: RequestSink, mailbox: Mailbox<WorkerCommand>, gauges: WorkerGauges
    ) throws(SystemError) {
        let poller = try Poller()
        try poller.addReadable(
            mailbox.descriptor, token: Token(.mailbox, SlabHandle(index: 0, generation: 0)).rawValue)
        self.configuration = configuration
        self.origins = origins
        self.legs = legs
        self.mailbox = mailbox
        self.gauges = gauges
        self.poller = poller
        limits = configuration.fittingLimits
        let nanoseconds = SystemClock.monotonic
        self.nanoseconds = nanoseconds
        now = nanoseconds / 1_000_000
        buffers = BufferPool(limit: configuration.buffers)
        var timers = TimerWheel(now: nanoseconds / 1_000_000)
        workerTimer = timers.makeTimer(for: 0)
        self.timers = timers
        downstreams = Slab(capacity: configuration.connections) { _ in Downstream() }
        upstreams = Slab(capacity: configuration.upstreams) { _ in Upstream() }
        exchanges = Slab(capacity: configuration.exchanges) { [configuration] index in
            Exchange(index: index, fieldCount: configuration.fieldCount)
        }
        pools = UpstreamPoolTable(capacity: configuration.pools)
        holds = SnapshotHolds(workers: configuration.workers)
        random = UInt64.random(in: 1...(.max))
        let pathRoom = RequestPath.scratchSize(for: Int(configuration.fittingLimits.headBytes))
        scratch = .allocate(byteCount: max(BufferPool.blockSize, pathRoom), alignment: 16)
        // Last: nothing after it throws, so it is released once.
        self.sink = Unmanaged.passRetained(sink)
    }

    deinit {
        scratch.deallocate()
        sink.release()
    }

    // MARK: - Loop

    /// Serves until it is stopped; then all connections are closed.
    mutating func run() {
        while !isStopping { turn() }
        closeEverything()
    }

    mutating func turn() {
        let count = poller.wait(milliseconds: queue.isEmpty ? timers.wait(from: now) : 0)
        nanoseconds = SystemClock.monotonic
        now = nanoseconds / 1_000_000
        for index in 0..<count { dispatch(poller[index]) }
        var waiting = queue.count
        while waiting > 0, let downstream = queue.pop() {
            waiting -= 1
            downstream.pointee.isQueued = false
            drive(downstream)
        }
        while let owner = timers.popDue(at: now) { fire(Token(rawValue: owner)) }
        reap()
        gauges.set(counters)
        if hasRecords {
            hasRecords = false
            sink._withUnsafeGuaranteedRef { $0.turnEnded() }
        }
        if isDraining, downstreams.liveCount == 0 { finishDrain() }
    }

    @inline(__always)
    private mutating func dispatch(_ event: Poller.Event) {
        let token = Token(rawValue: event.token)
        switch token.kind {
        case .downstream:
            guard let downstream = downstreams.find(token.handle), downstream.pointee.phase != .closed else { return }
            downstream.pointee.channel.note(event)
            drive(downstream)
        case .upstream:
            guard let upstream = upstreams.find(token.handle), upstream.pointee.phase != .closed else { return }
            upstream.pointee.channel.note(event)
            upstreamIsReady(upstream)
        case .listener: accept(Int(token.handle.index))
        case .mailbox: takeCommands()
        case .exchange, .worker, nil: break
        }
    }

    /// Gives back what was closed in this turn.
    private mutating func reap() {
        while let exchange = freedExchanges.pop() { exchanges.give(back: exchange.pointee.handle.index) }
        while let downstream = closedDownstreams.pop() { downstreams.give(back: downstream.pointee.handle.index) }
        while let upstream = closedUpstreams.pop() { upstreams.give(back: upstream.pointee.handle.index) }
    }

    /// Another turn for a connection that can go on.
    @inline(__always)
    mutating func enqueue(_ downstream: DownstreamPointer) {
        guard !downstream.pointee.isQueued else { return }
        downstream.pointee.isQueued = true
        queue.push(downstream)
    }

    /// xorshift64* (Marsaglia 2003, Vigna 2016): for weights and waits, not for secrets.
    @inline(__always)
    mutating func nextRandom() -> UInt64 {
        random ^= random >> 12
        random ^= random << 25
        random ^= random >> 27
        return random &* 0x2545_f491_4f6c_dd1d
    }
}

/// Pointers in the order in which they came. Grows to the most that were in it at once, and then allocates no more.
struct PointerQueue<Element: ~Copyable>: ~Copyable {
    private var ring: UnsafeMutablePointer<UnsafeMutablePointer<Element>>
    private var capacity = 64
    private var head = 0
    private(set) var count = 0

    init() { ring = .allocate(capacity: 64) }

    deinit { ring.deallocate() }

    var isEmpty: Bool { count == 0 }

    mutating func push(_ element: UnsafeMutablePointer<Element>) {
        if count == capacity {
            let grown = UnsafeMutablePointer<UnsafeMutablePointer<Element>>.allocate(capacity: capacity * 2)
            for index in 0..<count { (grown + index).initialize(to: ring[(head + index) % capacity]) }
            ring.deallocate()
            ring = grown
            head = 0
            capacity *= 2
        }
        (ring + (head + count) % capacity).initialize(to: element)
        count += 1
    }

    mutating func pop() -> UnsafeMutablePointer<Element>? {
        guard count > 0 else { return nil }
        let element = ring[head]
        head = (head + 1) % capacity
        count -= 1
        return element
    }
}

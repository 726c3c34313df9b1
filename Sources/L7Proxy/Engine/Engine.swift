// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import MeshModel

/// All that one worker has: its loop, its connections, its pools. Touched by the worker's thread only.
///
/// A value with mutating methods and slabs behind pointers, so that serving a request counts no references and checks no
/// access at run time. What is closed is given back at the end of the loop's turn: a pointer that was valid when a method
/// was called stays valid until it returns.
///
/// Files: accepting and driving (`Engine+Downstream`), what is spoken (`Engine+Detection`) and what is not HTTP
/// (`Engine+Relay`), routing (`Engine+Routing`), attempts and pools (`Engine+Attempt`, `Engine+Upstream`), newer
/// configurations (`Engine+Snapshots`) and policy (`Engine+PolicyHold`), heads and the flow of both messages
/// (`Engine+RequestHead`, `Engine+ResponseHead`, `Engine+Flow`), what is of one protocol (`Engine+HTTP1...`,
/// `Engine+HTTP2...`), how exchanges end (`Engine+Ending`), time
/// (`Engine+Timers`), commands of other threads (`Engine+Commands`).
struct Engine: ~Copyable {
    let configuration: EngineConfiguration
    let limits: HTTP1Limits
    let origins: OriginSource
    let diversion: ConnectionDiversion?
    let legs: LegSource
    let sink: Unmanaged<RequestSink>
    let mailbox: Mailbox<WorkerCommand>
    let gauges: WorkerGauges
    let poller: Poller

    var buffers: BufferPool
    /// Of all sessions of HTTP/2.
    let memory = HTTP2MemoryPool()
    /// Takes one head of HTTP/2 after another.
    var headWriter: HTTP2HeadWriter
    var timers: TimerWheel
    var downstreams: Slab<Downstream>
    var upstreams: Slab<Upstream>
    var exchanges: Slab<Exchange>
    var pools: UpstreamPoolTable
    var sources: SourceTable
    var holds: SnapshotHolds
    var filters = FilterChain()
    /// By their tags.
    var listeners = ListenerSet<UInt64>()
    var counters = WorkerCounters()

    /// Connections that may go on at once, after the others have had their turn.
    var queue = PointerQueue<Downstream>()
    var upstreamQueue = PointerQueue<Upstream>()
    var exchangeQueue = PointerQueue<Exchange>()
    /// What was closed in this turn.
    var closedDownstreams = PointerQueue<Downstream>()
    var closedUpstreams = PointerQueue<Upstream>()
    var freedExchanges = PointerQueue<Exchange>()

    /// Of the loop's turn: CLOCK_MONOTONIC in nanoseconds and in milliseconds.
    var nanoseconds: UInt64
    private var moderation = WakeModeration()
    var now: UInt64
    var random: UInt64
    /// Takes normal forms of paths and rewritten targets.
    let scratch: UnsafeMutableRawBufferPointer
    let workerTimer: TimerWheel.ID
    /// Of the kernel's policy, all of which is in the snapshot in force; and what it will be when that is in force.
    var policyGeneration: UInt32 = 0
    var awaitedPolicy: UInt32 = 0
    var onInForce: [@Sendable () -> Void] = []
    /// Connections in the phase ``Downstream/Phase/held``.
    var heldConnections = 0
    var isDraining = false
    var drainDeadline: UInt64 = 0
    var onDrained: [@Sendable () -> Void] = []
    var isStopping = false
    /// Copies for mirrors that are open.
    var openMirrors = 0
    /// The sink was given something in this turn.
    var hasRecords = false

    /// - Throws: ``SystemError``; EMFILE if the process may have no more descriptors.
    init(
        _ configuration: EngineConfiguration, origins: @escaping OriginSource, diversion: ConnectionDiversion?,
        legs: @escaping LegSource, sink: RequestSink, mailbox: Mailbox<WorkerCommand>, gauges: WorkerGauges
    ) throws(SystemError) {
        let poller = try Poller()
        try poller.addReadable(
            mailbox.descriptor, token: Token(.mailbox, SlabHandle(index: 0, generation: 0)).rawValue)
        self.configuration = configuration
        self.origins = origins
        self.diversion = diversion
        self.legs = legs
        self.mailbox = mailbox
        self.gauges = gauges
        self.poller = poller
        limits = configuration.fittingLimits
        let nanoseconds = SystemClock.monotonic
        self.nanoseconds = nanoseconds
        now = nanoseconds / 1_000_000
        buffers = BufferPool(limit: configuration.buffers)
        headWriter = HTTP2HeadWriter(fields: configuration.fieldCount, targetBytes: BufferPool.blockSize)
        var timers = TimerWheel(now: nanoseconds / 1_000_000)
        workerTimer = timers.makeTimer(for: 0)
        self.timers = timers
        downstreams = Slab(capacity: configuration.connections) { _ in Downstream() }
        upstreams = Slab(capacity: configuration.upstreams) { _ in Upstream() }
        exchanges = Slab(capacity: configuration.exchanges) { [configuration] index in
            Exchange(index: index, fieldCount: configuration.fieldCount)
        }
        pools = UpstreamPoolTable(capacity: configuration.pools)
        sources = SourceTable(
            connections: configuration.connectionsPerSource, exchanges: configuration.exchangesPerSource)
        holds = SnapshotHolds(limit: configuration.heldSnapshots, configuration.nodeLimits)
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
        reap()
    }

    mutating func turn() {
        let before = nanoseconds
        let sleeps = !hasQueued && moderation.sleeps(underWay: exchanges.liveCount)
        if sleeps { DetachedThread.sleep(nanoseconds: WakeModeration.moment) }
        let count = poller.wait(milliseconds: hasQueued ? 0 : timers.wait(from: now))
        nanoseconds = SystemClock.monotonic
        moderation.note(requests: counters.requests, hasSlept: sleeps, interval: nanoseconds &- before)
        now = nanoseconds / 1_000_000
        for index in 0..<count { dispatch(poller[index]) }
        takeTurns()
        while let owner = timers.popDue(at: now) { fire(Token(rawValue: owner)) }
        if hasUnsettledPolicy { settlePolicy() }
        reap()
        gauges.set(counters)
        if hasRecords {
            hasRecords = false
            sink._withUnsafeGuaranteedRef { $0.turnEnded() }
        }
        // Nobody waits for copies.
        if isDraining, downstreams.liveCount == openMirrors { finishDrain() }
    }

    @inline(__always)
    private var hasQueued: Bool { !queue.isEmpty || !exchangeQueue.isEmpty || !upstreamQueue.isEmpty }

    /// Lets go on whoever has asked for it. First those that cause frames, then those that send them.
    @inline(__always)
    private mutating func takeTurns() {
        var waiting = exchangeQueue.count
        while waiting > 0, let exchange = exchangeQueue.pop() {
            waiting -= 1
            exchange.pointee.isQueued = false
            if exchange.pointee.stream != nil { advance(exchange) }
        }
        waiting = queue.count
        while waiting > 0, let downstream = queue.pop() {
            waiting -= 1
            downstream.pointee.isQueued = false
            drive(downstream)
        }
        waiting = upstreamQueue.count
        while waiting > 0, let upstream = upstreamQueue.pop() {
            waiting -= 1
            upstream.pointee.isQueued = false
            driveHTTP2(upstream)
        }
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
        while let downstream = closedDownstreams.pop() {
            if let session = downstream.pointee.session {
                session.release()
                downstream.pointee.session = nil
            }
            if let share = downstream.pointee.share { sources.leave(share) }
            downstream.pointee.share = nil
            downstreams.give(back: downstream.pointee.handle.index)
        }
        while let upstream = closedUpstreams.pop() {
            if let session = upstream.pointee.session {
                session.release()
                upstream.pointee.session = nil
            }
            upstreams.give(back: upstream.pointee.handle.index)
        }
    }

    /// Another turn for a connection that can go on.
    @inline(__always)
    mutating func enqueue(_ downstream: DownstreamPointer) {
        guard !downstream.pointee.isQueued else { return }
        downstream.pointee.isQueued = true
        queue.push(downstream)
    }

    @inline(__always)
    mutating func enqueue(_ upstream: UpstreamPointer) {
        guard !upstream.pointee.isQueued, upstream.pointee.phase == .open else { return }
        upstream.pointee.isQueued = true
        upstreamQueue.push(upstream)
    }

    @inline(__always)
    mutating func enqueue(_ exchange: ExchangePointer) {
        guard !exchange.pointee.isQueued else { return }
        exchange.pointee.isQueued = true
        exchangeQueue.push(exchange)
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

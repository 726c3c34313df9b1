// SPDX-License-Identifier: Apache-2.0

import Identity
import LinuxIO
import MeshModel

/// All that one worker of tunnels has: its loop, its connections with peers, its pools. Touched by the worker's thread
/// only, built as ``Engine`` is, and apart from it: what it does costs requests in clear nothing.
///
/// Its tokens name tunnels as exchanges, and connections with peers as upstream ones, whoever has made them.
///
/// What happens on one session may call another's functions, but moves no bytes of it, and closes no connection while
/// the session is telling. What is closed is given back at the end of the loop's turn.
///
/// Files: turns and queues here, listeners and commands (`HBONEEngine+Commands`), handshakes (`HBONEEngine+Handshake`),
/// bytes and events of connections (`HBONEEngine+Connection`), their ends and time (`HBONEEngine+Ending`,
/// `HBONEEngine+Timers`), requests of peers (`HBONEEngine+Server`), ours (`HBONEEngine+Client`, `HBONEEngine+Pool`), the
/// flow between stream and socket (`HBONEEngine+Flow`).
struct HBONEEngine: ~Copyable {
    let configuration: HBONEConfiguration
    let composition: HBONEComposition
    let sink: HBONESink
    let mailbox: Mailbox<HBONECommand>
    let poller: Poller

    var buffers: BufferPool
    /// Of sessions of each role: their streams are of different sizes.
    let serverMemory = HTTP2MemoryPool()
    let clientMemory = HTTP2MemoryPool()
    var headWriter = HTTP2HeadWriter(fields: 16, targetBytes: 256)
    var requestWriter = HBONERequestWriter()
    var timers: TimerWheel
    var connections: Slab<HBONEConnection>
    var tunnels: Slab<HBONETunnel>
    /// What each source has of both.
    var connectionSources: SourceTable
    var tunnelSources: SourceTable
    var pools: [HBONEPoolKey: HBONEPoolPointer] = [:]
    /// Those that may have become unused in this turn.
    var unusedPools: [HBONEPoolKey] = []
    var contexts = TLSContextTable()
    var listeners = ListenerSet<HBONEListenerLabel>()
    var counters = HBONECounters()

    /// Connections that may go on at once, after the others have had their turn.
    var queue = PointerQueue<HBONEConnection>()
    /// Those whose handshake can go on; so many in a turn.
    var shakeQueue = PointerQueue<HBONEConnection>()
    /// Makes steps of handshakes.
    let shaker: HandshakeThread
    /// Begun, and not ended.
    var stepsUnderWay = 0
    /// Begun, and not put yet, because that would have been to wait.
    var stepsToPut: [HandshakeStep] = []
    /// The thread has said that it has made some. It says so after they can be seen: they may have been taken before.
    var hasStepsMade = false
    /// The thread has no time for steps.
    var makesSteps = false
    /// Those that shake hands, newest first.
    var newestShaking: HBONEConnectionPointer?
    var oldestShaking: HBONEConnectionPointer?
    var shakingCount = 0
    /// Connections whose peers are to be checked again; the last first.
    var unchecked: [SlabHandle] = []
    var closedConnections = PointerQueue<HBONEConnection>()
    var endedTunnels = PointerQueue<HBONETunnel>()

    /// Of the loop's turn: CLOCK_MONOTONIC in nanoseconds and in milliseconds.
    var nanoseconds: UInt64
    var now: UInt64
    /// Takes what is to be encrypted at once.
    let plainOutput: UnsafeMutableRawBufferPointer
    /// Content that has come by one stream and goes to its tunnel's socket with one call. Lent by its connection.
    var gathered = StreamPieces()
    var gatheredFor: HBONETunnelPointer?
    let workerTimer: TimerWheel.ID
    var isDraining = false
    var drainDeadline: UInt64 = 0
    var onDrained: [@Sendable () -> Void] = []
    var isStopping = false
    var hasRecords = false

    /// - Throws: ``SystemError``; EMFILE if the process may have no more descriptors.
    init(
        _ configuration: HBONEConfiguration, _ composition: HBONEComposition, sink: HBONESink,
        mailbox: Mailbox<HBONECommand>
    ) throws(SystemError) {
        let poller = try Poller()
        try poller.addReadable(
            mailbox.descriptor, token: Token(.mailbox, SlabHandle(index: 0, generation: 0)).rawValue)
        let shaker = try HandshakeThread()
        try poller.addReadable(
            shaker.descriptor, token: Token(.worker, SlabHandle(index: 0, generation: 0)).rawValue)
        try shaker.start()
        self.shaker = shaker
        self.configuration = configuration
        self.composition = composition
        self.sink = sink
        self.mailbox = mailbox
        self.poller = poller
        let nanoseconds = SystemClock.monotonic
        self.nanoseconds = nanoseconds
        now = nanoseconds / 1_000_000
        buffers = BufferPool(limit: configuration.buffers, large: configuration.largeBuffers)
        var timers = TimerWheel(now: nanoseconds / 1_000_000)
        workerTimer = timers.makeTimer(for: 0)
        self.timers = timers
        connections = Slab(capacity: configuration.connections) { _ in HBONEConnection() }
        tunnels = Slab(capacity: configuration.tunnels) { _ in HBONETunnel() }
        connectionSources = SourceTable(connections: configuration.connectionsPerSource, exchanges: 1)
        tunnelSources = SourceTable(connections: configuration.tunnelsPerSource, exchanges: 1)
        plainOutput = .allocate(byteCount: BufferPool.blockSize, alignment: 64)
    }

    deinit {
        for pool in pools.values {
            pool.deinitialize(count: 1)
            pool.deallocate()
        }
        plainOutput.deallocate()
    }

    // MARK: - Loop

    /// Serves until it is stopped; then everything is closed.
    mutating func run() {
        while !isStopping { turn() }
        shaker.stop()
        closeEverything()
        reap()
    }

    mutating func turn() {
        var patience = hasWork ? 0 : timers.wait(from: now)
        // To look whether the other thread is late.
        let late = CInt(HandshakeThread.patience / 1_000_000)
        if stepsUnderWay > 0, patience < 0 || patience > late { patience = late }
        let count = poller.wait(milliseconds: patience)
        nanoseconds = SystemClock.monotonic
        now = nanoseconds / 1_000_000
        for index in 0..<count { dispatch(poller[index]) }
        takeTurns()
        shakeHands()
        checkPeers()
        while let owner = timers.popDue(at: now) { fire(Token(rawValue: owner)) }
        reap()
        if hasRecords {
            hasRecords = false
            sink.turnEnded()
        }
        if isDraining, connections.liveCount == 0, tunnels.liveCount == 0 { finishDrain() }
    }

    private var hasWork: Bool { !queue.isEmpty || !shakeQueue.isEmpty || !unchecked.isEmpty || makesSteps }

    private mutating func takeTurns() {
        var waiting = queue.count
        while waiting > 0, let connection = queue.pop() {
            waiting -= 1
            connection.pointee.isQueued = false
            drive(connection)
        }
    }

    private mutating func dispatch(_ event: Poller.Event) {
        let token = Token(rawValue: event.token)
        switch token.kind {
        case .exchange:
            guard let tunnel = tunnels.find(token.handle), tunnel.pointee.phase != .over else { return }
            tunnel.pointee.leg.note(event)
            legIsReady(tunnel, event)
        case .upstream:
            guard let connection = connections.find(token.handle), connection.pointee.phase != .closed else { return }
            connection.pointee.secure.channel.note(event)
            switch connection.pointee.phase {
            case .connecting: dialIsReady(connection)
            case .handshaking: enqueueShaking(connection)
            case .open, .ending: enqueue(connection)
            case .requested, .closed: break
            }
        case .listener: accept(Int(token.handle.index))
        case .mailbox: takeCommands()
        case .worker: hasStepsMade = true
        case .downstream, nil: break
        }
    }

    /// Gives back what was closed in this turn.
    private mutating func reap() {
        while let key = unusedPools.popLast() {
            guard let pool = pools[key], pool.pointee.isUnused else { continue }
            pools[key] = nil
            pool.deinitialize(count: 1)
            pool.deallocate()
        }
        while let tunnel = endedTunnels.pop() { tunnels.give(back: tunnel.pointee.handle.index) }
        while let connection = closedConnections.pop() {
            if let session = connection.pointee.session {
                session.release()
                connection.pointee.session = nil
            }
            connections.give(back: connection.pointee.handle.index)
        }
    }

    /// Another turn for a connection that can go on.
    @inline(__always)
    mutating func enqueue(_ connection: HBONEConnectionPointer) {
        guard !connection.pointee.isQueued else { return }
        connection.pointee.isQueued = true
        queue.push(connection)
    }

    mutating func enqueueShaking(_ connection: HBONEConnectionPointer) {
        guard !connection.pointee.isShakeQueued else { return }
        connection.pointee.isShakeQueued = true
        shakeQueue.push(connection)
    }
}

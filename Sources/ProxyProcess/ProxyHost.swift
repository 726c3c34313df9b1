// SPDX-License-Identifier: Apache-2.0

import Glibc
public import LinuxIO
public import ProxyProtocol

/// The control side of a proxy: the link to the agent, the listeners that it has been given, and its engine.
///
/// It outlives its agent: listeners, configuration and connections stay, and the next agent gets the listeners back.
/// Everything happens on the thread of its event loop.
public final class ProxyHost: LegSource {
    public struct Options {
        /// Version of the program.
        public var program: String
        /// Where agents listen; `nil`: a link that has closed is the end.
        public var agentSocket: String?
        /// How long connections may take to end after SIGTERM.
        public var drainTime: Duration
        /// Whether the memory of private keys is never swapped out. Said when there are some.
        public var locksKeys: Bool

        public init(
            program: String, agentSocket: String?, drainTime: Duration = .seconds(30), locksKeys: Bool = true
        ) {
            self.program = program
            self.agentSocket = agentSocket
            self.drainTime = drainTime
            self.locksKeys = locksKeys
        }
    }

    private typealias AgentLink = Link<AgentMessage, ProxyMessage>

    /// How long to wait before the agent's socket is tried again. A connect(2) to a file that nobody serves is cheap.
    static let retryInterval = Duration.milliseconds(50)
    /// How long requests for sockets wait for the next agent: as long as one takes to start again. Less than a worker
    /// waits for a connection.
    static let agentPatience = Duration.seconds(3)

    private let loop: EventLoop
    private let options: Options
    private let log: (String) -> Void
    private var engine: (any ProxyEngine)?
    private var link: AgentLink?
    private var listeners: [ListenerKey: (listener: Listener, socket: SharedDescriptor)] = [:]
    private var configuration = ConfigurationReceiver()
    /// Of the configuration that the engine has taken.
    private var generation: UInt64 = 0
    /// Of the kernel's policy, which the configuration of a generation has that was not taken yet, or was refused.
    private var policy: (generation: UInt32, by: UInt64)?
    private var identities = IdentityStore()
    private var legs = LegRequests()
    private var isDraining = false
    /// Whether the agent has said hello.
    private var isAttached = false
    private var retry: EventLoop.Timer?
    /// Runs from the end of an agent on; meanwhile the next one is waited for.
    private var patience: EventLoop.Timer?

    /// - Parameter makeEngine: called once, before the first message. What it throws is thrown.
    public init(
        on loop: EventLoop, _ options: Options, log: @escaping (String) -> Void,
        makeEngine: (EventLoop, any LegSource) throws(SystemError) -> any ProxyEngine
    ) throws(SystemError) {
        self.loop = loop
        self.options = options
        self.log = log
        engine = try makeEngine(loop, self)
    }

    /// Serves until drained.
    ///
    /// - Parameter socket: to an agent; `nil`: one is looked for at ``Options/agentSocket``.
    public func run(_ socket: consuming PacketSocket?) throws(SystemError) {
        try loop.watchSignals([SIGTERM, SIGINT]) { [unowned self] signal in
            // The second one does not wait.
            if isDraining { loop.stop() } else { drain(within: options.drainTime, "signal \(signal)") }
        }
        try start(socket)
        try loop.run()
    }

    /// Opens the link; everything else happens on the loop.
    func start(_ socket: consuming PacketSocket?) throws(SystemError) {
        if let socket { try open(socket) } else { connect() }
    }

    // MARK: - Link

    private func open(_ socket: consuming PacketSocket) throws(SystemError) {
        let hello = Hello(
            .proxy, program: options.program, generation: generation, listeners: UInt32(listeners.count))
        link = try AgentLink(on: loop, socket, as: hello, expecting: .agent) { [unowned self] in handle($0) }
    }

    private func connect() {
        retry = nil
        guard let path = options.agentSocket, !isDraining else { return }
        do throws(SystemError) { try open(PacketSocket(connectingTo: path)) } catch {
            // Nobody is there yet, or its queue is full. Anything else would be the same at each attempt.
            if ![ENOENT, ECONNREFUSED, EAGAIN].contains(error.errnoCode) { log("the agent is out of reach: \(error)") }
            retry = loop.schedule(after: Self.retryInterval) { [unowned self] in connect() }
        }
    }

    private func handle(_ event: AgentLink.Event) {
        switch event {
        case .opened(let agent):
            log("attached to mesh-agent \(agent.program)")
            isAttached = true
            for (listener, socket) in listeners.values { link?.send(.listener(listener), [socket]) }
            link?.send(.listenersComplete(UInt32(listeners.count)))
            if let patience { loop.cancel(patience) }
            patience = nil
            for request in legs.requests { link?.send(.legRequest(request)) }
        case .message(let message, let descriptors): handle(message, descriptors)
        case .closed(let reason):
            log("detached from the agent: \(reason)")
            link = nil
            configuration.abandonChange()
            if options.agentSocket == nil {
                refuseLegs()
                drain(within: options.drainTime, "the agent has ended, and there is no socket to find another")
            } else {
                if patience == nil, isAttached {
                    patience = loop.schedule(after: Self.agentPatience) { [unowned self] in
                        patience = nil
                        refuseLegs()
                    }
                }
                retry = loop.schedule(after: Self.retryInterval) { [unowned self] in connect() }
            }
            isAttached = false
        }
    }

    private func refuseLegs() {
        for completion in legs.removeAll() {
            completion(.failure(LegRequests.refusal(ECONNRESET, "the agent has ended")))
        }
    }

    private func handle(_ message: AgentMessage, _ descriptors: [SharedDescriptor]) {
        switch message {
        case .begin(let base, let generation): conclude(configuration.begin(base: base, generation: generation))
        case .put(let key, let value): conclude(configuration.set(key, value))
        case .delete(let key): conclude(configuration.set(key, nil))
        case .commit(let generation): conclude(configuration.commit(generation))
        case .snapshot(let generation): conclude(configuration.snapshot(generation, in: descriptors[0]))
        case .policy(let generation, let configuration):
            policy = (generation, configuration)
            enforcePolicy()
        case .listener(let listener):
            // What arrives while draining belongs to the next process.
            guard !isDraining else { return }
            listeners[listener.key] = (listener, descriptors[0])
            engine?.serve(listener, descriptors[0])
        case .listenerGone(let key):
            listeners[key] = nil
            engine?.stopServing(key)
        case .leg(let request): legs.finish(request)?(.success(descriptors[0]))
        case .legRefused(let request, let refusal): legs.finish(request)?(.failure(refusal))
        case .drain(let milliseconds): drain(within: .milliseconds(milliseconds), "the agent")
        case .statusRequest(let number): answer(number)
        case .metricsRequest(let number): writeMetrics(number, into: descriptors[0])
        case .identities(let number): take(identities: number, from: descriptors[0])
        case .identitiesRequest(let number): giveBack(number, into: descriptors[0])
        }
    }

    // MARK: - Work

    private func conclude(_ outcome: ConfigurationReceiver.Outcome) {
        switch outcome {
        case .incomplete: break
        case .violation(let reason): link?.close(reason)
        case .complete(let state):
            let refusal: String
            do throws(RecordError) {
                let new = try ProxyConfiguration(state)
                do throws(EngineRefusal) {
                    // By the link of that moment: an agent is told of what it has sent itself.
                    try engine?.apply(new) { [weak link] in link?.send(.acknowledge(state.generation)) }
                    generation = state.generation
                    enforcePolicy()
                    return
                } catch {
                    refusal = "\(error)"
                }
            } catch {
                refusal = "\(error)"
            }
            log("generation \(state.generation) is refused, \(generation) stays in force: \(refusal)")
            engine?.missed("this proxy has refused the configuration of generation \(state.generation): \(refusal)")
            link?.send(.reject(state.generation, reason: refusal))
        }
    }

    /// Not before the configuration that has it was taken: one that was refused has nothing.
    private func enforcePolicy() {
        guard let (number, configuration) = policy, generation >= configuration else { return }
        policy = nil
        engine?.enforce(policy: number)
    }

    public func requestLeg(
        netns: UInt64, destination: SocketEndpoint, outsider: UInt32?, client: SocketEndpoint?,
        _ completion: @escaping (Result<SharedDescriptor, SocketRefusal>) -> Void
    ) {
        let refusal: SocketRefusal
        if isAttached || patience != nil {
            let request = legs.add(completion) {
                LegRequest(
                    number: $0, netns: netns, destination: destination, outsider: outsider, client: client)
            }
            if let request {
                if isAttached { link?.send(.legRequest(request)) }
                return
            }
            refusal = LegRequests.refusal(EBUSY, "\(legs.count) requests are open")
        } else {
            refusal = LegRequests.refusal(ENOTCONN, "the agent is away")
        }
        loop.enqueue { completion(.failure(refusal)) }
    }

    /// The agent asks before it waits, with its loop standing, for what needs all threads.
    private func answer(_ number: UInt32) {
        let send = { [weak self] () -> Void in
            if let self { link?.send(.status(status(number))) }
        }
        if let engine { engine.whenAnswering(send) } else { send() }
    }

    private func status(_ number: UInt32) -> ProxyStatus {
        let counters = engine?.counters ?? EngineCounters()
        return ProxyStatus(
            request: number, generation: generation, listeners: UInt32(listeners.count),
            connections: counters.connections, accepted: counters.accepted, refused: counters.refused,
            pendingLegs: UInt32(legs.count), isDraining: isDraining)
    }

    private func writeMetrics(_ number: UInt32, into file: SharedDescriptor) {
        engine?.metrics { [weak self] page in
            guard let self else { return }
            do throws(SystemError) {
                try MemoryFile.write(Array(page.utf8), to: file)
                link?.send(.metrics(number))
            } catch {
                // Who asks gives up after a while.
                log("metrics cannot be given: \(error)")
            }
        }
    }

    private func take(identities number: UInt32, from file: SharedDescriptor) {
        do throws(IdentityRefusal) {
            let isFirst = identities.isUntouched
            engine?.use(try identities.apply(file))
            if isFirst, !options.locksKeys {
                log("private keys may be swapped out: memory cannot be locked (raise RLIMIT_MEMLOCK)")
            }
            link?.send(.identities(number, refusal: nil))
        } catch {
            log("identities are refused, those before stay in use: \(error)")
            link?.send(.identities(number, refusal: "\(error)"))
        }
    }

    private func giveBack(_ number: UInt32, into file: SharedDescriptor) {
        do throws(SystemError) {
            try identities.write(to: file)
            link?.send(.identitiesWritten(number))
        } catch {
            // An agent that gets none asks its provider.
            log("identities cannot be given back: \(error)")
        }
    }

    private func drain(within deadline: Duration, _ cause: String) {
        guard !isDraining else { return }
        isDraining = true
        log("draining for at most \(deadline): \(cause)")
        listeners = [:]
        if let retry { loop.cancel(retry) }
        engine?.drain(within: deadline) { [unowned self] in
            log("drained")
            link?.send(.drained)
            loop.stop()
        }
    }
}

@available(*, unavailable)
extension ProxyHost: Sendable {}

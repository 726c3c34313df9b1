// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxIO
import Logging
import MeshAdmin
import MeshVersion
import ProxyProtocol

/// Runs the socket factory and the proxy of a node, and carries between them what each needs.
///
/// ``ProxySupervision`` decides; this acts. Belongs to the thread of its event loop.
final class ProxySupervisor {
    typealias ProxyID = ProxySupervision.ProxyID

    let configuration: Configuration
    let logger: Logger
    let loop: EventLoop
    let listeners: ProxyListeners
    private(set) var supervision = ProxySupervision()
    private(set) var proxies: [ProxyID: ProxyConnection] = [:]
    private(set) var factoryProcess: WatchedProcess?
    private var factory: FactoryClient?
    private let legs: LegMaker
    lazy var metrics = MetricsRequests(on: loop)
    lazy var settlingQueue = SettlingQueue(on: loop)
    /// `nil` where pods have no certificates.
    var identities: IdentityDelivery?
    /// Called when a proxy has come, gone, or put a configuration in force.
    var didChange: () -> Void = {}
    /// That an earlier agent has started.
    private var adopted: ProxyID?
    private var listening: UnixListener?
    private(set) var state = ConfigurationState(generation: 1)
    /// Of the kernel's policy: all up to this is in ``state``.
    private(set) var policy: UInt32 = 0
    private var timers: [ProxySupervision.Timer: EventLoop.Timer] = [:]
    /// Who else wants to know which listeners there are: the kernel's tables.
    private var observer: (added: (Listener, SharedDescriptor) -> Void, removed: (ListenerKey) -> Void)?
    /// Connections whose peer has not said hello yet.
    private var strangers: [ObjectIdentifier: ProxyConnection] = [:]
    /// How often the adoption of one that has connected was waited for once more.
    private var adoptionTurns = 0
    private static let adoptionTurn = Duration.milliseconds(20)
    private static let mostAdoptionTurns = 100
    private let started = ContinuousClock.now
    /// How the last proxy has ended that nobody wanted to end.
    var lastEnd: ProxyEnd?
    /// Time since the supervision began.
    var age: Duration { started.duration(to: .now) }

    /// Connections that have not said who they are.
    private static let mostStrangers = 8

    init(_ configuration: Configuration, on loop: EventLoop, logger: Logger, markLeg: @escaping LegMarker) {
        self.configuration = configuration
        self.loop = loop
        self.logger = logger
        listeners = ProxyListeners(backlog: configuration.backlog, logger: logger)
        legs = LegMaker(on: loop, listeners, mark: markLeg)
        listeners.onAdd = { [unowned self] entry in
            observer?.added(entry.listener, entry.socket)
            for (id, proxy) in proxies where isGiven(id) {
                proxy.link?.send(.listener(entry.listener), [entry.socket])
            }
        }
        listeners.onRemove = { [unowned self] key in
            observer?.removed(key)
            for proxy in proxies.values { proxy.link?.send(.listenerGone(key)) }
        }
    }

    /// Starts the factory, and a proxy unless one of an earlier agent attaches soon.
    ///
    /// - Throws: ``SystemError`` if proxies cannot be listened for.
    func start() throws(SystemError) {
        let socket = try UnixListener(
            path: configuration.socket, group: configuration.group, mode: 0o660, isForPackets: true)
        try loop.watch(socket.descriptor, for: .readable) { [weak self] _ in self?.accept() }
        listening = .some(consume socket)
        input(.start)
        // Nobody is waited for who cannot come.
        if RunningProxy.all(of: configuration.socket).isEmpty { input(.timer(.adoption)) }
    }

    /// Ends both for good, listeners and all.
    func stop() {
        input(.stop)
        timers.values.forEach(loop.cancel)
        timers = [:]
        settlingQueue.removeAll()
        for connection in Array(proxies.values) + Array(strangers.values) {
            connection.process?.killAndWait()
            connection.link?.close("the node is being uninstalled")
        }
        (proxies, strangers) = ([:], [:])
        factoryProcess?.killAndWait()
        (factoryProcess, factory) = (nil, nil)
        listeners.setFactory(nil)
        legs.setFactory(nil)
        listeners.set([], isMaking: false)
        listening = nil
    }

    // MARK: - What others tell it

    /// Calls for each listener that there is, and that there will be; and for each that goes.
    func observeListeners(
        added: @escaping (Listener, SharedDescriptor) -> Void, removed: @escaping (ListenerKey) -> Void
    ) {
        observer = (added, removed)
        for entry in listeners.entries.values { added(entry.listener, entry.socket) }
    }

    /// The pods whose connections may need a proxy.
    func set(_ workloads: [ProxyWorkload]) { listeners.set(workloads, isMaking: supervision.mayMakeListeners) }

    /// The next generation.
    ///
    /// - Parameters:
    ///   - records: what may differ from the one before; `nil`: it goes. Costs as much as there are of these, whatever
    ///     else there is.
    ///   - policy: the generation of the kernel's policy that is complete with them; `nil`: as before.
    /// - Returns: whether anything differs.
    @discardableResult
    func publish(_ records: [RecordKey: [UInt8]?], policy: UInt32? = nil) -> Bool {
        if let policy { self.policy = policy }
        let change = ConfigurationChange(of: state, records)
        if !change.records.isEmpty { state.apply(change) }
        for (id, proxy) in proxies where isTold(id) {
            if change.records.isEmpty { tellPolicy(proxy) } else { send(change, to: proxy) }
        }
        return !change.records.isEmpty
    }

    /// Whether a proxy serves the listeners; `nil` while one of an earlier agent may be about to say so.
    var isServing: Bool? {
        if supervision.isAdopting { return nil }
        return switch supervision.current.flatMap({ supervision.phases[$0] }) {
        case .serving: true
        case .attached, .preparing: supervision.current == adopted ? nil : false
        case .starting, .draining, nil: false
        }
    }

    /// Another process takes the place of the proxy that serves, without a connection refused.
    func upgrade() { input(.upgrade) }

    /// Whether the proxy has the listeners that the agent has.
    private func isGiven(_ id: ProxyID) -> Bool {
        switch supervision.phases[id] {
        case .preparing, .serving: true
        default: false
        }
    }

    // MARK: - Deciding and acting

    private func input(_ input: ProxySupervision.Input) {
        for output in supervision.handle(input, at: age) { perform(output) }
        didChange()
        if supervision.wantsUpgrade { upgrade() }
    }

    private func perform(_ output: ProxySupervision.Output) {
        switch output {
        case .startFactory: startFactory()
        case .startProxy(let id): startProxy(id)
        case .handOver(let id): handOver(id)
        case .makeListeners: listeners.makeMissing()
        case .drain(let id):
            let time = ProxySupervision.drainTime.components.seconds
            proxies[id]?.link?.send(.drain(milliseconds: UInt32(time * 1000)))
        case .kill(let id):
            guard let proxy = proxies.removeValue(forKey: id) else { return }
            settlingQueue.lost(proxy)
            // Given up, it has been cut off already.
            if !proxy.end(), !proxy.isGivenUp { cutOff(proxy) }
            proxy.link?.close("the process is given up")
        case .schedule(let timer, let delay):
            if let old = timers[timer] { loop.cancel(old) }
            timers[timer] = loop.schedule(after: delay) { [unowned self] in
                timers[timer] = nil
                // Where the agent's own start took as long, a proxy is at the door and has not been heard yet.
                if timer == .adoption, !strangers.isEmpty, adoptionTurns < Self.mostAdoptionTurns {
                    adoptionTurns += 1
                    return perform(.schedule(.adoption, after: Self.adoptionTurn))
                }
                noteLate(timer)
                input(.timer(timer))
            }
        case .cancel(let timer):
            if let old = timers.removeValue(forKey: timer) { loop.cancel(old) }
        }
    }

    private func startFactory() {
        do throws(SystemError) {
            try configuration.factoryCgroup.create()
            let (near, far) = try PacketSocket.pair()
            let child = try ChildProcess(
                starting: configuration.agentProgram, arguments: ["factory", "--fd", "\(far.rawValue)"],
                environment: Self.environment, inherited: [far], in: configuration.factoryCgroup)
            let process = try WatchedProcess(on: loop, child) { [weak self] how in self?.factoryLost(how) }
            factoryProcess = process
            factory = try FactoryClient(
                on: loop, PacketSocket(near), onReady: { [weak self] in self?.input(.factoryReady) },
                onClosed: { [weak self] reason in self?.factoryLost(reason) })
            listeners.setFactory(factory)
            legs.setFactory(factory)
        } catch {
            logger.error("the socket factory cannot be started", metadata: ["error": "\(error)"])
            factoryProcess?.forget()
            factoryProcess?.kill()
            factoryProcess = nil
            loop.enqueue { [weak self] in self?.input(.factoryLost) }
        }
    }

    private func factoryLost(_ how: String) {
        guard let process = factoryProcess else { return }
        logger.warning("the socket factory has ended", metadata: ["pid": "\(process.pid)", "how": "\(how)"])
        process.forget()
        process.kill()
        (factoryProcess, factory) = (nil, nil)
        listeners.setFactory(nil)
        legs.setFactory(nil)
        input(.factoryLost)
    }

    private func startProxy(_ id: ProxyID) {
        let connection = ProxyConnection()
        proxies[id] = connection
        do throws(SystemError) {
            let (near, far) = try PacketSocket.pair()
            let child = try ChildProcess(
                starting: configuration.proxyProgram,
                arguments: [
                    "--fd", "\(far.rawValue)", "--agent-socket", configuration.socket, "--user",
                    "\(configuration.user)", "--group", "\(configuration.group)",
                ] + configuration.proxyOptions.arguments, environment: Self.environment, inherited: [far])
            connection.process = try WatchedProcess(on: loop, child) { [weak self] how in self?.lost(id, how) }
            connection.link = try link(PacketSocket(near), connection) { _ in id }
        } catch {
            logger.error("the proxy cannot be started", metadata: ["error": "\(error)"])
            lastEnd = ProxyEnd("it cannot be started: \(error)")
            loop.enqueue { [weak self] in self?.input(.proxyLost(id)) }
        }
    }

    private func lost(_ id: ProxyID, _ how: String) {
        let proxy = proxies[id]
        let isExpected = supervision.phases[id] == .draining
        let end = ProxyEnd(how)
        if let proxy {
            logger.log(
                level: isExpected ? .info : .warning, "a proxy has ended",
                metadata: ["pid": "\(proxy.pid)", "how": "\(how)"])
            if !isExpected { lastEnd = end }
        }
        input(.proxyLost(id))
        // After its end was asked for, by which it was forgotten.
        end.watch(proxy?.process)
    }

    /// What a program needs to be found by its loader; nothing else of the agent's is a proxy's business. No crash
    /// report by another program: neither may start one.
    private static let environment =
        ["SWIFT_BACKTRACE=enable=no"]
        + (getenv("LD_LIBRARY_PATH").map { ["LD_LIBRARY_PATH=\(String(cString: $0))"] } ?? [])

    // MARK: - Links

    private func accept() {
        do throws(SystemError) {
            while let socket = try listening?.acceptPacketSocket() { try meet(socket) }
        } catch {
            logger.error("a proxy cannot be taken", metadata: ["error": "\(error)"])
        }
    }

    private func meet(_ socket: consuming PacketSocket) throws(SystemError) {
        let peer = try socket.peer()
        guard peer.user == configuration.user, strangers.count < Self.mostStrangers else {
            logger.warning(
                "a connection to the proxy's socket is refused",
                metadata: ["pid": "\(peer.process)", "user": "\(peer.user)"])
            return
        }
        let connection = ProxyConnection()
        connection.isFound = true
        connection.process = try WatchedProcess.peer(of: socket, peer.process, on: loop) {
            [weak self, weak connection] how in
            if let self, let id = proxies.first(where: { $0.value === connection })?.key { lost(id, how) }
        }
        strangers[ObjectIdentifier(connection)] = connection
        connection.link = try link(socket, connection) { [unowned self, unowned connection] hello in
            guard strangers.removeValue(forKey: ObjectIdentifier(connection)) != nil else { return nil }
            let id = supervision.nextID
            proxies[id] = connection
            adopted = id
            input(.foundProxy(isSameVersion: hello.program == SockmeshVersion.current))
            return id
        }
    }

    /// - Parameter name: called once, with the hello: which proxy this is.
    private func link(
        _ socket: consuming PacketSocket, _ connection: ProxyConnection,
        _ name: @escaping (Hello) -> ProxyID?
    ) throws(SystemError) -> ProxyConnection.AgentLink {
        let hello = Hello(.agent, program: SockmeshVersion.current, generation: state.generation)
        var id: ProxyID?
        return try ProxyConnection.AgentLink(on: loop, socket, as: hello, expecting: .proxy) {
            [weak self, weak connection] event in
            guard let self, let connection else { return }
            switch event {
            case .opened(let hello):
                id = name(hello)
                // Generations grow, whoever counted them.
                if hello.generation >= state.generation {
                    state.generation = hello.generation + 1
                    for (id, proxy) in proxies where isTold(id) { send(to: proxy) }
                }
                guard let id else { return }
                // It has served all the time: it needs no listener to hear what is new.
                if hello.generation > 0 { send(to: connection) }
                logger.info(
                    "proxy attached",
                    metadata: [
                        "pid": "\(connection.pid)", "version": "\(hello.program)", "listeners": "\(hello.listeners)",
                    ])
                noteVersion(hello.program, of: connection)
                identities?.opened(connection, hello)
                input(.attached(id))
            case .message(let message, let descriptors):
                if let id { handle(message, descriptors, of: id, connection) }
            case .closed(let reason):
                if strangers.removeValue(forKey: ObjectIdentifier(connection)) != nil { connection.process?.abandon() }
                connection.link = nil
                identities?.closed(connection)
                if let id = id ?? proxies.first(where: { $0.value === connection })?.key { lost(id, reason) }
            }
        }
    }

    private func handle(
        _ message: ProxyMessage, _ descriptors: [SharedDescriptor], of id: ProxyID, _ proxy: ProxyConnection
    ) {
        switch message {
        case .acknowledge(let generation):
            proxy.acknowledge(generation)
            if generation == state.generation { input(.ready(id)) }
        case .reject(let generation, let reason):
            logger.error(
                "the proxy refuses the configuration",
                metadata: ["generation": "\(generation)", "reason": "\(reason)"])
            proxy.reject(reason)
        case .legRequest(let request): legs.make(request, for: proxy)
        case .listener(let listener):
            proxy.returned.insert(listener.key)
            // One that is drained at once gives back what nobody needs.
            if id == supervision.current { _ = listeners.adopt((listener, descriptors[0])) }
        case .listenersComplete: input(.listenersReturned(id))
        case .drained: proxy.isDrained = true
        case .status(let status): settlingQueue.answered(proxy, status.request)
        case .metrics(let number): metrics.finish(number)
        case .identities(let number, let refusal): identities?.answered(number, refusal: refusal)
        case .identitiesWritten(let number): identities?.returned(number)
        }
    }

    private func handOver(_ id: ProxyID) {
        guard let proxy = proxies[id], let link = proxy.link else { return }
        for key in proxy.returned where listeners.entries[key] == nil { link.send(.listenerGone(key)) }
        proxy.returned = []
        for (listener, socket) in listeners.entries.values { link.send(.listener(listener), [socket]) }
        send(to: proxy)
        // It may have heard everything before.
        if proxy.acknowledged == state.generation { loop.enqueue { [weak self] in self?.input(.ready(id)) } }
    }

    /// - Parameter change: that has led to the state; `nil`: it is sent whole.
    private func send(_ change: ConfigurationChange? = nil, to proxy: ProxyConnection) {
        do throws(SystemError) { try proxy.send(state, change) } catch {
            logger.error("the configuration cannot be sent to the proxy", metadata: ["error": "\(error)"])
            proxy.link?.close("the agent cannot send the configuration")
        }
        tellPolicy(proxy)
    }

    private func tellPolicy(_ proxy: ProxyConnection) { proxy.tell(policy: policy, by: state.generation) }
}

@available(*, unavailable)
extension ProxySupervisor: Sendable {}

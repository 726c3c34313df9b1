// SPDX-License-Identifier: Apache-2.0

public import L7Proxy
public import LinuxIO
import MeshModel
public import ProxyProtocol

/// Serves requests by workers, each a thread of its own, and tunnels by one more; this is what joins them to the host's
/// loop.
public final class HTTPEngine: ProxyEngine {
    public struct Options {
        public var workers: Int
        /// `nil`: no line is written.
        public var accessLog: AccessLogWriter.Form?
        /// Where lines go; open as long as the process lives.
        public var accessLogDescriptor: CInt

        public init(workers: Int = 1, accessLog: AccessLogWriter.Form? = nil, accessLogDescriptor: CInt = 2) {
            self.workers = workers
            self.accessLog = accessLog
            self.accessLogDescriptor = accessLogDescriptor
        }
    }

    /// What a thread of a worker tells the loop.
    enum Notice: Sendable {
        case leg(worker: Int, L7Proxy.LegRequest)
        /// The same of the worker of tunnels.
        case tunnelLeg(L7Proxy.LegRequest)
        /// A worker has let a listener go.
        case released(tag: UInt64)
        case drained(worker: Int)
        case failed(worker: Int, SystemError)
        /// One of the threads has done what all of them are asked for in that round.
        case done(round: UInt64)
        /// One answer to the question for metrics of that number.
        case metrics(question: UInt64, MetricsSnapshot?)
        case log(String)
        /// All lines of requests are written.
        case logEnded
    }

    /// How long a drain waits for whoever reads the access log, at most.
    private static let logTime = Duration.milliseconds(500)

    private let loop: EventLoop
    private let log: (String) -> Void
    private unowned let legs: any LegSource
    private let inbox: Mailbox<Notice>
    private let complaints: Complaints
    private let origins: OriginTable
    private let accessLog: AccessLog?
    private let tunnels: TunnelService
    /// Which has been given requests of a tunnel last.
    private var nextWorker = 0
    private var workers: [ProxyWorker] = []
    private var watch: EventLoop.Watch?
    private var snapshots = SnapshotBuilder()
    private var tags: [ListenerKey: UInt64] = [:]
    private var lastTag: UInt64 = 0
    /// How many workers still accept from a listener that is served no more, by its tag.
    private var leaving: [UInt64: Int] = [:]
    /// Workers that have not said that they are done, after all others that of tunnels; `nil`: not draining.
    private var draining: Set<Int>?
    private var drainTime: UInt64 = 0
    private var onDrained: (() -> Void)?
    /// Questions for metrics that not all workers have answered.
    private var questions: [UInt64: Question] = [:]
    /// Listeners that came before the first configuration; `nil`: there has been one.
    private var waiting: [ListenerKey: (Listener, SharedDescriptor)]? = [:]
    private var lastQuestion: UInt64 = 0
    /// What not all threads have done, and whom to tell when they have.
    private var rounds: [UInt64: (left: Int, done: () -> Void)] = [:]
    private var lastRound: UInt64 = 0
    /// What workers of tunnels publish; `nil`: the agent has sent none.
    public private(set) var identities: TLSIdentities?

    private struct Question {
        var left: Int
        var snapshots: [MetricsSnapshot] = []
        let completion: (String) -> Void
    }

    /// - Parameters:
    ///   - legs: lives longer than this.
    ///   - origins: of tests, which have no kernel that knows.
    /// - Throws: ``SystemError``; EMFILE, EAGAIN if the process may have no more descriptors or threads.
    public init(
        on loop: EventLoop, legs: any LegSource, _ options: Options, log: @escaping (String) -> Void,
        origins: @escaping OriginReader = { (socket) throws(SystemError) in try KernelOrigin(ofAccepted: socket) }
    ) throws(SystemError) {
        precondition(options.workers > 0, "an engine needs a worker")
        self.loop = loop
        self.legs = legs
        self.log = log
        let inbox = try Mailbox<Notice>()
        self.inbox = inbox
        complaints = Complaints { inbox.put(.log($0)) }
        let table = OriginTable(origins, complaints)
        self.origins = table
        let makeSink: @Sendable () -> RequestSink
        var lines: (log: AccessLog, form: AccessLogWriter.Form)?
        if let form = options.accessLog {
            let log = try AccessLog(to: options.accessLogDescriptor) {
                inbox.put(.log("\($0) lines of the access log were lost: whoever reads it is too slow"))
            }
            accessLog = log
            lines = (log, form)
            makeSink = { MetricsSink(log: AccessLogSink(log, form)) }
        } else {
            accessLog = nil
            makeSink = { MetricsSink(log: nil) }
        }
        let tunnels = TunnelService(
            complaints, log: lines, askForLeg: { inbox.put(.tunnelLeg($0)) },
            failed: { [count = options.workers] in inbox.put(.failed(worker: count, $0)) })
        self.tunnels = tunnels
        let gate = tunnels.gate
        // One for all: they share the node's limits.
        let configuration = EngineConfiguration()
        for index in 0..<options.workers {
            let worker = try ProxyWorker(
                configuration: configuration, origins: { table.origin(of: $0) },
                diversion: { gate.take($0, $1) },
                legs: { request in
                    inbox.put(.leg(worker: index, request))
                    return .pending
                }, makeSink: makeSink)
            workers.append(worker)
        }
        watch = try loop.watch(inbox.descriptor, for: .readable) { [unowned self] _ in takeNotices() }
        for (index, worker) in workers.enumerated() {
            try worker.start { inbox.put(.failed(worker: index, $0)) }
        }
    }

    deinit {
        if let watch { loop.unwatch(watch) }
        for worker in workers { worker.stop() }
        accessLog?.end {}
    }

    private func takeNotices() {
        for notice in inbox.takeAll() {
            switch notice {
            case .leg(let worker, let request): makeLeg(request, for: workers[worker])
            case .tunnelLeg(let request): makeTunnelLeg(request)
            case .released(let tag): released(tag)
            case .drained(let worker): drained(worker)
            case .failed(let worker, let error):
                // What it was given waits for nobody: the agent starts another process.
                log("worker \(worker) cannot serve, so the process ends: \(error)")
                loop.stop()
            case .done(let round): isDone(round)
            case .metrics(let question, let snapshot): answered(question, snapshot)
            case .log(let line): log(line)
            case .logEnded: finishDrain()
            }
        }
    }

    // MARK: - Configuration

    public func apply(_ configuration: ProxyConfiguration, inForce: @escaping () -> Void) throws(EngineRefusal) {
        let snapshot = try snapshots.build(configuration)
        let done = beginRound(inForce)
        // First: what is tunnelled from now on goes nowhere in clear any more.
        tunnels.apply(TunnelPlan(configuration, snapshot), done)
        for worker in workers {
            worker.publish(snapshot)
            worker.whenInForce(done)
        }
        guard let ready = waiting else { return }
        waiting = nil
        for (listener, socket) in ready.values { serve(listener, socket) }
    }

    public func whenAnswering(_ done: @escaping () -> Void) {
        let answered = beginRound(done)
        tunnels.whenAnswering(answered)
        for worker in workers { worker.counters { _ in answered() } }
    }

    /// - Returns: What each of the threads, that of tunnels too, is to call once; then the loop calls `done`.
    private func beginRound(_ done: @escaping () -> Void) -> @Sendable () -> Void {
        lastRound += 1
        rounds[lastRound] = (workers.count + 1, done)
        return { [inbox, lastRound] in inbox.put(.done(round: lastRound)) }
    }

    private func isDone(_ round: UInt64) {
        guard let (left, done) = rounds[round] else { return }
        rounds[round] = left > 1 ? (left - 1, done) : nil
        if left == 1 { done() }
    }

    public func missed(_ reason: String) { tunnels.close(reason) }

    public func enforce(policy generation: UInt32) {
        for worker in workers { worker.enforce(policy: generation) }
    }

    public func use(_ identities: TLSIdentities) {
        self.identities = identities
        do throws(SystemError) { try tunnels.use(identities) } catch {
            log("there are no tunnels to other nodes, and what needs one is reset: \(error)")
        }
    }

    // MARK: - Listeners

    public func serve(_ listener: Listener, _ socket: SharedDescriptor) {
        stopServing(listener.key)
        // What is accepted before the routes are there could only be refused; the kernel keeps it.
        guard waiting == nil else {
            waiting?[listener.key] = (listener, socket)
            return
        }
        lastTag += 1
        origins.add(listener.key, tag: lastTag)
        tags[listener.key] = lastTag
        for (index, worker) in workers.enumerated() {
            do throws(SystemError) { worker.addListener(try socket.duplicate(), tag: lastTag) } catch {
                log("\(listener.key) is not served by worker \(index): \(error)")
            }
        }
    }

    public func stopServing(_ key: ListenerKey) {
        waiting?[key] = nil
        guard let tag = tags.removeValue(forKey: key) else { return }
        leaving[tag] = workers.count
        for worker in workers {
            worker.removeListener(tag: tag)
            // Carried out after it.
            worker.counters { [inbox] _ in inbox.put(.released(tag: tag)) }
        }
    }

    /// What was accepted until now is served: its origin could be found.
    private func released(_ tag: UInt64) {
        guard let count = leaving[tag] else { return }
        leaving[tag] = count > 1 ? count - 1 : nil
        if count == 1 { origins.remove(tag: tag) }
    }

    // MARK: - Legs

    private func makeLeg(_ request: L7Proxy.LegRequest, for worker: ProxyWorker) {
        switch tunnels.open(request) {
        case .direct:
            makeSocket(
                request, { worker.deliver($0, to: request.ticket) }, { worker.refuse(request.ticket) },
                changed: { [weak self] in self?.makeLeg(request, for: worker) })
        case .tunnel(let end): worker.deliver(end, to: request.ticket)
        case .refused(let reason):
            complaints.add(.leg, "no connection to \(SocketEndpoint(request.address, request.port)): \(reason)")
            worker.refuse(request.ticket)
        }
    }

    /// For the worker of tunnels: to a peer, to a pod of this node, or to whoever decides about requests to it.
    private func makeTunnelLeg(_ request: L7Proxy.LegRequest) {
        guard let tunnelWorker = tunnels.worker, !tunnels.joinLocally(request) else { return }
        guard request.isForRequests else {
            return makeSocket(
                request, { tunnelWorker.deliver($0, to: request) }, { tunnelWorker.refuse(request) })
        }
        guard let origin = request.originOfRequests else { return tunnelWorker.refuse(request) }
        do throws(SystemError) {
            let (near, far) = try LocalEnd.pair()
            tunnelWorker.deliver(near, to: request)
            nextWorker = (nextWorker + 1) % workers.count
            workers[nextWorker].serve(far, origin)
        } catch {
            complaints.add(.leg, "no requests through a tunnel: \(error)")
            tunnelWorker.refuse(request)
        }
    }

    /// - Parameter changed: called, or `refuse`, where the connection would have to go through a tunnel by now.
    private func makeSocket(
        _ request: L7Proxy.LegRequest, _ deliver: @escaping (consuming OwnedDescriptor) -> Void,
        _ refuse: @escaping () -> Void, changed: (() -> Void)? = nil
    ) {
        let destination = SocketEndpoint(request.address, request.port)
        legs.requestLeg(
            netns: request.network, destination: destination, outsider: request.outsider,
            client: request.client.map { SocketEndpoint($0.address, $0.port) }
        ) { [complaints, tunnels] result in
            switch result {
            case .failure(let refusal):
                complaints.add(.leg, "no connection from namespace \(request.network) to \(destination): \(refusal)")
                refuse()
            case .success(let socket):
                guard tunnels.isDirect(request) else { return (changed ?? refuse)() }
                do throws(SystemError) {
                    let endpoint = StreamEndpoint(
                        high: request.address.high, low: request.address.low, port: request.port)
                    let status = StreamSocket.connect(socket.rawValue, to: endpoint)
                    guard status == 0 || status == StreamSocket.inProgress else {
                        throw SystemError("connect", "\(destination)", errnoCode: CInt(-status))
                    }
                    deliver(try socket.duplicate())
                } catch {
                    complaints.add(.leg, "no connection from namespace \(request.network): \(error)")
                    refuse()
                }
            }
        }
    }

    // MARK: - Ending

    public func drain(within deadline: Duration, _ done: @escaping () -> Void) {
        guard draining == nil else { return }
        (draining, onDrained) = (Set(workers.indices), done)
        waiting?.removeAll()
        for key in tags.keys { stopServing(key) }
        let (seconds, attoseconds) = deadline.components
        drainTime = UInt64(max(0, seconds)) * 1000 + UInt64(max(0, attoseconds)) / 1_000_000_000_000_000
        // Peers hear of it at once; what is asked for by requests that were taken is opened until they are done.
        tunnels.drain(milliseconds: drainTime) {}
        for (index, worker) in workers.enumerated() {
            worker.drain(milliseconds: drainTime) { [inbox] in inbox.put(.drained(worker: index)) }
        }
    }

    private func drained(_ worker: Int) {
        guard draining?.remove(worker) != nil, draining?.isEmpty == true else { return }
        guard worker == workers.count else {
            draining = [workers.count]
            let notice = Notice.drained(worker: workers.count)
            return tunnels.drain(milliseconds: drainTime) { [inbox] in inbox.put(notice) }
        }
        guard let accessLog else { return finishDrain() }
        accessLog.end { [inbox] in inbox.put(.logEnded) }
        loop.schedule(after: Self.logTime) { [weak self] in self?.finishDrain() }
    }

    private func finishDrain() {
        guard let done = onDrained else { return }
        onDrained = nil
        done()
    }

    // MARK: - Metrics

    public func metrics(_ completion: @escaping (String) -> Void) {
        lastQuestion += 1
        let question = lastQuestion
        questions[question] = Question(left: workers.count + 1, completion: completion)
        tunnels.metrics { [inbox] in inbox.put(.metrics(question: question, $0)) }
        for worker in workers {
            worker.metrics { [inbox] in inbox.put(.metrics(question: question, $0)) }
        }
    }

    private func answered(_ number: UInt64, _ snapshot: MetricsSnapshot?) {
        guard var question = questions[number] else { return }
        question.left -= 1
        if let snapshot { question.snapshots.append(snapshot) }
        questions[number] = question.left > 0 ? question : nil
        guard question.left == 0 else { return }
        question.completion(MetricsExposition(question.snapshots).text() + gauges + tunnels.text)
    }

    /// The state of the process, beside Istio's metrics.
    private var gauges: String {
        let counters = counters
        var metrics: [(name: String, type: String, help: String, value: UInt64)] = [
            ("sockmesh_proxy_connections", "gauge", "Connections of pods that are open.", counters.connections),
            ("sockmesh_proxy_accepted_total", "counter", "Connections of pods.", counters.accepted),
            (
                "sockmesh_proxy_refused_total", "counter", "Connections of pods that were reset at once.",
                counters.refused
            ),
            ("sockmesh_proxy_workers", "gauge", "Threads that serve.", UInt64(workers.count)),
        ]
        if let identities {
            metrics.append(
                (
                    "sockmesh_proxy_identities", "gauge", "Identities of pods that the proxy has the keys of.",
                    UInt64(identities.svids.count)
                ))
        }
        return metrics.map { "# HELP \($0.name) \($0.help)\n# TYPE \($0.name) \($0.type)\n\($0.name) \($0.value)\n" }
            .joined()
    }

    public var counters: EngineCounters {
        var sum = EngineCounters()
        for worker in workers {
            sum.connections += worker.gauges.connections
            sum.accepted += worker.gauges.accepted
            sum.refused += worker.gauges.refused
        }
        return sum
    }
}

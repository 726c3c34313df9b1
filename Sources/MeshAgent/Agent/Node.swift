// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import Glibc
import Identity
import LinuxIO
import Logging
import MeshAdmin
import MeshManifests
import MeshModel
import SockOps

/// The parts of a running node and what each does when.
///
/// Belongs to the control thread.
final class Node {
    let state: MeshState
    let flows: FlowLog
    let selfTest: SelfTestReport
    let nodeNetns: NetnsCookie
    /// Where the proxy listens inside pods.
    let listenerRows: ListenerRows
    private(set) var parameters: ControlParameters
    private let maintenance: ConnectionMaintenance
    private let reader: FlowReader
    private let loop: EventLoop
    private let logger: Logger
    private let configuration: AgentConfiguration
    private var timers: [EventLoop.Timer] = []
    private var watches: [EventLoop.Watch] = []
    private let configWatch: WatchedDirectory?
    private let namespaceWatch: NamespaceWatch
    private let takeover: LayoutTakeover
    private var settling: EventLoop.Timer?
    private var lateSweep: EventLoop.Timer?
    /// Namespaces in which processes outside the cgroup have been looked for.
    private var looked: Set<NetnsCookie> = []

    /// Called after each change that is in force.
    var didChange: (CompiledChanges) -> Void = { _ in }
    /// Performs a change of the mesh when it can be put in force without much delay.
    var perform: (@escaping () -> Void) -> Void = { $0() }
    /// Called after each look at the node's pods.
    var didLook: () -> Void {
        get { state.onLook }
        set { state.onLook = newValue }
    }

    var writer: KernelWriter { state.reconciler.writer }

    init(_ configuration: AgentConfiguration, loop: EventLoop, logger: Logger) throws(AgentError) {
        self.configuration = configuration
        self.loop = loop
        self.logger = logger
        let opened: (state: AppliedState, loaded: AppliedState.Loaded)
        do throws(StateFileError) { opened = try AppliedState.open(configuration.stateDirectory) } catch {
            throw AgentError("cannot use the state directory: \(error)")
        }
        let numbers = NumberFile(stateDirectory: configuration.stateDirectory) { logger.error("\($0)") }

        let plane: DataPlane
        let addresses: [IPAddress]
        do throws(BPFError) {
            let object = try ObjectLocator.find()
            let cgroup = Cgroup(path: configuration.cgroup)
            var root: Cgroup?
            do throws(SystemError) {
                nodeNetns = try NetworkNamespace.currentCookie()
                addresses = try Self.nodeAddresses()
                root = try Mounts.current().cgroup2.map { Cgroup(path: $0) }
                try cgroup.create()
            } catch {
                throw BPFError(error)
            }
            selfTest = SelfTest.run(object: try BPFObjectFile(path: object), below: cgroup)
            plane = try DataPlane(
                DataPlaneConfiguration(cgroup: cgroup, rootCgroup: root, bpffs: configuration.bpffs),
                object: try BPFObjectFile(path: object))
            parameters = ControlParameters.forThisMachine(
                flags: (selfTest.allowsEnabled ? MESH_CTL_ACCELERATE.rawValue : 0)
                    | (root == nil ? 0 : MESH_CTL_HOST_RECORDS.rawValue), nodeNetns: nodeNetns)
            parameters.store(in: plane.maps.control)
            // Of an agent that ran one.
            if configuration.proxy == nil { plane.isProxyLive = false }
        } catch {
            throw AgentError("cannot install in the kernel: \(error)")
        }
        Self.log(selfTest, plane.adoption, logger)

        let writer: KernelWriter
        do throws(BPFError) { writer = try KernelWriter(plane) } catch {
            throw AgentError("cannot read what an earlier agent has left: \(error)")
        }
        listenerRows = ListenerRows(writer, logger: logger)
        let probe = PodProbe(nodeNetns: nodeNetns)
        let records = NamespaceRecords(writer)
        let reconciler = Reconciler(
            on: loop,
            compiler: MeshCompiler(
                configuration: .init(
                    nodeName: configuration.node, nodeAddresses: addresses,
                    trustDomain: configuration.trustDomain.name,
                    l7: configuration.proxy == nil ? .absent : .enforced,
                    hasProxy: configuration.proxy != nil, hasTunnels: configuration.identity != nil),
                identityNumbers: numbers.identities, serviceNumbers: numbers.services,
                routeClassNumbers: numbers.routeClasses),
            writer: writer,
            enrolment: Enrolment(
                inspect: { (pod) throws(EnrolmentFailure) in
                    guard !pod.mesh.encrypts || configuration.identity != nil else { throw .encryptionWithoutKeys }
                    return try Self.inspect(pod, probe, writer)
                },
                records: .init(
                    exists: records.exists, adopted: records.adopted,
                    isServed: { [rows = listenerRows] in
                        // What is in force stays so.
                        configuration.proxy == nil || rows.serve($0)
                            || writer.tables.workloads[$0].map { $0.flags & MESH_WL_READY.rawValue != 0 } ?? false
                    })))
        writer.openNamespace = { [weak reconciler] (cookie) throws(BPFError) in reconciler?.openNamespace(cookie) }
        let stateWriter: StateWriter
        do throws(SystemError) { stateWriter = try StateWriter(opened.state, on: loop, logger: logger) } catch {
            throw AgentError("cannot write the state directory beside the loop: \(error)")
        }
        state = MeshState(
            on: loop, node: configuration.node, configDirectory: configuration.configDirectory, writer: stateWriter,
            loaded: opened.loaded, numbers: numbers, reconciler: reconciler, logger: logger)
        flows = FlowLog(logger: logger)
        maintenance = ConnectionMaintenance(cutter: SocketCutter(logger: logger), logger: logger)
        do throws(BPFError) {
            reader = try FlowReader(reconciler, log: flows, cutter: SocketCutter(logger: logger), logger: logger)
        } catch {
            throw AgentError("cannot read flow events: \(error)")
        }
        configWatch = configuration.configDirectory.map { WatchedDirectory($0, loop: loop, logger: logger) }
        namespaceWatch = NamespaceWatch(loop: loop, logger: logger)
        takeover = LayoutTakeover(logger: logger)
        try start()
    }

    private func start() throws(AgentError) {
        // Of an agent that ran a proxy.
        if configuration.proxy == nil { listenerRows.adopt([]) }
        state.onChange = { [unowned self] in afterChange($0) }
        // Pods of another version's node are under traffic: a SYN may wait in a queue for longer than a grace period.
        if ((try? writer.plane.otherVersions().isEmpty) ?? true) == false { writer.handshakePatience = 300_000 }
        do throws(Reconciler.Failure) { try state.start() } catch {
            throw AgentError("cannot put the configuration in force: \(error)")
        }
        writer.handshakePatience = 0
        state.logEnrolment(since: [:])
        // The agent before may have died between a flip and the end of the connections it denied.
        sweep()
        do throws(SystemError) {
            watches.append(try loop.watch(reader.descriptor, for: .readable) { [unowned self] _ in reader.drain() })
        } catch {
            throw AgentError("cannot wait for flow events: \(error)")
        }
        configWatch?.start { [unowned self] in readDirectory() }
        namespaceWatch.start { [unowned self] directory in
            perform { [weak self] in self?.state.refreshEnrolment(directory: directory) }
        }
        namespaceWatch.watch(state.reconciler.enrolment.directories)
        // Openings and closings do not wake the agent.
        every(.milliseconds(50)) { $0.reader.drain() }
        every(.milliseconds(500)) { node in
            node.perform { [weak node] in
                guard let node else { return }
                node.state.refreshEnrolment()
                node.recheckOutside()
                node.namespaceWatch.watch(node.state.reconciler.enrolment.directories)
            }
        }
        takeOver()
        every(.seconds(1)) { $0.takeOver() }
        every(.seconds(5)) { $0.regularWork() }
        every(.seconds(60)) { $0.reap() }
        lookOutside()
    }

    private func every(_ interval: Duration, _ body: @escaping (Node) -> Void) {
        timers.append(loop.schedule(every: interval) { [unowned self] in body(self) })
    }

    /// Ends all regular work; the kernel goes on alone.
    func stop() {
        timers.forEach(loop.cancel)
        watches.forEach(loop.unwatch)
        (timers, watches) = ([], [])
        if let settling { loop.cancel(settling) }
        if let lateSweep { loop.cancel(lateSweep) }
        configWatch?.stop()
        namespaceWatch.stop()
        state.reconciler.finishGracePeriod()
        state.writer.finish()
    }

    // MARK: - Work

    /// Takes over flow events that have not been reported yet.
    func drainFlows() { reader.drain() }

    /// The kernel's verdict and the evaluator's differ: somebody must hear of it.
    func report(disagreement: String) { logger.critical("\(disagreement)") }

    func readDirectory() {
        perform { [weak self] in self?.readDirectoryNow() }
    }

    private func readDirectoryNow() {
        guard state.readDirectory() else { return }
        // A file that changed a moment ago may still be being written.
        if let settling { loop.cancel(settling) }
        settling = loop.schedule(after: .milliseconds(120)) { [unowned self] in readDirectory() }
    }

    /// Cuts what the new generation denies, and what has lost its endpoint, which needs no new generation. TCP at once;
    /// UDP sockets are looked for namespace by namespace, after whoever waits for the change has an answer.
    private func afterChange(_ outcome: Reconciler.Outcome) {
        sweepTCP()
        loop.enqueue { [weak self] in self?.sweepUDP() }
        if !outcome.changes.services.isEmpty { sweepAgain() }
        didChange(outcome.changes)
    }

    /// A connect() that had chosen its endpoint before the change can make its record after the sweep: policy is looked
    /// at again when the connection stands, endpoints are not. Between the two lie microseconds, unless the process is
    /// preempted just there.
    private func sweepAgain() {
        if let lateSweep { loop.cancel(lateSweep) }
        lateSweep = loop.schedule(after: .milliseconds(100)) { [unowned self] in
            lateSweep = nil
            sweep()
        }
    }

    private func sweep() {
        sweepTCP()
        sweepUDP()
    }

    private func sweepTCP() {
        cut { (sweeper) throws(BPFError) in
            let denied = try maintenance.cutDenied(writer.plane.maps, sweeper, in: state.reconciler)
            // After the cut: naming the policies takes longer.
            if !denied.isEmpty { report(denied, generation: sweeper.generation) }
        }
    }

    /// One event per connection: by the initiator's end, or the only one that is here.
    private func report(_ denied: [(connection: ConnectionEnd, reason: mesh_reason)], generation: UInt32) {
        let names = AgentNames(state.reconciler)
        reader.reported = Set(denied.map(\.connection.end.cookie))
        for (connection, reason) in denied where connection.isClient || connection.end.peer_netns == 0 {
            flows.record(FlowEvent(cut: connection, reason: reason, generation: generation, names: names))
        }
    }

    private func sweepUDP() {
        cut { (sweeper) throws(BPFError) in
            let denied = try maintenance.cutDeniedUDP(
                writer.plane.maps, sweeper, of: writer.tables.workloads.keys, in: state.reconciler)
            guard !denied.isEmpty else { return }
            let names = AgentNames(state.reconciler)
            for (socket, reason) in denied {
                flows.record(
                    FlowEvent(
                        cut: socket, sweeper.flow(of: socket), reason: reason, generation: sweeper.generation,
                        names: names))
            }
        }
    }

    private func cut(_ body: (ConnectionSweeper) throws(BPFError) -> Void) {
        let reconciler = state.reconciler
        do throws(BPFError) {
            try body(ConnectionSweeper(writer.tables) { reconciler.compiler.mesh.services[$0] })
        } catch {
            logger.error("denied connections not found", metadata: ["error": "\(error)"])
        }
    }

    private func regularWork() {
        let now = FlowReader.monotonicNanoseconds()
        var members: UInt64 = 0
        do throws(BPFError) {
            try maintenance.expireUDP(writer.plane, now: now)
            try writer.plane.maps.ends.forEach { key, end in
                if ConnectionEnd(key: key, end: end).isMember { members += 1 }
            }
        } catch {
            logger.error("regular work failed", metadata: ["error": "\(error)"])
        }
        if members != parameters.members {
            parameters.members = members
            parameters.storeHighWater(in: writer.plane.maps.control)
        }
        let addresses = try? Self.nodeAddresses()
        perform { [weak self] in
            if let addresses { self?.state.setNodeAddresses(addresses) }
            self?.state.retry()
        }
        lookOutside()
    }

    /// What an agent of another version has left.
    var takeoverProblem: String? { takeover.problem }

    private func takeOver() { takeover.advance(state.reconciler, isComplete: state.lateProblem == nil) }

    private func reap() {
        do throws(BPFError) {
            try maintenance.reapEnds(
                writer.plane, writer.tables, in: state.reconciler, now: FlowReader.monotonicNanoseconds())
        } catch {
            logger.error("ended connections not cleared away", metadata: ["error": "\(error)"])
        }
    }

    /// Looks for processes of enrolled pods that no hook sees.
    private func lookOutside() {
        let members = state.reconciler.enrolment.members
        looked = Set(state.reconciler.inForce.values.map(\.netns))
        let files = Dictionary(
            members.values.compactMap { $0.namespace.map { ($0.file, $0.cookie) } },
            uniquingKeysWith: { first, _ in first })
        state.reconciler.setOutside(OutsideProcess.all(in: files, outside: Cgroup(path: configuration.cgroup)))
        for (name, member) in state.reconciler.enrolment.members where member.outside != members[name]?.outside {
            guard !member.outside.isEmpty else { continue }
            logger.warning(
                "processes of a pod are outside the hooked cgroup: its egress policy does not see their connections",
                metadata: [
                    "pod": "\(name)",
                    "processes": "\(member.outside.map { "\($0.pid) \($0.command)" }.joined(separator: ", "))",
                    "hint": "start them with meshctl run, or move them below \(configuration.cgroup)",
                ])
        }
    }

    /// Looks for them now if pods have been enrolled since the last look, and again at those that are known.
    private func recheckOutside() {
        let enrolled = Set(state.reconciler.inForce.values.map(\.netns))
        if !enrolled.isSubset(of: looked) {
            lookOutside()
        } else {
            let hooked = Cgroup(path: configuration.cgroup)
            state.reconciler.recheckOutside { $0.isStill(in: $1, outside: hooked) }
        }
    }

    // MARK: - Facts

    private static func inspect(
        _ pod: Pod, _ probe: PodProbe, _ writer: KernelWriter
    ) throws(EnrolmentFailure) -> PodNamespace {
        let found = try probe.inspect(pod)
        do throws(BPFError) {
            let namespace: NetworkNamespace
            do throws(SystemError) { namespace = try NetworkNamespace(path: found.path) } catch {
                throw BPFError(error)
            }
            try writer.plane.requireUnclaimed(namespace, cookie: found.cookie)
        } catch {
            throw EnrolmentFailure("\(error)", error.errnoCode == EBUSY ? .foreign(found.cookie) : .unfit(found))
        }
        return found
    }

    /// Addresses of the agent's own namespace, which is the node's. Not those of the loopback device, and not
    /// link-local ones: every veth brings one, and no pod is reached from there.
    private static func nodeAddresses() throws(SystemError) -> [IPAddress] {
        guard let linkLocal = CIDR("fe80::/10") else { preconditionFailure("fe80::/10 is a prefix") }
        return try LinkInfo.all().filter { !$0.isLoopback }.map { IPAddress($0.address) }
            .filter { !linkLocal.contains($0) }.sorted()
    }

    private static func log(_ report: SelfTestReport, _ adoption: DataPlane.Adoption, _ logger: Logger) {
        for check in report.failures {
            logger.notice(
                "self-test: \(check.title) failed",
                metadata: ["check": "\(check.name)", "gates": "\(check.gate.rawValue)", "detail": "\(check.detail)"])
        }
        guard !adoption.isEmpty else { return }
        logger.info(
            "adopted what an earlier agent has left",
            metadata: [
                "maps": "\(adoption.maps.count)", "programs": "\(adoption.updated.count)",
                "pods": "\(adoption.lookups.count)",
            ])
        for program in adoption.replaced {
            logger.warning("program attached anew: its cgroup was gone", metadata: ["program": "\(program)"])
        }
    }
}

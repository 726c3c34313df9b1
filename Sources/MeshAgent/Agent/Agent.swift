// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import Glibc
import LinuxIO
public import Logging
import MeshAdmin
import MeshManifests
import MeshModel
import MeshVersion
import SockOps

/// Why an agent does not start, or stops.
public struct AgentError: Error, CustomStringConvertible {
    public let description: String

    init(_ description: String) { self.description = description }
}

/// The agent of one node: puts its parts together, and runs them on one thread until it is told to stop.
///
/// What it put into the kernel stays when it ends: connections go on and policy is enforced. ``uninstall`` of the
/// admin protocol removes it.
public final class Agent {
    let configuration: AgentConfiguration
    let logger: Logger
    let loop: EventLoop
    let started = ContinuousClock.now
    /// `nil` once the node has been uninstalled.
    private(set) var node: Node?
    private var server: AdminServer?
    /// `nil` where no proxy runs.
    private(set) var supervisor: ProxySupervisor?
    /// `nil` where nobody asked for metrics.
    private(set) var metricsServer: MetricsServer?
    private let locks: Locks

    /// Held to the end of the process.
    private struct Locks: ~Copyable {
        let state: NodeLock
        let pins: NodeLock
    }

    /// Takes the node over: state directory, pins of an earlier agent, objects. When this returns, policy is in force.
    ///
    /// - Throws: ``AgentError`` that says what is wrong and what to do. What an earlier agent put into the kernel is
    ///   left as it was, unless the kernel refused in the middle of the first change.
    public init(_ configuration: AgentConfiguration, logger: Logger) throws(AgentError) {
        self.configuration = configuration
        self.logger = logger
        try Self.requireRoot()
        let loop: EventLoop
        do throws(SystemError) {
            loop = try EventLoop()
            // Before any other thread exists.
            try loop.watchSignals([SIGTERM, SIGINT, SIGHUP]) { [weak loop] signal in
                if signal == SIGHUP { Agent.onHangup?() } else { loop?.stop() }
            }
            try Mounts.makeDirectories(configuration.stateDirectory, mode: 0o700)
            let state = try NodeLock(configuration.stateDirectory, flag: "--state-dir")
            try Mounts.ensureBPFFS(configuration.bpffs)
            locks = Locks(state: state, pins: try NodeLock(configuration.bpffs, flag: "--bpffs"))
        } catch {
            throw AgentError("cannot start: \(error)")
        }
        self.loop = loop
        let node: Node
        do throws(AgentError) {
            node = try Node(configuration, loop: loop, logger: logger)
        } catch {
            // Refuses what is not empty: pins of an earlier agent.
            rmdir(configuration.bpffs)
            throw error
        }
        self.node = node
        do throws(SystemError) {
            server = try AdminServer(
                on: loop, path: configuration.socket, name: "mesh-agent \(SockmeshVersion.current)",
                node: configuration.node, authorization: configuration.authorization, handler: self)
        } catch {
            throw AgentError("cannot serve the admin socket: \(error)")
        }
        if let program = configuration.proxy { supervisor = try startProxy(program, for: node) }
        if let finding = configuration.proxyChoice.finding { logger.warning("\(finding)") }
        if let endpoint = configuration.metrics { metricsServer = try startMetrics(at: endpoint) }
        Self.goBeforePods(logger)
        Agent.onHangup = { [weak self] in
            self?.node?.readDirectory()
            self?.supervisor?.upgradeIfReplaced()
        }
        logger.info(
            "agent started",
            metadata: [
                "node": "\(configuration.node)", "version": "\(SockmeshVersion.current)", "pid": "\(getpid())",
                "generation": "\(node.state.reconciler.writer.tables.generation)", "cgroup": "\(configuration.cgroup)",
                "socket": "\(configuration.socket)",
            ])
    }

    /// - Throws: ``AgentError`` that says what root is needed for.
    public static func requireRoot() throws(AgentError) {
        guard geteuid() == 0 else {
            throw AgentError(
                "mesh-agent needs root: it enters network namespaces and loads BPF programs (run it as root)")
        }
    }

    /// A node whose pods use all its processors must be governed still: a change of policy is to take effect, and what it
    /// denies is to be cut, in milliseconds there too. Nothing of a pod is started by this process, so none inherits it.
    private static func goBeforePods(_ logger: Logger) {
        guard setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, -10) != 0 else { return }
        let error = String(cString: strerror(errno))
        logger.warning(
            "priority stays as it is: changes are slow where pods use all processors", metadata: ["error": "\(error)"])
    }

    /// SIGHUP; set and called on the control thread only.
    private nonisolated(unsafe) static var onHangup: (() -> Void)?

    /// Serves until SIGTERM or SIGINT, or until the node was uninstalled.
    ///
    /// - Throws: ``AgentError`` if the kernel refuses to wait.
    public func run() throws(AgentError) {
        do throws(SystemError) { try loop.run() } catch { throw AgentError("event loop: \(error)") }
        // Whoever waits for the disk is answered.
        node?.state.writer.finish()
        server?.close()
        logger.info("agent stopped", metadata: ["node": "\(configuration.node)"])
    }

    /// Lets go of everything in the kernel, so that it can be removed.
    func releaseNode() {
        supervisor?.stop()
        supervisor = nil
        node?.stop()
        node = nil
    }
}

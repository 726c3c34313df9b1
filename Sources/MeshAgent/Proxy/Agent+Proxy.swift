// SPDX-License-Identifier: Apache-2.0

import CMeshABI
import Glibc
import LinuxIO
import Logging
import MeshAdmin
import MeshModel
import ProxyProtocol
import SockOps

extension Agent {
    /// Runs the proxy `program` and the socket factory beside this agent.
    func startProxy(_ program: String, for node: Node) throws(AgentError) -> ProxySupervisor {
        guard access(program, X_OK) == 0 else {
            throw AgentError(
                "--proxy: \(program) is no program that can be started (install it, or say --proxy none)")
        }
        let own: String
        do throws(BPFError) { own = try ObjectLocator.ownExecutable() } catch {
            throw AgentError("cannot find the socket factory: \(error)")
        }
        let supervisor = ProxySupervisor(
            ProxySupervisor.Configuration(
                proxyProgram: program, proxyOptions: configuration.proxyOptions, agentProgram: own,
                factoryCgroup: Cgroup(path: "\(configuration.cgroup)/factory"), socket: configuration.proxySocket),
            on: loop, logger: logger, markLeg: Self.marker(node.writer))
        supervisor.identities = try startIdentities()
        let feed = ProxyFeed(node, supervisor, loop: loop)
        do throws(SystemError) { try supervisor.start() } catch {
            throw AgentError("cannot listen for the proxy: \(error)")
        }
        node.didChange = { feed.meshChanged($0) }
        node.didLook = { feed.podsLooked() }
        node.perform = { [weak supervisor] change in
            if let supervisor { supervisor.whenAnswering(change) } else { change() }
        }
        return supervisor
    }

    /// A leg stands for the pod that it is made in, or for a client outside the mesh, whose connection ends there.
    private static func marker(_ writer: KernelWriter) -> LegMarker {
        { (socket, request) throws(SystemError) in
            let destination = request.destination
            var leg = mesh_leg.dial(
                mesh_ip(destination.address), port: destination.port,
                netns: request.outsider == nil ? request.netns : 0, identity: request.outsider ?? 0)
            if let client = request.client {
                leg = leg.showing(client: mesh_ip(client.address), port: client.port)
            }
            do throws(BPFError) { try writer.plane.mark(socket.rawValue, as: leg) } catch {
                throw SystemError(
                    "mark", "a socket to \(destination)", errnoCode: error.errnoCode, hint: "\(error)")
            }
        }
    }
}

extension AgentConfiguration {
    /// Where a proxy finds the agent: beside the admin socket.
    var proxySocket: String {
        (socket.hasSuffix(".sock") ? String(socket.dropLast(".sock".count)) : socket) + ".proxy.sock"
    }
}

extension ProxySupervisor {
    /// Of the configuration, as proxies are to have it.
    var generation: UInt64 { state.generation }

    /// Whether the proxy that serves has in force what was published last.
    var isInForce: Bool {
        guard let id = supervision.current, supervision.phases[id] == .serving, let proxy = proxies[id] else {
            return false
        }
        return proxy.link != nil && proxy.acknowledged == state.generation
    }

    /// Why the proxy that serves has not taken what was published last; `nil`: it has, or has not said.
    var rejection: String? { supervision.current.flatMap { proxies[$0]?.rejection } }

    /// The same, if another file has been put where the program of the one that serves was.
    func upgradeIfReplaced() {
        guard let id = supervision.current, let pid = proxies[id]?.pid, pid > 0,
            let running = PodProbe.file(at: "/proc/\(pid)/exe"),
            let installed = PodProbe.file(at: configuration.proxyProgram), running != installed
        else { return }
        logger.info(
            "the proxy's program has been replaced: a process of the new one takes over", metadata: ["pid": "\(pid)"])
        upgrade()
    }

    /// For `meshctl status`.
    var report: ProxySupervisionReport {
        ProxySupervisionReport(
            proxies: proxies.sorted { $0.key < $1.key }.map { id, proxy in
                ProxyReport(
                    pid: proxy.pid, version: proxy.version,
                    state: id == supervision.successor ? .taking : .init(supervision.phases[id]),
                    generation: proxy.acknowledged, rejection: proxy.rejection,
                    identities: identities == nil ? nil : proxy.identities.confirmed,
                    identityRefusal: proxy.identities.refusal)
            },
            proxyRestarts: supervision.proxyRestarts,
            factory: factoryProcess.map { FactoryReport(pid: $0.pid, ready: supervision.isFactoryUp) },
            factoryRestarts: supervision.factoryRestarts, generation: generation,
            listeners: listeners.entries.count)
    }
}

extension ProxyReport.State {
    fileprivate init(_ phase: ProxySupervision.Phase?) {
        switch phase {
        case .serving: self = .serving
        case .draining: self = .draining
        case .starting, .attached, .preparing, nil: self = .starting
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxIO
import Logging
import MeshModel
import ProxyProtocol
import SockOps
import Testing

@testable import MeshAgent

/// An agent's supervisor with the built programs, and a pod.
final class ProxyWorld {
    let configuration: ProxySupervisor.Configuration
    let pod: Namespace
    private(set) var loop: EventLoop
    private(set) var supervisor: ProxySupervisor
    private let directory: String

    /// Owns a namespace for a class.
    final class Namespace {
        let namespace: NetworkNamespace
        let cookie: UInt64

        /// Its loopback device is up.
        init() throws {
            let made = try NetworkNamespace.makeNew()
            try made.run { () throws(SystemError) in
                let child = try ChildProcess(starting: "/sbin/ip", arguments: ["link", "set", "lo", "up"])
                var ready = pollfd(fd: child.descriptor, events: Int16(POLLIN), revents: 0)
                _ = poll(&ready, 1, 20_000)
                guard child.reap() == 0 else { throw SystemError("ip link set lo up", errnoCode: EINVAL) }
            }
            cookie = try made.cookie()
            namespace = made
        }

        var workload: ProxyWorkload {
            ProxyWorkload(
                netns: cookie, path: "/proc/self/fd/\(namespace.rawDescriptor)",
                addresses: [IPAddress(v4: 0x7f00_0001)])
        }
    }

    /// - Parameter program: instead of the proxy.
    init(_ name: String, program: String? = nil) throws {
        let root = try #require(try Mounts.current().cgroup2)
        directory = "/tmp/mesh-proxy-test-\(getpid())-\(name)"
        #expect(mkdir(directory, 0o755) == 0)
        let programs = try ObjectLocator.ownExecutable().split(separator: "/").dropLast().joined(separator: "/")
        configuration = ProxySupervisor.Configuration(
            proxyProgram: program ?? "/\(programs)/mesh-proxy", agentProgram: "/\(programs)/mesh-agent",
            factoryCgroup: Cgroup(path: "\(root)/proxy-test-\(getpid())-\(name)/factory"),
            socket: "\(directory)/agent.sock")
        pod = try Namespace()
        loop = try EventLoop()
        supervisor = try Self.supervisor(configuration, loop)
        supervisor.set([pod.workload])
        try supervisor.start()
    }

    private static func supervisor(
        _ configuration: ProxySupervisor.Configuration, _ loop: EventLoop
    ) throws -> ProxySupervisor {
        var logger = Logger(label: "test")
        logger.logLevel = getenv("MESH_TEST_LOG") == nil ? .critical : .debug
        return ProxySupervisor(configuration, on: loop, logger: logger) { _, _ in }
    }

    /// What the death of an agent does: its descriptors are closed, and another one starts.
    func replaceAgent() throws {
        loop = try EventLoop()
        supervisor = try Self.supervisor(configuration, loop)
        supervisor.set([pod.workload])
        try supervisor.start()
    }

    func remove() {
        supervisor.stop()
        let start = ContinuousClock.now
        var left: [pid_t] = []
        repeat {
            _ = try? loop.turn(waitingAtMost: .milliseconds(2))
            left = (try? configuration.factoryCgroup.processes()) ?? []
        } while !left.isEmpty && start.duration(to: .now) < .seconds(20)
        for pid in left {
            let status = (try? SmallFile.readText("/proc/\(pid)/status")) ?? "gone"
            Issue.record("process \(pid) is left in the factory's cgroup: \(status)")
        }
        try? Cgroup(path: String(configuration.factoryCgroup.path.dropLast("/factory".count))).remove()
        unlink(configuration.socket)
        rmdir(directory)
    }

    /// Lets the loop work until `done`.
    @discardableResult
    func turn(limit: Duration = .seconds(20), until done: () -> Bool) throws -> Duration {
        let start = ContinuousClock.now
        while !done(), start.duration(to: .now) < limit { try loop.turn(waitingAtMost: .milliseconds(2)) }
        try #require(done(), "\(supervisor.supervision) \(supervisor.listeners.entries.keys)")
        return start.duration(to: .now)
    }

    /// One turn of the loop, whatever happens.
    func turnOnce() throws { try loop.turn(waitingAtMost: .milliseconds(2)) }

    /// Until a proxy serves the pod.
    func settle() throws {
        try turn {
            supervisor.serving != nil && supervisor.listeners.entries[key] != nil
                && supervisor.supervision.phases.count == 1
        }
    }

    /// The listener that there is on any machine.
    var key: ListenerKey { ListenerKey(netns: pod.cookie, direction: .outbound, family: .ipv4) }
    var port: UInt16 { supervisor.listeners.entries[key]?.listener.port ?? 0 }

    /// Connects to the listener from inside the pod.
    func connect() throws -> SharedDescriptor {
        let port = port
        return try pod.namespace.run { () throws(SystemError) in
            let socket = SharedDescriptor(
                adopting: try SystemError.check("socket") { Glibc.socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0) })
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = port.bigEndian
            address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
            let raw = socket.rawValue
            try SystemError.check("connect") {
                withUnsafePointer(to: &address) {
                    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        Glibc.connect(raw, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                    }
                }
            }
            return socket
        }
    }

    /// Whether a proxy has taken the connection: this version resets it.
    func isTaken(_ socket: SharedDescriptor) -> Bool {
        var entry = pollfd(fd: socket.rawValue, events: Int16(POLLIN), revents: 0)
        return poll(&entry, 1, 0) == 1 && entry.revents & Int16(POLLERR) != 0
    }
}

extension ProxySupervisor {
    /// The process of the proxy that serves.
    var serving: pid_t? {
        guard let id = supervision.current, supervision.phases[id] == .serving else { return nil }
        return proxies[id]?.pid
    }
}

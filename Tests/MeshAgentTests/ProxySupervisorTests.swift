// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxIO
import Logging
import MeshAdmin
import MeshModel
import MeshVersion
import ProxyProtocol
import Testing

@testable import MeshAgent

/// The factory and the proxy as processes, and every one of them killed.
@Suite(.serialized, .requiresRoot, .timeLimit(.minutes(2))) struct ProxySupervisorTests {
    private static func with(_ name: String = #function, _ body: (ProxyWorld) throws -> Void) throws {
        let world = try ProxyWorld(String(name.prefix { $0 != "(" }))
        defer { world.remove() }
        try world.settle()
        try body(world)
    }

    private static func fields(_ pid: pid_t) throws -> [String: String] {
        let lines = try SmallFile.readText("/proc/\(pid)/status").split(separator: "\n")
        return Dictionary(
            lines.map { line in
                let parts = line.split(separator: ":", maxSplits: 1)
                return (String(parts[0]), parts.count > 1 ? String(parts[1].drop { $0 == "\t" || $0 == " " }) : "")
            }, uniquingKeysWith: { $1 })
    }

    /// What the descriptors of a process are, `socket`, `anon_inode` and so on.
    private static func descriptors(_ pid: pid_t) throws -> [String] {
        var found: [String] = []
        let directory = try #require(opendir("/proc/\(pid)/fd"))
        defer { closedir(directory) }
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            guard let number = Int(name), number > 2 else { continue }
            var buffer = [CChar](repeating: 0, count: 256)
            let count = readlink("/proc/\(pid)/fd/\(name)", &buffer, 255)
            found.append(String(decoding: buffer.prefix(max(0, count)).map(UInt8.init(bitPattern:)), as: UTF8.self))
        }
        return found
    }

    @Test func theProxyHasNoPowerAndServes() throws {
        try Self.with { world in
            let pid = try #require(world.supervisor.serving)
            let status = try Self.fields(pid)
            for set in ["CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb"] {
                #expect(status[set] == "0000000000000000", "\(set)")
            }
            #expect(status["NoNewPrivs"] == "1" && status["Seccomp"] == "2")
            #expect(status["Uid"] == "65532\t65532\t65532\t65532" && status["Gid"] == "65532\t65532\t65532\t65532")
            #expect(status["Groups"]?.trimmingPrefix(" ").isEmpty == true)
            let others = try Self.descriptors(pid).filter { !$0.hasPrefix("socket:") }.sorted()
            // The loop's and those of the worker's loop, and what the two wake each other by.
            let kinds = [
                "anon_inode:[eventfd]", "anon_inode:[eventpoll]", "anon_inode:[signalfd]", "anon_inode:[timerfd]",
            ]
            #expect(Set(others) == Set(kinds) && others.count < 10)
            // The link, and each listener once for the process and once for its worker, which takes it a moment later.
            var sockets = 0
            try world.turn {
                sockets = (try? Self.descriptors(pid).count { $0.hasPrefix("socket:") }) ?? 0
                return sockets == 1 + 2 * world.supervisor.listeners.entries.count
            }
            let connection = try world.connect()
            try world.turn { world.isTaken(connection) }
            let report = world.supervisor.report
            #expect(report.proxies.map(\.state) == [.serving] && report.proxies[0].generation == report.generation)
            // Of the agent's own build.
            #expect(world.supervisor.health.version == SockmeshVersion.current)
            #expect(world.supervisor.health.findings.isEmpty)
            #expect(report.factory?.ready == true && report.listeners == world.supervisor.listeners.entries.count)
        }
    }

    @Test(arguments: [("/bin/false", "exit status 1"), ("/etc/passwd", "it cannot be started: ")])
    func aProgramThatIsNoProxyIsSaidToBeNone(_ program: String, _ how: String) throws {
        let world = try ProxyWorld("no-proxy-\(program.utf8.count)", program: program)
        defer { world.remove() }
        try world.turn {
            let health = world.supervisor.health
            return health.failures > 0 && health.lastEnd?.hasPrefix(how) == true
        }
        #expect(world.supervisor.health.notReady(ProxyNeeds(["it"]))?.contains("\(program), does not run: ") == true)
        #expect(world.supervisor.health.findings.count == 1)
    }

    @Test func theFactoryIsInItsCgroupAndKeepsNoNamespaceOfAPodThatLeft() throws {
        try Self.with { world in
            let pid = try #require(world.supervisor.factoryProcess?.pid)
            #expect(try world.configuration.factoryCgroup.processes() == [pid])
            #expect(try Self.descriptors(pid).contains { $0.hasPrefix("net:") })
            world.supervisor.set([])
            #expect(world.supervisor.listeners.entries.isEmpty)
            let proxy = try #require(world.supervisor.serving)
            try world.turn { (try? Self.descriptors(pid).contains { $0.hasPrefix("net:") }) == false }
            try world.turn { (try? Self.descriptors(proxy).filter { $0.hasPrefix("socket:") }.count) == 1 }
        }
    }

    @Test func aKilledFactoryIsReplacedAndListenersLiveOn() throws {
        try Self.with { world in
            let (port, old) = (world.port, try #require(world.supervisor.factoryProcess?.pid))
            kill(old, SIGKILL)
            try world.turn { world.supervisor.factoryProcess?.pid != old && world.supervisor.supervision.isFactoryUp }
            #expect(world.port == port)
            let connection = try world.connect()
            try world.turn { world.isTaken(connection) }
            // The new one makes sockets for old and new pods.
            let other = try ProxyWorld.Namespace()
            let key = ListenerKey(netns: other.cookie, direction: .inbound, family: .ipv4)
            world.supervisor.set([world.pod.workload, other.workload])
            try world.turn { world.supervisor.listeners.entries[key] != nil }
            #expect(world.port == port)
            #expect(world.supervisor.report.factoryRestarts == 1)
        }
    }

    @Test func aKilledProxyIsReplacedBeforeAnybodyWaitsLong() throws {
        try Self.with { world in
            let port = world.port
            // What else the machine does only adds to a time, so the least of some counts.
            var (least, deaths) = (Duration.seconds(60), 0)
            while least > .milliseconds(2000), deaths < 3 {
                let old = try #require(world.supervisor.serving)
                kill(old, SIGKILL)
                deaths += 1
                try world.turn { world.supervisor.serving != old }
                // Nobody serves now, and nobody is refused: the listener is ours too.
                let connection = try world.connect()
                least = min(least, try world.turn { world.isTaken(connection) })
                try world.settle()
                #expect(world.port == port && world.supervisor.serving != old)
            }
            #expect(least < .milliseconds(2000), "a debug build on a busy machine")
            #expect(world.supervisor.report.proxyRestarts == deaths)
        }
    }

    @Test func theNextAgentAdoptsTheProxy() throws {
        try Self.with { world in
            let (port, proxy) = (world.port, try #require(world.supervisor.serving))
            let factory = try #require(world.supervisor.factoryProcess?.pid)
            try world.replaceAgent()
            world.supervisor.publish([:])
            try world.settle()
            #expect(world.supervisor.serving == proxy && world.port == port)
            #expect(world.supervisor.report.proxyRestarts == 0)
            #expect(world.supervisor.factoryProcess?.pid != factory)
            let connection = try world.connect()
            try world.turn { world.isTaken(connection) }
            // It notices the death of a process that is not its child.
            kill(proxy, SIGKILL)
            try world.turn { world.supervisor.serving.map { $0 != proxy } ?? false }
            #expect(world.port == port)
        }
    }

    @Test func bothMayDieAtOnce() throws {
        try Self.with { world in
            let proxy = try #require(world.supervisor.serving)
            kill(proxy, SIGKILL)
            try world.replaceAgent()
            try world.settle()
            #expect(world.supervisor.serving != proxy)
            let connection = try world.connect()
            try world.turn { world.isTaken(connection) }
        }
    }

    @Test func anUpgradeRefusesNoConnection() throws {
        try Self.with { world in
            let (port, old) = (world.port, try #require(world.supervisor.serving))
            world.supervisor.upgrade()
            var connections: [SharedDescriptor] = []
            try world.turn {
                // Refused, this throws, and the test fails.
                do { connections.append(try world.connect()) } catch {
                    Issue.record("\(error)")
                    return true
                }
                return world.supervisor.serving != old && world.supervisor.supervision.phases.count == 1
            }
            #expect(world.port == port)
            try world.turn { connections.allSatisfy { world.isTaken($0) } }
            #expect(connections.count > 1)
            try world.turn { kill(old, 0) != 0 }
            #expect(world.supervisor.report.proxyRestarts == 0)
        }
    }

    @Test func configurationsReachTheProxyInAnySize() throws {
        try Self.with { world in
            func acknowledged() -> Bool {
                let report = world.supervisor.report
                return report.proxies.allSatisfy { $0.generation == report.generation }
            }
            let workload = WorkloadRecord(netns: 1, pod: NamespacedName(namespace: "shop", name: "a"))
            for labels in [1, 10000, 20000, 1] {
                var record = workload
                for number in 0..<labels { record.labels["\(number)"] = "a label that is long enough to count" }
                let before = world.supervisor.generation
                world.supervisor.publish([record.key: record.wire])
                #expect(world.supervisor.generation == before + 1)
                try world.turn { acknowledged() }
            }
            // One that it cannot read is refused, and what was in force stays.
            let good = world.supervisor.generation
            world.supervisor.publish([workload.key: [1, 2, 3]])
            try world.turn { world.supervisor.report.proxies.first?.rejection != nil }
            #expect(world.supervisor.report.proxies.first?.generation == good)
            world.supervisor.publish([workload.key: workload.wire])
            try world.turn { acknowledged() && world.supervisor.report.proxies.first?.rejection == nil }
        }
    }

    /// What the kernel waits for: without a turn of the loop every proxy has what was published.
    @Test func aSettledConfigurationIsInForce() throws {
        try Self.with { world in
            var record = WorkloadRecord(netns: 1, pod: NamespacedName(namespace: "shop", name: "a"))
            for round in 1...50 {
                record.labels["round"] = "\(round)"
                #expect(world.supervisor.publish([record.key: record.wire], policy: UInt32(round)))
                world.supervisor.settle(waitingAtMost: .seconds(10))
                #expect(world.supervisor.isInForce)
            }
            #expect(!world.supervisor.publish([record.key: record.wire], policy: 51), "nothing differs")
            world.supervisor.settle(waitingAtMost: .seconds(10))
            // Two at a time, while one takes the place of the other.
            let old = try #require(world.supervisor.serving)
            world.supervisor.upgrade()
            var rounds = 0
            try world.turn {
                rounds += 1
                record.labels["round"] = "again \(rounds)"
                world.supervisor.publish([record.key: record.wire], policy: UInt32(51 + rounds))
                world.supervisor.settle(waitingAtMost: .seconds(10))
                // One that was on its way out is no more.
                for (id, proxy) in world.supervisor.proxies where world.supervisor.isTold(id) {
                    #expect(
                        proxy.isGivenUp || !proxy.isBehind(world.supervisor.generation),
                        "\(world.supervisor.supervision)")
                }
                return world.supervisor.serving != old && world.supervisor.supervision.phases.count == 1
            }
        }
    }

    /// One that does not take a policy judges nothing by an older one: it is no more when the wait is over.
    @Test func aProxyThatTakesNoPolicyIsEnded() throws {
        try Self.with { world in
            let stopped = try #require(world.supervisor.serving)
            kill(stopped, SIGSTOP)
            let record = WorkloadRecord(netns: 1, pod: NamespacedName(namespace: "shop", name: "a"))
            world.supervisor.publish([record.key: record.wire], policy: 1)
            world.supervisor.settle(waitingAtMost: .milliseconds(50))
            #expect(kill(stopped, 0) != 0, "it lives")
            try world.turn { world.supervisor.serving.map { $0 != stopped } ?? false }
            try world.turn { world.supervisor.isInForce }
        }
    }

    /// One that the agent cannot end gets no connection any more, whoever has its listeners.
    @Test func aProxyOutOfReachIsCutOff() throws {
        try Self.with { world in
            let stopped = try #require(world.supervisor.serving)
            let id = try #require(world.supervisor.supervision.current)
            let connection = try #require(world.supervisor.proxies[id])
            // As one of another PID namespace is seen before Linux 6.5.
            connection.process?.abandon()
            connection.process = nil
            connection.isFound = true
            kill(stopped, SIGSTOP)
            defer { kill(stopped, SIGKILL) }
            let waiting = try world.connect()
            let old = try #require(world.supervisor.listeners.entries[world.key])
            let record = WorkloadRecord(netns: 1, pod: NamespacedName(namespace: "shop", name: "a"))
            world.supervisor.publish([record.key: record.wire], policy: 1)
            world.supervisor.settle(waitingAtMost: .milliseconds(50))
            #expect(kill(stopped, 0) == 0, "nobody could end it")
            // Who waited in its queue is reset.
            try world.turn { world.isTaken(waiting) }
            try world.turn { world.supervisor.serving.map { $0 != stopped && $0 != 0 } ?? false }
            try world.turn { world.supervisor.isInForce && world.supervisor.listeners.entries[world.key] != nil }
            let new = try #require(world.supervisor.listeners.entries[world.key])
            #expect(new.socket !== old.socket)
            // The new one accepts.
            let socket = try world.connect()
            try world.turn { world.isTaken(socket) }
            // What comes back later is not taken for the one that serves.
            let serving = world.supervisor.serving
            kill(stopped, SIGCONT)
            for _ in 0..<20 { try world.turnOnce() }
            #expect(world.supervisor.serving == serving)
        }
    }

    /// A change waits for a sign of life, and the loop does not.
    @Test func changesWaitForProxiesInTheirOrder() throws {
        try Self.with { world in
            var done: [Int] = []
            for number in 0..<3 { world.supervisor.whenAnswering { done.append(number) } }
            #expect(done.isEmpty, "the proxy is asked first")
            try world.turn { done == [0, 1, 2] }

            let stopped = try #require(world.supervisor.serving)
            kill(stopped, SIGSTOP)
            world.supervisor.whenAnswering(within: .milliseconds(100)) { done.append(3) }
            world.supervisor.whenAnswering(within: .seconds(60)) { done.append(4) }
            for _ in 0..<5 { try world.turnOnce() }
            #expect(done.count == 3)
            try world.turn { done.contains(3) }
            // A silent one is not waited for: the next change is refused no time by it, and ends it if it matters.
            let record = WorkloadRecord(netns: 1, pod: NamespacedName(namespace: "shop", name: "a"))
            world.supervisor.publish([record.key: record.wire], policy: 1)
            let start = ContinuousClock.now
            world.supervisor.settle(waitingAtMost: .seconds(60))
            #expect(start.duration(to: .now) < .seconds(30) && kill(stopped, 0) != 0)
            try world.turn { done == [0, 1, 2, 3, 4] }
            try world.turn { world.supervisor.serving.map { $0 != stopped } ?? false && world.supervisor.isInForce }
        }
    }

    /// A proxy that comes back to another agent hears at once what has changed meanwhile.
    @Test func anAdoptedProxyIsToldWithItsHello() throws {
        try Self.with { world in
            let record = WorkloadRecord(netns: 1, pod: NamespacedName(namespace: "shop", name: "a"))
            world.supervisor.publish([record.key: record.wire], policy: 1)
            world.supervisor.settle(waitingAtMost: .seconds(10))
            let proxy = try #require(world.supervisor.serving)
            try world.replaceAgent()
            var changed = record
            changed.labels = ["a": "b"]
            world.supervisor.publish([changed.key: changed.wire], policy: 2)
            try world.turn { world.supervisor.proxies.keys.contains { world.supervisor.isTold($0) } }
            world.supervisor.settle(waitingAtMost: .seconds(10))
            #expect(world.supervisor.proxies.values.allSatisfy { $0.acknowledged == world.supervisor.generation })
            try world.settle()
            #expect(world.supervisor.serving == proxy)
        }
    }

    @Test func aProgramThatCannotServeIsTriedLessAndLess() throws {
        try Self.with { world in
            var configuration = world.configuration
            configuration.proxyProgram = "/bin/false"
            configuration.socket += "2"
            configuration.factoryCgroup = Cgroup(path: "\(configuration.factoryCgroup.path)2")
            let loop = try EventLoop()
            let supervisor = ProxySupervisor(
                configuration, on: loop,
                logger: .init(label: "test") { _ in
                    StandardErrorLog(format: .text, level: .critical)
                }
            ) { _, _ in }
            try supervisor.start()
            defer { supervisor.stop() }
            let start = ContinuousClock.now
            while start.duration(to: .now) < .milliseconds(900) || supervisor.report.proxyRestarts == 0 {
                try loop.turn(waitingAtMost: .milliseconds(5))
            }
            // At once, after 100 and 300 ms; not thousands of times.
            #expect((1...5).contains(supervisor.report.proxyRestarts))
            supervisor.stop()
            while try !configuration.factoryCgroup.processes().isEmpty {
                try loop.turn(waitingAtMost: .milliseconds(5))
            }
        }
    }

    @Test func aStrangerIsNotTaken() throws {
        try Self.with { world in
            // This process is root, and no proxy is.
            let socket = try PacketSocket(connectingTo: world.configuration.socket)
            try world.turn { (try? socket.waitUntilReadable(atMost: .zero)) == true }
            #expect(world.supervisor.supervision.phases.count == 1)
        }
    }
}

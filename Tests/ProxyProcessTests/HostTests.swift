// SPDX-License-Identifier: Apache-2.0

import Glibc
import L7Proxy
import LinuxIO
import MeshModel
import ProxyProtocol
import Testing

@testable import ProxyProcess

/// A proxy's host against an agent that the test plays, on one loop.
@Suite(.serialized, .timeLimit(.minutes(1))) struct HostTests {
    /// Notes what it is told.
    final class NotingEngine: ProxyEngine {
        var configurations: [ProxyConfiguration] = []
        var listeners: [ListenerKey: UInt16] = [:]
        var refusal: EngineRefusal?
        var identities: TLSIdentities?
        var finishDrain: (() -> Void)?
        var counters = EngineCounters()

        /// What has not been said yet, if the test says when it is.
        var settling: [() -> Void]?
        var policies: [UInt32] = []
        /// Who waits for threads that do not answer; `nil`: they do.
        var waiting: [() -> Void]?
        var misses: [String] = []

        func apply(_ configuration: ProxyConfiguration, inForce: @escaping () -> Void) throws(EngineRefusal) {
            if let refusal { throw refusal }
            configurations.append(configuration)
            if settling == nil { inForce() } else { settling?.append(inForce) }
        }
        func whenAnswering(_ done: @escaping () -> Void) {
            if waiting == nil { done() } else { waiting?.append(done) }
        }
        func missed(_ reason: String) { misses.append(reason) }
        func enforce(policy generation: UInt32) { policies.append(generation) }
        func use(_ identities: TLSIdentities) { self.identities = identities }
        func serve(_ listener: Listener, _ socket: SharedDescriptor) { listeners[listener.key] = listener.port }
        func stopServing(_ key: ListenerKey) { listeners[key] = nil }
        func drain(within deadline: Duration, _ done: @escaping () -> Void) { finishDrain = done }
        func metrics(_ completion: @escaping (String) -> Void) { completion("one 1\n") }
    }

    final class World {
        let loop: EventLoop
        let engine = NotingEngine()
        var host: ProxyHost?
        var agent: Link<ProxyMessage, AgentMessage>?
        var heard: [ProxyMessage] = []
        var descriptors: [SharedDescriptor] = []
        var hello: Hello?
        var closed: String?
        var log: [String] = []
        private var listener: UnixListener?

        init(agentSocket: String? = nil) throws {
            loop = try EventLoop()
            host = try ProxyHost(
                on: loop, .init(program: "1.2.3", agentSocket: agentSocket), log: { [unowned self] in log.append($0) },
                makeEngine: { [engine] _, _ in engine })
        }

        func connect() throws {
            let (near, far) = try PacketSocket.pair()
            try attach(PacketSocket(near))
            try host?.start(PacketSocket(far))
            try turn { self.heard.contains { if case .listenersComplete = $0 { true } else { false } } }
        }

        func attach(_ socket: consuming PacketSocket) throws {
            agent = try Link(on: loop, socket, as: Hello(.agent, program: "1"), expecting: .proxy) {
                [unowned self] event in
                switch event {
                case .opened(let hello): self.hello = hello
                case .message(let message, let descriptors):
                    heard.append(message)
                    self.descriptors += descriptors
                case .closed(let reason): closed = reason
                }
            }
        }

        /// Listens as an agent does, and attaches whoever comes.
        func listen(_ path: String) throws {
            let made = try UnixListener(path: path, group: nil, mode: 0o600, isForPackets: true)
            try loop.watch(made.descriptor, for: .readable) { [unowned self] _ in
                guard let socket = try? listener?.acceptPacketSocket() else { return }
                try? attach(socket)
            }
            listener = .some(consume made)
        }

        func turn(until done: () -> Bool) throws {
            let start = ContinuousClock.now
            while !done() {
                try #require(start.duration(to: .now) < .seconds(20), "\(log) \(heard) \(closed ?? "")")
                try loop.turn(waitingAtMost: .milliseconds(5))
            }
        }
    }

    static let key = ListenerKey(netns: 4711, direction: .outbound, family: .ipv4)

    private static func listener() throws -> (Listener, SharedDescriptor) {
        let socket = try InetSocket.make(isIPv4: true)
        try InetSocket.bind(socket, to: IPAddress(v4: 0x7f00_0001).bytes, isIPv4: true)
        try InetSocket.listen(socket, backlog: 16)
        return (Listener(key, port: try InetSocket.port(of: socket)), socket)
    }

    @Test func aConfigurationIsAcknowledgedWhenItIsInForce() throws {
        let world = try World()
        try world.connect()
        #expect(world.hello == Hello(.proxy, program: "1.2.3"))
        let record = ServiceRecord(service: NamespacedName(namespace: "shop", name: "web"), port: 80)
        let state = ConfigurationState(generation: 1, [.service(record)])
        for message in ConfigurationChange(from: ConfigurationState(), to: state).messages {
            world.agent?.send(message)
        }
        try world.turn { world.heard.contains(.acknowledge(1)) }
        #expect(world.engine.configurations.map(\.services) == [[record]])

        world.engine.refusal = EngineRefusal("no")
        let file = try SealedMemory.make("test", ConfigurationState(generation: 2).wire)
        world.agent?.send(.snapshot(2), [file])
        try world.turn { world.heard.contains(.reject(2, reason: "no")) }
        #expect(world.engine.configurations.count == 1)
        #expect(world.engine.misses == ["this proxy has refused the configuration of generation 2: no"])
        world.agent?.send(.statusRequest(7))
        try world.turn { if case .status = world.heard.last { true } else { false } }
        #expect(world.heard.last == .status(ProxyStatus(request: 7, generation: 1)))
    }

    @Test func itIsSaidToBeInForceWhenNoRequestIsJudgedByLess() throws {
        let world = try World()
        try world.connect()
        world.engine.settling = []
        for message in ConfigurationChange(base: 0, generation: 1).messages { world.agent?.send(message) }
        world.agent?.send(.statusRequest(1))
        try world.turn { if case .status = world.heard.last { true } else { false } }
        #expect(!world.heard.contains(.acknowledge(1)))
        world.engine.settling?.first?()
        try world.turn { world.heard.contains(.acknowledge(1)) }
    }

    /// Whoever has asked waits for the threads next, and nothing else goes on there.
    @Test func itAnswersWhenAllThreadsDo() throws {
        let world = try World()
        try world.connect()
        world.engine.waiting = []
        world.agent?.send(.statusRequest(1))
        try world.turn { world.engine.waiting?.count == 1 }
        #expect(!world.heard.contains { if case .status = $0 { true } else { false } })
        world.engine.waiting?.first?()
        try world.turn { if case .status = world.heard.last { true } else { false } }
    }

    /// A policy holds where the configuration that has it was taken, and not where it was refused.
    @Test func aPolicyIsEnforcedByItsConfiguration() throws {
        let world = try World()
        try world.connect()
        for message in ConfigurationChange(base: 0, generation: 1).messages { world.agent?.send(message) }
        world.agent?.send(.policy(7, by: 1))
        try world.turn { world.heard.contains(.acknowledge(1)) && world.engine.policies == [7] }
        world.engine.refusal = EngineRefusal("no")
        for message in ConfigurationChange(base: 1, generation: 2).messages { world.agent?.send(message) }
        world.agent?.send(.policy(8, by: 2))
        try world.turn { world.heard.contains(.reject(2, reason: "no")) }
        world.agent?.send(.statusRequest(1))
        try world.turn { if case .status = world.heard.last { true } else { false } }
        #expect(world.engine.policies == [7])
        world.engine.refusal = nil
        for message in ConfigurationChange(base: 2, generation: 3).messages { world.agent?.send(message) }
        try world.turn { world.heard.contains(.acknowledge(3)) }
        #expect(world.engine.policies == [7, 8])
    }

    @Test func anUnreadableRecordIsRejectedByName() throws {
        let world = try World()
        try world.connect()
        let state = ConfigurationState(generation: 1, records: [RecordKey(RecordKind(rawValue: 99), "shop/a"): [1]])
        for message in ConfigurationChange(from: ConfigurationState(), to: state).messages {
            world.agent?.send(message)
        }
        try world.turn { if case .reject = world.heard.last { true } else { false } }
        #expect(
            world.heard.last
                == .reject(
                    1,
                    reason:
                        "kind 99 shop/a: records of kind 99 are not known to this version, "
                        + "at byte 0"))
    }

    @Test func aBrokenChangeClosesTheLink() throws {
        let world = try World()
        try world.connect()
        world.agent?.send(.commit(3))
        try world.turn { world.closed != nil }
        #expect(world.closed == "the peer has closed: a commit of generation 3, which was not begun")
    }

    @Test func socketsAreAskedForAndDelivered() throws {
        let world = try World()
        try world.connect()
        var answers: [Result<SharedDescriptor, SocketRefusal>] = []
        let destination = SocketEndpoint(IPAddress(v4: 0x0a00_0001), 80)
        for _ in 0..<3 {
            world.host?.requestLeg(netns: 4711, destination: destination, outsider: nil, client: nil) {
                answers.append($0)
            }
        }
        try world.turn { world.heard.count == 4 }
        #expect(
            world.heard.dropFirst()
                == (1...3).map {
                    .legRequest(LegRequest(number: $0, netns: 4711, destination: destination, client: nil))
                }[...])
        let socket = try InetSocket.make(isIPv4: true)
        world.agent?.send(.leg(request: 2), [socket])
        world.agent?.send(.legRefused(request: 1, SocketRefusal(errnoCode: 13, "no")))
        // One that nobody has asked for.
        world.agent?.send(.leg(request: 99), [socket])
        try world.turn { answers.count == 2 }
        #expect((try? answers[0].get()) != nil)
        guard case .failure(SocketRefusal(errnoCode: 13, "no")) = answers[1] else { return #expect(Bool(false)) }
        // The agent dies: the third is refused, and so is what comes later.
        world.agent = nil
        try world.turn { answers.count == 3 }
        world.host?.requestLeg(netns: 4711, destination: destination, outsider: nil, client: nil) { answers.append($0) }
        try world.turn { answers.count == 4 }
        for answer in answers.suffix(2) { #expect((try? answer.get()) == nil) }
    }

    @Test func theNextAgentIsAskedForWhatTheLastOneOwes() throws {
        let path = "/tmp/proxy-host-\(getpid())-owed.sock"
        let world = try World(agentSocket: path)
        try world.connect()
        var answers: [Result<SharedDescriptor, SocketRefusal>] = []
        let destination = SocketEndpoint(IPAddress(v4: 0x0a00_0001), 80)
        func ask(_ outsider: UInt32?) {
            world.host?.requestLeg(netns: 4711, destination: destination, outsider: outsider, client: nil) {
                answers.append($0)
            }
        }
        ask(nil)
        try world.turn { world.heard.count == 2 }
        (world.heard, world.agent) = ([], nil)
        try world.turn { world.log.contains { $0.hasPrefix("detached") } }
        // What comes while there is no agent waits, too.
        ask(260)
        try world.listen(path)
        try world.turn { world.heard.count == 3 }
        let asked = [nil, 260].enumerated().map { index, outsider in
            ProxyMessage.legRequest(
                LegRequest(
                    number: UInt64(index + 1), netns: 4711, destination: destination, outsider: outsider, client: nil))
        }
        #expect(world.heard == [.listenersComplete(0)] + asked)
        #expect(answers.isEmpty)
        world.agent?.send(.leg(request: 1), [try InetSocket.make(isIPv4: true)])
        world.agent?.send(.legRefused(request: 2, SocketRefusal(errnoCode: 13, "no")))
        try world.turn { answers.count == 2 }
        #expect((try? answers[0].get()) != nil && (try? answers[1].get()) == nil)
    }

    @Test func theNextAgentGetsTheListenersBack() throws {
        let path = "/tmp/proxy-host-\(getpid()).sock"
        let world = try World(agentSocket: path)
        try world.connect()
        let (listener, socket) = try Self.listener()
        world.agent?.send(.listener(listener), [socket])
        try world.turn { world.engine.listeners.count == 1 }
        (world.heard, world.agent, world.hello) = ([], nil, nil)
        try world.turn { world.log.contains { $0.hasPrefix("detached") } }
        // Still served.
        #expect(world.engine.listeners == [Self.key: listener.port])
        try world.listen(path)
        try world.turn { world.heard.count == 2 }
        #expect(world.heard == [.listener(listener), .listenersComplete(1)])
        #expect(world.hello?.listeners == 1)
        let returned = try #require(world.descriptors.last)
        #expect(try InetSocket.port(of: returned) == listener.port)
    }

    @Test func drainingEndsWhenTheEngineIsDone() throws {
        let world = try World()
        try world.connect()
        let (listener, socket) = try Self.listener()
        world.agent?.send(.listener(listener), [socket])
        world.agent?.send(.drain(milliseconds: 1000))
        world.agent?.send(.statusRequest(1))
        try world.turn { world.heard.contains(.status(ProxyStatus(request: 1, isDraining: true))) }
        #expect(!world.heard.contains(.drained))
        let finish = try #require(world.engine.finishDrain)
        finish()
        try world.turn { world.heard.last == .drained }
    }
}

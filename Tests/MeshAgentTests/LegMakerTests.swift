// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxIO
import Logging
import MeshModel
import ProxyProtocol
import Testing

@testable import MeshAgent

/// Sockets for a proxy, from factories that the test plays.
@Suite(.serialized, .timeLimit(.minutes(1))) struct LegMakerTests {
    final class World {
        let loop: EventLoop
        let listeners: ProxyListeners
        let connection = ProxyConnection()
        private(set) var legs: LegMaker
        /// What the proxy has been answered.
        private(set) var answers: [AgentMessage] = []
        /// What the factory has been asked, and the factory.
        private(set) var asked: [FactoryRequest] = []
        private var factory: Link<FactoryRequest, FactoryAnswer>?
        private var client: FactoryClient?
        private var proxy: Link<AgentMessage, ProxyMessage>?
        private(set) var marked: [LegRequest] = []
        let netns: UInt64

        /// - Parameter patience: by default longer than any test.
        init(patience: Duration = .seconds(60)) throws {
            loop = try EventLoop()
            let own = try NetworkNamespace(path: "/proc/self/ns/net")
            netns = try own.cookie()
            listeners = ProxyListeners(backlog: 16, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
            var note: (LegRequest) -> Void = { _ in }
            legs = LegMaker(on: loop, listeners, patience: patience) { _, request in note(request) }
            note = { [unowned self] in marked.append($0) }
            listeners.set(
                [
                    ProxyWorkload(
                        netns: netns, path: "/proc/self/ns/net", addresses: [LegMakerTests.own])
                ], isMaking: false)
            let (near, far) = try PacketSocket.pair()
            connection.link = try Link(on: loop, PacketSocket(near), as: Hello(.agent, program: "1"), expecting: .proxy)
            {
                [unowned self] event in
                if case .message(.legRequest(let request), _) = event { legs.make(request, for: connection) }
            }
            proxy = try Link(on: loop, PacketSocket(far), as: Hello(.proxy, program: "1"), expecting: .agent) {
                [unowned self] event in
                if case .message(let message, _) = event { answers.append(message) }
            }
        }

        func startFactory() throws {
            let (near, far) = try PacketSocket.pair()
            let made = try FactoryClient(on: loop, PacketSocket(near), onReady: {}, onClosed: { _ in })
            factory = try Link(on: loop, PacketSocket(far), as: Hello(.factory, program: "1"), expecting: .agent) {
                [unowned self] event in
                if case .message(let request, _) = event { asked.append(request) }
            }
            client = made
            listeners.setFactory(made)
            legs.setFactory(made)
        }

        /// As when its process is killed, and the supervisor has noticed.
        func killFactory() throws {
            factory = nil
            let client = try #require(client)
            try turn { client.openRequests == 0 }
            self.client = nil
            asked = []
            listeners.setFactory(nil)
            legs.setFactory(nil)
        }

        func answerFactory() throws {
            for request in asked {
                switch request {
                case .leg(let number, _, _):
                    factory?.send(.socket(number: number, port: 0), [try InetSocket.make(isIPv4: true)])
                default: factory?.send(.done(number: request.number))
                }
            }
            asked = []
        }

        func ask(_ request: LegRequest) { proxy?.send(.legRequest(request)) }

        func turn(until done: () -> Bool) throws {
            let start = ContinuousClock.now
            while !done(), start.duration(to: .now) < .seconds(10) { try loop.turn(waitingAtMost: .milliseconds(2)) }
            try #require(done(), "\(asked) \(answers)")
        }

        func request(_ number: UInt64, to address: IPAddress = LegMakerTests.own, outsider: UInt32? = nil) -> LegRequest
        {
            LegRequest(
                number: number, netns: netns, destination: SocketEndpoint(address, 80), outsider: outsider, client: nil)
        }
    }

    private static let own = IPAddress(v4: 0x0a51_0001)
    private static let other = IPAddress(v4: 0x0a51_0002)

    private static func reason(_ answer: AgentMessage?) -> String? {
        if case .legRefused(_, let refusal) = answer { refusal.reason } else { nil }
    }

    @Test func aSocketIsMarkedBeforeItIsHandedOver() throws {
        let world = try World()
        try world.startFactory()
        world.ask(world.request(7, outsider: 300))
        try world.turn { world.asked.count == 2 }
        guard case .addWorkload(_, world.netns) = world.asked[0] else { return #expect(Bool(false)) }
        try world.answerFactory()
        try world.turn { world.answers.count == 1 }
        #expect(world.answers == [.leg(request: 7)])
        #expect(world.marked == [world.request(7, outsider: 300)])
        #expect(world.connection.openLegs == 0)
    }

    @Test func whatAFactoryHasDiedOverIsAskedOfTheNext() throws {
        let world = try World()
        try world.startFactory()
        world.ask(world.request(1))
        try world.turn { world.asked.count == 2 }
        try world.killFactory()
        // One that comes meanwhile waits, too.
        world.ask(world.request(2))
        try world.turn { world.connection.openLegs == 2 }
        #expect(world.answers.isEmpty)
        try world.startFactory()
        try world.turn { world.asked.count == 3 }
        try world.answerFactory()
        try world.turn { world.answers.count == 2 }
        #expect(world.answers == [.leg(request: 1), .leg(request: 2)])
    }

    @Test func withoutAFactoryNobodyWaitsForLong() throws {
        let world = try World(patience: .milliseconds(20))
        world.ask(world.request(1))
        try world.turn { world.answers.count == 1 }
        #expect(Self.reason(world.answers.first) == "no socket to 10.81.0.1:80: there is no socket factory now")
        #expect(world.connection.openLegs == 0)
    }

    @Test func aRequestThatKillsFactoriesIsRefused() throws {
        let world = try World()
        world.ask(world.request(1))
        try world.turn { world.connection.openLegs == 1 }
        for _ in 0..<4 where world.answers.isEmpty {
            try world.startFactory()
            try world.turn { world.asked.count == 2 }
            try world.killFactory()
        }
        try world.turn { world.answers.count == 1 }
        #expect(Self.reason(world.answers.first) == "no socket to 10.81.0.1:80: the socket factory has ended")
    }

    @Test func whoComesFromOutsideGetsNoFurtherThanThePod() throws {
        let world = try World()
        try world.startFactory()
        world.ask(world.request(1, to: Self.other, outsider: 300))
        world.ask(
            LegRequest(number: 2, netns: 1, destination: SocketEndpoint(Self.own, 80), outsider: nil, client: nil))
        world.ask(world.request(3, to: IPAddress(high: 0xfd81 << 48, low: 1)))
        try world.turn { world.answers.count == 3 }
        #expect(
            world.answers.map(Self.reason) == [
                "no socket to 10.81.0.2:80: it is for a client outside the mesh, and no address of the pod",
                "no socket to 10.81.0.1:80: namespace 1 is of no enrolled pod",
                "no socket to [fd81::1]:80: the pod has no address of that family",
            ])
        #expect(world.asked.isEmpty)
    }
}

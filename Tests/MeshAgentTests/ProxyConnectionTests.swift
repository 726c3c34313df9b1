// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import ProxyProtocol
import Testing

@testable import MeshAgent

/// What goes to a proxy when something changes.
@Suite(.serialized, .timeLimit(.minutes(1))) struct ProxyConnectionTests {
    private final class World {
        let loop: EventLoop
        let connection = ProxyConnection()
        private var proxy: Link<AgentMessage, ProxyMessage>?
        private(set) var heard: [AgentMessage] = []

        init() throws {
            loop = try EventLoop()
            let (near, far) = try PacketSocket.pair()
            connection.link = try Link(
                on: loop, PacketSocket(near), as: Hello(.agent, program: "1"), expecting: .proxy
            ) { _ in }
            proxy = try Link(on: loop, PacketSocket(far), as: Hello(.proxy, program: "1"), expecting: .agent) {
                [unowned self] event in
                if case .message(let message, _) = event { heard.append(message) }
            }
        }

        func next(_ count: Int) throws -> [AgentMessage] {
            let start = ContinuousClock.now
            while heard.count < count, start.duration(to: .now) < .seconds(10) {
                try loop.turn(waitingAtMost: .milliseconds(2))
            }
            defer { heard = [] }
            return heard
        }
    }

    /// 1 000 Services, 10 000 routes.
    private static let large = ConfigurationState(
        generation: 1,
        records: Dictionary(
            uniqueKeysWithValues: (0..<1000).map { (RecordKey(.service, "shop/s\($0):80"), [1, 2, 3]) }
                + (0..<10000).map { (RecordKey(.route, "HTTPRoute shop/r\($0)"), [4, 5, 6]) }))

    @Test func aChangeOfALargeConfigurationIsAsSmallAsItIs() throws {
        let world = try World()
        var state = Self.large
        try world.connection.send(state, nil)
        #expect(try world.next(1) == [.snapshot(1)])
        let (route, service) = (RecordKey(.route, "HTTPRoute shop/r77"), RecordKey(.service, "shop/s5:80"))
        // What is as it was is no change.
        let change = ConfigurationChange(
            of: state, [route: nil, service: [9], RecordKey(.service, "shop/s6:80"): [1, 2, 3]])
        state.apply(change)
        try world.connection.send(state, change)
        #expect(
            try world.next(4) == [.begin(base: 1, generation: 2), .put(service, [9]), .delete(route), .commit(2)])
    }

    @Test func whoHasAnotherGenerationGetsAllOfIt() throws {
        let world = try World()
        var state = ConfigurationState(generation: 1, records: [RecordKey(.service, "shop/a:80"): [1]])
        try world.connection.send(state, nil)
        for value in [UInt8(2), 3] {
            let change = ConfigurationChange(of: state, [RecordKey(.service, "shop/a:80"): [value]])
            state.apply(change)
            // The first is missed.
            if value == 3 { try world.connection.send(state, change) }
        }
        #expect(try world.next(2) == [.snapshot(1), .snapshot(3)])
        // What a proxy keeps of a change that it has refused is not known.
        world.connection.reject("no")
        let change = ConfigurationChange(of: state, [RecordKey(.service, "shop/a:80"): [4]])
        state.apply(change)
        try world.connection.send(state, change)
        #expect(try world.next(1) == [.snapshot(4)])
    }
}

// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxIO
import MeshModel
import ProxyProtocol
import Synchronization
import Testing

@testable import ProxyProcess

/// What a client of a captured connection sees, and what the agent is asked for.
@Suite(.serialized, .timeLimit(.minutes(1))) struct HTTPEngineTests {
    private typealias World = EngineWorld

    private static func web(_ ports: [UInt16]) -> ProxyRecord {
        World.service("web", ports, addresses: [World.address])
    }

    private static func to(_ name: String, weight: UInt32 = 1) -> RouteBackend {
        RouteBackend(reference: RouteBackendReference(name: name, port: 80), weight: weight)
    }

    @Test func aRequestGoesThroughALegOfThePod() throws {
        let backend = try NamedBackend("web")
        let world = try World()
        try world.configure([Self.web([backend.port]), World.client])
        let client = world.client()
        #expect(try world.get(client, "/a").body == "web")
        #expect(try world.get(client, "/b").body == "web")
        // One for both requests.
        let destination = SocketEndpoint(World.loopback, backend.port)
        #expect(world.legs == [LegRequest(number: 1, netns: World.netns, destination: destination, client: nil)])
        #expect(backend.requests.map { String($0.prefix(15)) } == ["GET /a HTTP/1.1", "GET /b HTTP/1.1"])
        let status = try world.status()
        #expect((status.connections, status.accepted, status.refused) == (1, 1, 0))
    }

    @Test func aConnectionFromOutsideGetsALegOfThePodThatItIsFor() throws {
        let backend = try NamedBackend("web")
        let world = try World(origins: { (_) throws(SystemError) in World.origin(from: nil, .inbound) })
        try world.configure([Self.web([backend.port])])
        #expect(try world.get(world.client()).body == "web")
        #expect(world.legs.map(\.netns) == [World.netns])
    }

    @Test func weightsAndMatchesOfARouteAreKept() throws {
        let (one, two, three) = (try NamedBackend("1"), try NamedBackend("2"), try NamedBackend("3"))
        let world = try World()
        try world.configure([
            Self.web([one.port]), World.service("two", [two.port]), World.service("three", [three.port]), World.client,
            World.route([
                .init(
                    matches: [HTTPRouteMatch(headers: [FieldMatch("x-canary", "yes")])], backends: [Self.to("three")]),
                .init(backends: [Self.to("web", weight: 3), Self.to("two", weight: 1)]),
            ]),
        ])
        let client = world.client()
        #expect(try world.get(client, "/", "X-Canary: yes\r\n").body == "3")
        var counts: [String: Int] = [:]
        for _ in 0..<200 { counts[try world.get(client).body, default: 0] += 1 }
        // 50 expected, deviation 6.1: five of them.
        let second = try #require(counts["2"])
        #expect(second > 19 && second < 81)
        #expect(counts["1"] == 200 - second)
    }

    @Test func aConfigurationIsReplacedUnderRequests() throws {
        let (one, two) = (try NamedBackend("1"), try NamedBackend("2"))
        let world = try World(HTTPEngine.Options(workers: 2))
        func records(_ name: String) -> [ProxyRecord] {
            [
                Self.web([one.port]), World.service("two", [two.port]), World.client,
                World.route([.init(backends: [Self.to(name)])]),
            ]
        }
        try world.configure(records("web"))
        let clients = (0..<8).map { _ in world.client() }
        for round in 0..<20 {
            for client in clients { client.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n") }
            let generation = world.send(records(round % 2 == 0 ? "two" : "web"))
            var bodies: [String] = []
            try world.turn {
                bodies += clients.compactMap { $0.takeResponse()?.body }
                return bodies.count == clients.count && world.heard.contains(.acknowledge(generation))
            }
            #expect(bodies.allSatisfy { $0 == "1" || $0 == "2" })
            // What is acknowledged holds for every request that begins afterwards.
            #expect(try world.get(clients[round % 8]).body == (round % 2 == 0 ? "2" : "1"))
        }
    }

    @Test func aConfigurationThatCannotBeServedIsRefusedAsAWhole() throws {
        let backend = try NamedBackend("web")
        let world = try World()
        try world.configure([Self.web([backend.port]), World.client])
        let bad = world.send([World.service("web", [0], addresses: [World.address]), World.client])
        try world.turn { if case .reject = world.heard.last { true } else { false } }
        #expect(
            world.heard.last == .reject(bad, reason: "service shop/web:80: nobody can be reached at 127.0.0.1:0"))
        #expect(try world.get(world.client()).body == "web")
    }

    @Test func aLegThatIsRefusedIsAnAnswer() throws {
        let world = try World()
        try world.configure([Self.web([1]), World.client])
        let client = world.client()
        world.refusal = SocketRefusal(errnoCode: 13, "the pod has gone")
        #expect(try world.get(client).head.hasPrefix("HTTP/1.1 503 "))
        try world.turn { world.log.count == 2 }
        #expect(
            world.log.last?.hasPrefix("no connection from namespace 4711 to 127.0.0.1:1: the pod has gone") == true)
        // Nobody listens there.
        world.refusal = nil
        #expect(try world.get(client).head.hasPrefix("HTTP/1.1 503 "))
    }

    @Test func whoseOriginIsUnknownIsReset() throws {
        let answers = Mutex<[Result<KernelOrigin, SystemError>]>([
            .failure(SystemError("getsockopt(MESH_SO_ORIGIN)", errnoCode: ENOENT)), .success(World.origin(in: 99)),
        ])
        let world = try World(origins: { (_) throws(SystemError) in try answers.withLock { $0.removeFirst() }.get() })
        let (first, second) = (world.client(), world.client())
        for client in [first, second] {
            try world.turn {
                client.receive()
                return client.end != nil
            }
            #expect(client.end == .reset)
        }
        try world.turn { world.log.count == 2 }
        #expect(world.log[1].contains("where it came from is not known: getsockopt(MESH_SO_ORIGIN)"))
        #expect(try world.status().refused == 2)
    }

    @Test func drainingLetsWhatIsOpenEnd() throws {
        let backend = try NamedBackend("web")
        let world = try World(HTTPEngine.Options(workers: 2))
        try world.configure([Self.web([backend.port]), World.client])
        let (idle, open) = (world.client(), world.client())
        #expect(try world.get(idle).body == "web")
        open.send("POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 2\r\n\r\n")
        try world.turn { backend.requests.count == 2 }
        world.send(.drain(milliseconds: 2000))
        try world.turn {
            idle.receive()
            return idle.end == .closed
        }
        #expect(!world.heard.contains(.drained))
        open.send("ab")
        var response: (head: String, body: String)?
        try world.turn {
            response = response ?? open.takeResponse()
            open.receive()
            return open.end != nil
        }
        #expect(response?.body == "web")
        try world.turn { world.heard.contains(.drained) }
    }

    @Test func aListenerThatIsTakenBackAcceptsNoMore() throws {
        let backend = try NamedBackend("web")
        let world = try World(HTTPEngine.Options(workers: 2))
        try world.configure([Self.web([backend.port]), World.client])
        let client = world.client()
        #expect(try world.get(client).body == "web")
        world.send(.listenerGone(World.key))
        _ = try world.status()
        // A request on the open connection comes after the worker has taken its command.
        for _ in 0..<4 { #expect(try world.get(client).body == "web") }
        let late = world.client()
        late.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n")
        for _ in 0..<10 { try world.loop.turn(waitingAtMost: .milliseconds(2)) }
        #expect(late.takeResponse() == nil && late.end == nil)
    }
}

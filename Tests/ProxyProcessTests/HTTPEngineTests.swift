// SPDX-License-Identifier: Apache-2.0

import Glibc
import L7Proxy
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
        #expect(
            world.legs == [
                ProxyProtocol.LegRequest(number: 1, netns: World.netns, destination: destination, client: nil)
            ])
        #expect(backend.requests.map { String($0.prefix(15)) } == ["GET /a HTTP/1.1", "GET /b HTTP/1.1"])
        let status = try world.status()
        #expect((status.connections, status.accepted, status.refused) == (1, 1, 0))
    }

    /// As in a process that takes over from another: connections are there before the routes are.
    @Test func aListenerWaitsForTheFirstConfiguration() throws {
        let backend = try NamedBackend("web")
        let world = try World()
        let client = world.client()
        client.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n")
        let status = try world.status()
        #expect(status.listeners == 1 && status.accepted == 0)
        try world.configure([Self.web([backend.port]), World.client])
        var response: (head: String, body: String)?
        try world.turn {
            client.receive()
            response = client.takeResponse()
            return response != nil
        }
        #expect(response?.body == "web")
    }

    @Test func aConnectionFromOutsideGetsALegOfThePodThatItIsFor() throws {
        let backend = try NamedBackend("pod")
        let port = backend.port
        let identities = Mutex<[UInt32]>([300, 300, 301])
        let world = try World(origins: { (_) throws(SystemError) in
            World.origin(fromOutside: identities.withLock { $0.removeFirst() }, to: port)
        })
        try world.configure([World.client])
        // The connection to the pod is kept for the next client, if that is nobody else to the mesh.
        for _ in 0..<3 { #expect(try world.get(world.client()).body == "pod") }
        let destination = SocketEndpoint(World.loopback, port)
        #expect(
            world.legs
                == [(1, 300), (2, 301)].map {
                    ProxyProtocol.LegRequest(
                        number: $0, netns: World.netns, destination: destination, outsider: $1, client: nil)
                })
    }

    @Test func routesAreNotForWhoComesFromOutside() throws {
        let (own, other) = (try NamedBackend("pod"), try NamedBackend("other"))
        let port = own.port
        let world = try World(origins: { (_) throws(SystemError) in World.origin(fromOutside: 300, to: port) })
        let service = ServiceRecord(
            service: NamespacedName(namespace: "shop", name: "web"), port: port, addresses: [World.loopback],
            endpoints: [.init(address: World.loopback, port: other.port)])
        try world.configure([World.client, .service(service)])
        #expect(try world.get(world.client()).body == "pod")
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

    /// The socket was asked for before, and comes after: it is not used.
    @Test func whoJoinsTheMeshElsewhereIsNotReachedInClear() throws {
        let backend = try NamedBackend("web")
        let world = try World()
        let records = [Self.web([backend.port]), World.client]
        try world.configure(records)
        world.holdsLegs = true
        let client = world.client()
        client.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n")
        try world.turn { world.legs.count == 1 }
        let joined = RemotePodRecord(
            pod: NamespacedName(namespace: "shop", name: "far"), serviceAccount: "far", addresses: [World.loopback],
            identity: PerFamily(both: IdentityNumber(rawValue: 300)),
            proven: PerFamily(both: IdentityNumber(rawValue: 301)))
        try world.configure(records + [.remotePod(joined)])
        world.answerLegs()
        var response: (head: String, body: String)?
        try world.turn {
            response = client.takeResponse()
            return response != nil
        }
        #expect(response?.head.hasPrefix("HTTP/1.1 503 ") == true)
        #expect(backend.requests.isEmpty && world.legs.count == 1)
        try world.turn { world.log.contains { $0.hasPrefix("no connection to 127.0.0.1:\(backend.port): ") } }
    }

    @Test func whoseOriginIsUnknownIsReset() throws {
        let answers = Mutex<[Result<KernelOrigin, SystemError>]>([
            .failure(SystemError("getsockopt(MESH_SO_ORIGIN)", errnoCode: ENOENT)), .success(World.origin(in: 99)),
        ])
        let world = try World(origins: { (_) throws(SystemError) in try answers.withLock { $0.removeFirst() }.get() })
        try world.configure([World.client])
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
        // Longer than the test waits.
        world.send(.drain(milliseconds: 60_000))
        try world.turn {
            idle.receive()
            return idle.end == .closed
        }
        // The proxy waits for the client's end.
        idle.close()
        #expect(!world.heard.contains(.drained))
        open.send("ab")
        var response: (head: String, body: String)?
        try world.turn {
            open.receive()
            response = response ?? open.takeResponse()
            return open.end != nil
        }
        #expect(response?.body == "web")
        #expect(response?.head.lowercased().contains("connection: close") == true)
        open.close()
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

    @Test func eachRequestHasALine() throws {
        let backend = try NamedBackend("web")
        let pipe = try LogPipe()
        let world = try World(HTTPEngine.Options(accessLog: .json, accessLogDescriptor: pipe.input.rawValue))
        try world.configure([
            Self.web([backend.port]), World.client,
            World.route([.init(matches: [HTTPRouteMatch(path: .prefix("/a"))])]),
        ])
        let client = world.client()
        #expect(try world.get(client, "/a?b=c").body == "web")
        #expect(try world.get(client, "/other").head.hasPrefix("HTTP/1.1 404 "))
        var text = ""
        try world.turn {
            text += pipe.text()
            return text.count { $0 == "\n" } == 2
        }
        let lines = text.split(separator: "\n")
        for part in [
            #""direction":"outbound","method":"GET","path":"/a?b=c","protocol":"HTTP/1.1","status":200,"#,
            #""response_flags":"-","reason":"-","duration_ms":"#, #""bytes_sent":0,"bytes_recv":3,"#,
            #""src.addr":"127.0.0.1:1","src.workload":"client","src.namespace":"shop","#,
            #""dst.addr":"10.96.0.1:80","dst.service":"web.shop.svc.cluster.local","#, #""authority":"web","#,
            #""route":"HTTPRoute shop/web rule 0","upstream.addr":"127.0.0.1:\#(backend.port)","#,
        ] { #expect(lines[0].contains(part), "\(lines[0])") }
        #expect(lines[1].contains(#""status":404,"response_flags":"NR","reason":"no_route","#))
        #expect(!lines[1].contains("upstream.addr") && !lines[1].contains("\"route\""))
        // The last lines are out before the proxy says that it has drained.
        #expect(try world.get(client, "/a").body == "web")
        client.close()
        world.send(.drain(milliseconds: 100))
        try world.turn { world.heard.contains(.drained) }
        #expect(pipe.text().contains(#""path":"/a","#))
    }

    @Test func http2IsServedAndNamedInTheLog() throws {
        let pipe = try LogPipe()
        let world = try World(HTTPEngine.Options(accessLog: .text, accessLogDescriptor: pipe.input.rawValue))
        try world.configure([Self.web([1]), World.client])
        let client = world.client()
        client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0")
        // HEADERS with END_STREAM and END_HEADERS of stream 1: names of the static table, values as they are.
        client.send(
            "\0\0\u{15}\u{1}\u{5}\0\0\0\u{1}\u{2}\u{3}GET\u{6}\u{4}http\u{4}\u{3}/h2\u{1}\u{3}web")
        var text = ""
        try world.turn {
            client.receive()
            text += pipe.text()
            return text.contains("\n")
        }
        #expect(text.contains("/h2") && text.contains("HTTP/2"))
    }
}

// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import Synchronization
import Testing

@testable import L7Proxy

/// Requests through a worker with HTTP/2 on one side or both, over real sockets.
@Suite(.serialized) struct HTTP2EngineTests {
    private static func bytes(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31) } }

    @Test func aClientOfHTTP2ReachesABackendOfHTTP1() throws {
        let backend = try TestBackend { _ in TestBackend.ok("hello") }
        let rig = try Rig([backend.port])
        let client = HTTP2TestClient(rig.client())
        let get = client.peer.request("GET /a?q=1 HTTP/1.1\r\nHost: web\r\nCookie: a=1; b=2\r\nX: y\r\n\r\n")
        #expect(client.finish(get))
        #expect(client.message(get).first[0] == "200" && client.message(get).body == Array("hello".utf8))
        let post = client.peer.request(
            "POST /b HTTP/1.1\r\nHost: web\r\nContent-Length: 3\r\n\r\n", body: Array("abc".utf8))
        #expect(client.finish(post) && client.message(post).isWhole)
        // RFC 9113 sections 8.2.3 and 8.3.1: one Cookie line, and Host from :authority.
        #expect(
            backend.requests == [
                "GET /a?q=1 HTTP/1.1\r\nHost: web\r\ncookie: a=1; b=2\r\nx: y\r\n\r\n",
                "POST /b HTTP/1.1\r\nHost: web\r\nContent-Length: 3\r\n\r\nabc",
            ])
        let records = rig.recorder.wait(for: 2)
        #expect(records.map(\.status) == [200, 200] && records[1].requestBytes == 3)
        #expect(records.allSatisfy { $0.flags.contains(.http2) })
    }

    @Test func bothProtocolsAreServedOnOneListener() throws {
        let backend = try TestBackend { _ in TestBackend.ok() }
        let rig = try Rig([backend.port])
        let old = rig.client()
        let new = HTTP2TestClient(rig.client())
        for _ in 0..<3 {
            old.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n")
            #expect(old.readMessage().hasSuffix("ok"))
            let stream = new.peer.get()
            #expect(new.finish(stream) && new.message(stream).body == Array("ok".utf8))
        }
        // RFC 9113 section 3.3: only a connection's first bytes are a preface.
        old.send(bytes: H2Frames.opening)
        #expect(old.readMessage().hasPrefix("HTTP/1.1 505 "))
    }

    @Test(arguments: ["kubernetes.io/h2c", "grpc"])
    func aClientOfHTTP1ReachesABackendOfHTTP2(_ appProtocol: String) throws {
        let seen = HTTP2Seen()
        let backend = try TestBackend(http2: seen) { peer, stream, message in
            peer.respond(stream, 200, [("x-seen", message.first[1])], body: message.body)
        }
        let rig = try Rig([backend.port], appProtocol: appProtocol)
        let client = rig.client()
        client.send("POST /p HTTP/1.1\r\nHost: web\r\nContent-Length: 5\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\nhello")
        let response = client.readMessage()
        #expect(response.hasPrefix("HTTP/1.1 200 OK\r\nx-seen: /p\r\n") && response.contains("5\r\nhello\r\n0\r\n"))
        client.send("GET /g HTTP/1.1\r\nHost: web\r\n\r\n")
        #expect(client.readMessage().hasPrefix("HTTP/1.1 200 OK\r\nx-seen: /g\r\n"))
        #expect(backend.connections == 1)
        #expect(seen.requests[0].authority == "web" && seen.requests[0].body == Array("hello".utf8))
        // RFC 9113 section 8.2.2: what is the connection's does not go on.
        #expect(!seen.requests[0].fields.contains { $0.name == "connection" || $0.name == "x-hop" })
        #expect(rig.recorder.wait(for: 2).map(\.responseBytes) == [5, 0])
    }

    @Test func bodiesAndTrailersPassBothWaysFromStreamToStream() throws {
        let seen = HTTP2Seen()
        let backend = try TestBackend(http2: seen) { peer, stream, message in
            peer.respond(stream, 200, [], body: message.body, isLast: false)
            peer.trailers(stream, message.trailers.map { ($0.name, $0.value) } + [("grpc-status", "0")])
        }
        let rig = try Rig([backend.port], appProtocol: "kubernetes.io/h2c")
        let client = HTTP2TestClient(rig.client())
        let body = Self.bytes(300_000)
        let streams = (0..<4).map { number in
            let stream = client.peer.request("POST /\(number) HTTP/1.1\r\nHost: web\r\n\r\n", body: body, isLast: false)
            if let stream { #expect(client.peer.trailers(stream, [("x-sum", "\(number)")])) }
            return stream
        }
        #expect(client.run { recorder in recorder.streams.values.filter { $0.closed == .noError }.count == 4 })
        for (number, stream) in streams.enumerated() {
            let message = client.message(stream)
            #expect(message.body == body)
            #expect(message.trailers == [ReadField("x-sum", "\(number)"), ReadField("grpc-status", "0")])
        }
        #expect(rig.recorder.wait(for: 4).allSatisfy { $0.requestBytes == 300_000 && $0.responseBytes == 300_000 })
        #expect(Poll.until { rig.counters().buffers == 0 }, "idle connections hold no memory")
    }

    @Test func trailersPassBetweenProtocols() throws {
        // RFC 9110 section 6.5; RFC 9112 section 7.1.2; RFC 9113 section 8.1.
        let backend = try TestBackend { backend, connection, _ in
            backend.keep(connection.readHead() + connection.read(until: "x-up: 1\r\n\r\n"))
            connection.send(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n")
            _ = connection.receive()
        }
        let rig = try Rig([backend.port])
        let client = HTTP2TestClient(rig.client())
        let stream = client.peer.request("POST / HTTP/1.1\r\nHost: web\r\n\r\n", body: Array("x".utf8), isLast: false)
        if let stream { #expect(client.peer.trailers(stream, [("x-up", "1")])) }
        #expect(client.finish(stream))
        #expect(client.message(stream).body == Array("abc".utf8))
        #expect(client.message(stream).trailers == [ReadField("x-sum", "7")])
        #expect(backend.requests.first?.hasSuffix("1\r\nx\r\n0\r\nx-up: 1\r\n\r\n") ?? false)
    }

    @Test(arguments: [nil, "kubernetes.io/h2c"])
    func manyStreamsShareAConnection(_ appProtocol: String?) throws {
        let seen = HTTP2Seen()
        let backend =
            if appProtocol == nil {
                try TestBackend { request in TestBackend.ok(String(request.dropFirst(5).prefix { $0 != " " })) }
            } else {
                try TestBackend(http2: seen) { peer, stream, message in
                    peer.respond(stream, body: Array(message.first[1].utf8.dropFirst()))
                }
            }
        let rig = try Rig([backend.port], appProtocol: appProtocol)
        let client = HTTP2TestClient(rig.client())
        for _ in 0..<3 {
            let streams = (0..<60).map { client.peer.get("/\($0)") }
            #expect(client.run { _ in streams.allSatisfy { client.message($0).closed != nil } })
            for (number, stream) in streams.enumerated() {
                #expect(client.message(stream).body == Array("\(number)".utf8))
            }
        }
        #expect(rig.recorder.wait(for: 180).count == 180)
        if appProtocol != nil { #expect(backend.connections == 1, "RFC 9113 section 9.1: one connection is enough") }
    }

    @Test func interimResponsesAndHeadsWithoutBodiesPass() throws {
        // RFC 9110 sections 9.3.2 and 15.2; RFC 9113 section 8.1.
        let backend = try TestBackend { request in
            if request.hasPrefix("HEAD") { return "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n" }
            return "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"
        }
        let rig = try Rig([backend.port])
        let client = HTTP2TestClient(rig.client())
        let head = client.peer.request("HEAD / HTTP/1.1\r\nHost: web\r\n\r\n")
        let get = client.peer.get()
        #expect(client.finish(head, get))
        #expect(client.message(head).fields.contains(ReadField("content-length", "9")))
        #expect(client.message(head).body.isEmpty && client.message(head).isWhole)
        #expect(client.message(get).interim == ["103"] && client.message(get).first[0] == "204")
    }

    @Test func rfc9113Section5_2ASlowBackendStopsTheClientAndNotTheProxysMemory() throws {
        let seen = HTTP2Seen()
        let backend = try TestBackend(http2: seen, consumes: false) { peer, stream, _ in peer.respond(stream) }
        let rig = try Rig([backend.port], appProtocol: "kubernetes.io/h2c")
        let client = HTTP2TestClient(rig.client())
        let stream = client.peer.request(
            "POST / HTTP/1.1\r\nHost: web\r\n\r\n", body: Self.bytes(800_000), isLast: true)
        client.run { ($0.sent[stream?.id ?? 0] ?? 0) >= 98_000 }
        #expect(Poll.until { seen.received == 65_535 }, "the backend's window")
        let counters = rig.counters()
        // The stream's window at most waits in the proxy, in blocks of 32 KiB, and what the connections have borrowed.
        #expect(counters.buffers <= 8)
        #expect(client.peer.recorder.sent[stream?.id ?? 0] ?? 0 <= 65_535 * 2 + 32_768)
    }

    @Test(arguments: [nil, "kubernetes.io/h2c"])
    func rfc9113Section5_2ASlowClientStopsTheBackendAndNotTheProxysMemory(_ appProtocol: String?) throws {
        let size = 800_000
        let seen = HTTP2Seen()
        let backend =
            if appProtocol == nil {
                try TestBackend { _, connection, _ in
                    _ = connection.readHead()
                    connection.send("HTTP/1.1 200 OK\r\nContent-Length: \(size)\r\n\r\n")
                    connection.send(bytes: Self.bytes(size))
                }
            } else {
                try TestBackend(http2: seen) { peer, stream, _ in peer.respond(stream, body: Self.bytes(size)) }
            }
        let rig = try Rig([backend.port], appProtocol: appProtocol)
        let client = HTTP2TestClient(rig.client())
        let stream = client.peer.get()
        let id = stream?.id ?? 0
        #expect(client.run(consumes: false) { ($0.streams[id]?.body.count ?? 0) == 65_535 }, "the client's window")
        #expect(rig.counters().buffers <= 8)
        // It goes on when its client does.
        client.peer.consumeAll()
        #expect(client.finish(stream))
        #expect(client.message(stream).body == Self.bytes(size))
    }

    @Test func aCancelledStreamReachesTheBackend() throws {
        let seen = HTTP2Seen()
        let backend = try TestBackend(http2: seen) { _, _, _ in }
        let rig = try Rig([backend.port], appProtocol: "kubernetes.io/h2c")
        let client = HTTP2TestClient(rig.client())
        let stream = try #require(client.peer.get())
        client.run { _ in true }
        #expect(Poll.until { seen.mostStreams == 1 })
        client.peer.session.reset(stream, .cancel)
        client.run { _ in true }
        #expect(Poll.until { seen.closed == [.cancel] })
        let record = rig.recorder.wait(for: 1)
        #expect(record.map(\.reason) == [.clientGone])
        #expect(backend.connections == 1)
        // The connections live on.
        #expect(rig.counters().connections == 1 && rig.counters().upstreams == 1)
    }

    @Test func aClientThatGoesFreesEverything() throws {
        let seen = HTTP2Seen()
        let backend = try TestBackend(http2: seen) { _, _, _ in }
        let rig = try Rig([backend.port], appProtocol: "kubernetes.io/h2c")
        let client = HTTP2TestClient(rig.client())
        for number in 0..<20 {
            _ = client.peer.request("POST /\(number) HTTP/1.1\r\nHost: web\r\n\r\n", body: [1, 2, 3], isLast: false)
        }
        client.run { _ in true }
        // Not before: those that still wait for a stream are not told to the backend.
        #expect(Poll.until { seen.mostStreams == 20 })
        #expect(Poll.until { rig.counters().exchanges == 20 })
        client.connection.reset()
        #expect(Poll.until { rig.counters().exchanges == 0 && rig.counters().connections == 0 })
        #expect(Poll.until { seen.closed.count == 20 })
        #expect(Poll.until { rig.counters().buffers == 0 })
    }

    @Test func rfc9113Section8_7ARefusedRequestIsSentAgainWhateverItsMethod() throws {
        let seen = HTTP2Seen()
        let refused = HTTP2Seen()
        let backend = try TestBackend(http2: seen) { peer, stream, message in
            let isFirst = refused.state.withLock { state in
                defer { state.received += 1 }
                return state.received == 0
            }
            if isFirst { return peer.session.reset(stream, .refusedStream) }
            peer.respond(stream, body: message.body)
        }
        let rig = try Rig([backend.port], appProtocol: "kubernetes.io/h2c")
        let client = HTTP2TestClient(rig.client())
        let stream = client.peer.request("POST / HTTP/1.1\r\nHost: web\r\n\r\n", body: Self.bytes(5000))
        #expect(client.finish(stream))
        #expect(client.message(stream).first.first == "200" && client.message(stream).body == Self.bytes(5000))
        #expect(seen.requests.count == 2)
    }

    @Test func rfc9113Section6_8RequestsAboveTheLastStreamOfAGoAwayAreSentAgain() throws {
        let seen = HTTP2Seen()
        let backend = try TestBackend { backend, connection, number in
            let peer = H2Peer.server()
            while true {
                connection.send(bytes: peer.output())
                guard case .bytes(let bytes) = connection.receive() else { return }
                peer.receive(bytes)
                for (id, message) in peer.recorder.streams where message.isWhole && message.closed == nil {
                    guard let stream = peer.recorder.live.removeValue(forKey: id) else { continue }
                    if number == 0, id > 1 {
                        // Stream 1 is processed, those above it are not.
                        connection.send(
                            bytes: peer.output() + H2Frames.frame(7, 0, 0, H2Frames.big(1) + H2Frames.big(0)))
                        return
                    }
                    seen.state.withLock { $0.requests.append(message) }
                    peer.respond(stream, body: Array("\(number)".utf8))
                }
            }
        }
        let rig = try Rig([backend.port], appProtocol: "kubernetes.io/h2c")
        let client = HTTP2TestClient(rig.client())
        let first = client.peer.get()
        #expect(client.finish(first) && client.message(first).body == [0x30])
        let second = client.peer.request("POST / HTTP/1.1\r\nHost: web\r\n\r\n", body: [1])
        #expect(client.finish(second) && client.message(second).body == [0x31])
        #expect(backend.connections == 2)
    }

    @Test func rfc9113Section5_1_2TheBackendsLimitOfStreamsIsKept() throws {
        var limits = HTTP2Limits()
        limits.concurrentStreams = 2
        let seen = HTTP2Seen()
        let backend = try TestBackend(http2: seen, limits: limits) { peer, stream, _ in
            peer.respond(stream, body: [0x78])
        }
        let rig = try Rig([backend.port], appProtocol: "kubernetes.io/h2c")
        let client = HTTP2TestClient(rig.client())
        let streams = (0..<12).map { _ in client.peer.get() }
        #expect(client.run { _ in streams.allSatisfy { client.message($0).closed != nil } })
        #expect(streams.allSatisfy { client.message($0).first.first == "200" })
        #expect(seen.mostStreams <= 2)
    }

    @Test func aStreamThatEndsMakesRoomForTheRequestThatWaits() throws {
        var limits = HTTP2Limits()
        limits.concurrentStreams = 1
        let seen = HTTP2Seen()
        let backend = try TestBackend(http2: seen, limits: limits) { peer, stream, _ in
            peer.respond(stream, body: [0x78])
        }
        let rig = try Rig([backend.port], appProtocol: "kubernetes.io/h2c") { $0.connectionsPerPool = 1 }
        // Of HTTP/1: their responses are over before the session has told the end of the stream.
        let clients = (0..<6).map { _ in rig.client() }
        for _ in 0..<2 {
            for client in clients { client.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n") }
            for client in clients { #expect(client.readMessage().hasPrefix("HTTP/1.1 200 ")) }
        }
        #expect(backend.connections == 1 && seen.mostStreams == 1)
    }

    @Test func rfc9113Section6_8ADrainTellsTheEndInTwoSteps() throws {
        let seen = HTTP2Seen()
        let backend = try TestBackend(http2: seen) { peer, stream, message in
            if message.first[1] == "/now" { peer.respond(stream, body: [1]) }
        }
        let rig = try Rig([backend.port], appProtocol: "kubernetes.io/h2c")
        let client = HTTP2TestClient(rig.client())
        let open = client.peer.get("/later")
        let quick = client.peer.get("/now")
        #expect(client.finish(quick))
        rig.worker.drain(milliseconds: 60_000) {}
        #expect(client.run { $0.goAways.count >= 2 }, "a notice, and the last stream")
        #expect(client.message(open).closed == nil, "a request under way goes on")
        rig.worker.drain(milliseconds: 0) {}
        client.run { $0.streams[open?.id ?? 0]?.closed != nil }
        #expect(client.message(open).closed == .cancel, "the deadline")
    }
}

// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxIO
import MeshModel
import Synchronization
import Testing

@testable import L7Proxy

/// A tunnel's end is passed on when all that was sent before it was, whatever has become of the client's stream.
@Suite(.serialized) struct TunnelEndTests {
    /// Less than the window of the client's stream, so that the client can send all of it and its end.
    private static let body = String(repeating: "0123456789abcdef", count: 3_750)

    private static func open(_ client: HTTP2TestClient) -> HTTP2Stream? {
        client.peer.request(
            "GET /chat HTTP/1.1\r\nHost: web\r\nSec-WebSocket-Version: 13\r\n\r\n", body: [], isLast: false,
            tunnel: "websocket")
    }

    /// Opens a tunnel whose backend ends its direction, and sends the body and the end. - Returns: When both ends of the
    /// stream are told.
    private static func runOver(_ client: HTTP2TestClient) -> Bool {
        let stream = open(client)
        guard client.run(until: { $0.streams[stream?.id ?? 0]?.isWhole ?? false }), let stream else { return false }
        client.peer.session.offerBody(stream, client.peer.lend(Array(body.utf8)), isLast: true)
        return client.finish(stream) && client.message(stream).closed == .noError
    }

    /// How a client goes when its stream is over.
    enum Leaving: CaseIterable {
        case stays, closes
    }

    /// A backend whose socket takes little until `gate` is open.
    private static func slowHTTP1(_ gate: Gate) throws -> TestBackend {
        try TestBackend(receiveBuffer: 4096) { backend, connection, _ in
            connection.send(WebSocketEnds.switched(connection.readHead()))
            connection.endOutput()
            _ = Poll.until { gate.isOpen }
            let (text, end) = connection.readToEnd()
            backend.keep("\(text.utf8.count) \(end) \(text == Self.body)")
        }
    }

    @Test(arguments: Leaving.allCases)
    func whatWaitsForABackendOfHTTP1IsDelivered(_ leaving: Leaving) throws {
        let gate = Gate()
        let backend = try Self.slowHTTP1(gate)
        let rig = try Rig([backend.port], legs: { Self.narrow($0) })
        let client = HTTP2TestClient(rig.client())
        #expect(Self.runOver(client))
        // Some of it is still here.
        #expect(rig.counters().exchanges == 1)
        // Not close(2): with bytes that were not read that would be a reset.
        if leaving == .closes { client.connection.endOutput() }
        gate.open()
        #expect(Poll.until { !backend.requests.isEmpty })
        #expect(backend.requests == ["\(Self.body.utf8.count) end true"])
        let record = rig.recorder.wait(for: 1)[0]
        #expect(record.reason == .tunnelEnded && record.requestBytes == UInt64(Self.body.utf8.count))
        #expect(Poll.until { rig.counters().exchanges == 0 && rig.counters().buffers == 0 })
        if leaving == .closes { #expect(Poll.until { rig.counters().connections == 0 }) }
        withExtendedLifetime(client) {}
    }

    /// A connection that takes few bytes before its peer reads.
    private static func narrow(_ request: LegRequest) -> LegAnswer {
        let answer = Rig.connect(request)
        if case .descriptor(let raw) = answer {
            var size: CInt = 4096
            setsockopt(raw, SOL_SOCKET, SO_SNDBUF, &size, socklen_t(MemoryLayout<CInt>.size))
        }
        return answer
    }

    private static let smallWindow: HTTP2Limits = {
        var limits = HTTP2Limits()
        limits.streamWindow = 4096
        return limits
    }()

    /// A backend of HTTP/2 with a small window, which it opens when it is asked for `/go`.
    private static func slowHTTP2() throws -> TestBackend {
        try TestBackend { backend, connection, _ in
            let peer = H2Peer.server(Self.smallWindow)
            var greeted: Set<Int32> = []
            var consumes = false
            while true {
                connection.send(bytes: peer.output())
                guard case .bytes(let bytes) = connection.receive() else { return }
                peer.receive(bytes)
                for (id, message) in peer.recorder.streams where greeted.insert(id).inserted {
                    guard let stream = peer.recorder.live[id] else { continue }
                    consumes = consumes || message.first[1] == "/go"
                    peer.respond(stream, 200, body: [], isLast: true)
                }
                if consumes { peer.consumeAll() }
                for (id, message) in peer.recorder.streams where message.first[1] == "/chat" && message.isWhole {
                    backend.keep("\(message.body.count) \(message.body == Array(Self.body.utf8))")
                    peer.recorder.streams[id]?.isWhole = false
                }
            }
        }
    }

    @Test(arguments: Leaving.allCases)
    func whatWaitsForABackendOfHTTP2IsDelivered(_ leaving: Leaving) throws {
        let backend = try Self.slowHTTP2()
        let rig = try Rig([backend.port], appProtocol: "kubernetes.io/h2c")
        let client = HTTP2TestClient(rig.client())
        #expect(Self.runOver(client))
        #expect(rig.counters().exchanges == 1)
        if leaving == .closes { client.connection.endOutput() }
        let other = HTTP2TestClient(rig.client())
        let go = other.peer.get("/go")
        #expect(other.finish(go))
        #expect(Poll.until { !backend.requests.isEmpty })
        #expect(backend.requests == ["\(Self.body.utf8.count) true"])
        #expect(rig.recorder.wait(for: 2).contains { $0.requestBytes == UInt64(Self.body.utf8.count) })
        #expect(Poll.until { rig.counters().exchanges == 0 && rig.counters().buffers == 0 })
        #expect(backend.connections == 1)
    }

    @Test func whatIsLeftOfATunnelIsGivenUp() throws {
        let backend = try Self.slowHTTP2()
        let rig = try Rig([backend.port], appProtocol: "kubernetes.io/h2c") {
            $0.headTimeout = 1000
            $0.idleTimeout = 1000
            $0.stallTimeout = 1000
        }
        let client = HTTP2TestClient(rig.client())
        #expect(Self.runOver(client))
        let record = rig.recorder.wait(for: 1)[0]
        #expect(record.reason == .responseStalled && record.requestBytes < UInt64(Self.body.utf8.count))
        #expect(Poll.until { rig.counters().exchanges == 0 && rig.counters().buffers == 0 })
        #expect(backend.requests.isEmpty)
    }

    @Test func aClientThatResetsItsStreamHasItsBytesThrownAway() throws {
        let backend = try Self.slowHTTP2()
        let rig = try Rig([backend.port], appProtocol: "kubernetes.io/h2c")
        let client = HTTP2TestClient(rig.client())
        let stream = Self.open(client)
        #expect(client.run { $0.streams[stream?.id ?? 0]?.isWhole ?? false })
        if let stream {
            client.peer.session.offerBody(stream, client.peer.lend(Array(Self.body.utf8)), isLast: false)
            #expect(client.run { $0.sent[stream.id] ?? 0 == Self.body.utf8.count })
            client.peer.session.reset(stream, .cancel)
        }
        #expect(client.finish(stream))
        #expect(Poll.until { rig.counters().exchanges == 0 && rig.counters().buffers == 0 })
        #expect(backend.requests.isEmpty && rig.recorder.wait(for: 1)[0].reason == .clientGone)
    }

    @Test func aBackendThatIsGoneDoesNotKeepATunnel() throws {
        let backend = try TestBackend { _, connection, _ in
            let peer = H2Peer.server(Self.smallWindow)
            var answered = false
            while peer.recorder.unconsumed.isEmpty {
                connection.send(bytes: peer.output())
                guard case .bytes(let bytes) = connection.receive() else { return }
                peer.receive(bytes)
                if !answered, let stream = peer.recorder.live.values.first {
                    answered = true
                    peer.respond(stream, 200, body: [], isLast: true)
                }
            }
        }
        let rig = try Rig([backend.port], appProtocol: "kubernetes.io/h2c")
        let client = HTTP2TestClient(rig.client())
        let stream = Self.open(client)
        #expect(client.run { $0.streams[stream?.id ?? 0]?.isWhole ?? false })
        if let stream {
            client.peer.session.offerBody(stream, client.peer.lend(Array(Self.body.utf8)), isLast: true)
        }
        _ = client.finish(stream)
        #expect(Poll.until { rig.counters().exchanges == 0 && rig.counters().buffers == 0 })
    }
}

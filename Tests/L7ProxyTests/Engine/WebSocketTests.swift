// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import Testing

@testable import L7Proxy

/// A WebSocket of a client of HTTP/1.1 whose backend speaks HTTP/2 (RFC 8441 section 5).
@Suite(.serialized) struct WebSocketTests {
    /// RFC 6455 section 1.3.
    private static let request =
        "GET /chat?a HTTP/1.1\r\nHost: web\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n"
        + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        + "Sec-WebSocket-Protocol: talk\r\n\r\n"

    private static let pattern: [UInt8] = {
        // A prime, so that no block of the proxy's is like the one before it.
        let block: [UInt8] = (0..<4099).map { 0x61 &+ UInt8(truncatingIfNeeded: ($0 &* 31) % 26) }
        return Array((0..<256).map { _ in block }.joined())
    }()

    private static func rig(
        _ backend: TestBackend, configure: (inout EngineConfiguration) -> Void = { _ in }
    ) throws -> Rig {
        try Rig([backend.port], appProtocol: "kubernetes.io/h2c", configure: configure)
    }

    /// - Returns: A client whose tunnel is there.
    private static func opened(_ rig: Rig) -> TestConnection {
        let client = rig.client()
        client.send(request)
        #expect(client.readHead().hasPrefix("HTTP/1.1 101 "))
        return client
    }

    private static func isEmpty(_ rig: Rig) -> Bool {
        Poll.until { rig.counters().exchanges == 0 && rig.counters().buffers == 0 }
    }

    @Test func itIsAStreamAtABackendThatTakesTunnels() throws {
        let backend = try WebSocketEnds.backend(.answers)
        let rig = try Self.rig(backend)
        let client = rig.client()
        // Said before the tunnel is there: it waits.
        client.send(Self.request + "one ")
        let head = client.readHead()
        #expect(head.hasPrefix("HTTP/1.1 101 Switching Protocols\r\n"))
        let lines = head.lowercased().split(separator: "\r\n")
        #expect(lines.contains("upgrade: websocket") && lines.contains("connection: upgrade"))
        #expect(head.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"))
        #expect(lines.contains("sec-websocket-protocol: talk") && !head.lowercased().contains("transfer-encoding"))
        client.send("two")
        client.endOutput()
        let (text, end) = client.readToEnd()
        #expect(text == "hello one two" && end == .end)
        let fields = ["sec-websocket-protocol=talk", "sec-websocket-version=13", "upgrade=websocket"]
        #expect(backend.requests == ["/chat?a \(fields)", "end one two"])
        let record = rig.recorder.wait(for: 1)[0]
        #expect(record.flags.contains(.upgraded) && record.reason == .tunnelEnded && record.status == 101)
        #expect(record.requestBytes == 7 && record.responseBytes == 13 && record.attempts == 1)
        #expect(Self.isEmpty(rig))
        #expect(rig.counters().upstreams == 1, "the connection goes on")
        #expect(Poll.until { rig.counters().connections == 0 })
    }

    @Test func whatTheClientStillSendsReachesABackendThatHasEndedFirst() throws {
        let backend = try WebSocketEnds.backend(.endsFirst)
        let rig = try Self.rig(backend)
        let client = Self.opened(rig)
        let (text, end) = client.readToEnd()
        #expect(text == "hello " && end == .end)
        // More than a window.
        let body = String(repeating: "0123456789", count: 20_000)
        client.send(body)
        client.close()
        #expect(Poll.until { backend.requests.count == 2 })
        #expect(backend.requests.last == "end \(body)")
        #expect(rig.recorder.wait(for: 1)[0].requestBytes == UInt64(body.utf8.count))
        #expect(Self.isEmpty(rig))
    }

    /// Both at once: an echo that waits for its reader takes nothing in.
    @Test func muchGoesBothWays() throws {
        let backend = try WebSocketEnds.backend(.echoes)
        // A limit of bodies is none of tunnels.
        let rig = try Self.rig(backend) { $0.bodyBytes = 1000 }
        let client = Self.opened(rig)
        try DetachedThread.start {
            client.send(bytes: Self.pattern)
            client.endOutput()
        }
        let (text, end) = client.readToEnd()
        #expect(text.utf8.elementsEqual(Array("hello ".utf8) + Self.pattern) && end == .end)
        let record = rig.recorder.wait(for: 1)[0]
        #expect(record.requestBytes == UInt64(Self.pattern.count))
        #expect(record.responseBytes == record.requestBytes + 6 && record.reason == .tunnelEnded)
        #expect(Self.isEmpty(rig))
    }

    @Test func whoDoesNotReadStopsTheOther() throws {
        let backend = try WebSocketEnds.backend(.waits)
        let rig = try Self.rig(backend)
        let client = Self.opened(rig)
        try DetachedThread.start {
            for _ in 0..<4 { client.send(bytes: Self.pattern) }
            client.endOutput()
        }
        #expect(Poll.until { rig.counters().buffers > 1 })
        // A block each way of the client's connection, and a window of the backend's stream.
        for _ in 0..<20 {
            #expect(rig.counters().buffers <= 6)
            _ = Poll.pause()
        }
        let other = rig.client()
        other.send("GET /go HTTP/1.1\r\nHost: web\r\n\r\n")
        #expect(other.readMessage().hasPrefix("HTTP/1.1 200 "))
        #expect(client.readToEnd().text.utf8.count == WebSocketEnds.said.count)
        let sent = UInt64(4 * Self.pattern.count)
        #expect(Poll.until { rig.recorder.all.contains { $0.requestBytes == sent && $0.reason == .tunnelEnded } })
        #expect(Poll.until { backend.requests.last.map { $0.utf8.count == sent + 4 } ?? false })
        #expect(backend.connections == 1)
    }

    /// A silent tunnel costs no block of memory.
    @Test func aSilentOneHoldsNoBlock() throws {
        let backend = try WebSocketEnds.backend(.echoes)
        let rig = try Self.rig(backend)
        let client = Self.opened(rig)
        client.send("a")
        #expect(client.read(until: "hello a") == "hello a")
        #expect(Poll.until { rig.counters().buffers == 0 })
        #expect(rig.counters().exchanges == 1)
        client.send("b")
        client.endOutput()
        #expect(client.readToEnd().text == "b")
    }

    @Test func aRefusalIsAResponseLikeOthers() throws {
        let backend = try WebSocketEnds.backend(.refuses)
        let rig = try Self.rig(backend)
        let client = rig.client()
        for _ in 0..<2 {
            client.send(Self.request)
            let head = client.readHead()
            #expect(head.hasPrefix("HTTP/1.1 403 ") && !head.lowercased().contains("upgrade"))
            #expect(client.read(until: "no").hasSuffix("no"))
            if head.lowercased().contains("chunked") { _ = client.read(until: "0\r\n\r\n") }
        }
        #expect(rig.recorder.wait(for: 2).allSatisfy { $0.status == 403 && $0.reason == .forwarded })
        // Its end was told as well, not a reset.
        #expect(Poll.until { backend.requests.filter { $0 == "end " }.count == 2 })
        #expect(backend.connections == 1)
    }

    @Test func aBackendThatRefusesTheStreamIsABadGateway() throws {
        let backend = try WebSocketEnds.backend(.resets)
        let rig = try Self.rig(backend)
        let client = rig.client()
        client.send(Self.request)
        #expect(client.readMessage().hasPrefix("HTTP/1.1 502 "))
        #expect(rig.recorder.wait(for: 1)[0].reason == .backendReset)
        #expect(Poll.until { rig.counters().exchanges == 0 })
    }

    @Test func aResetOfTheStreamResetsTheClient() throws {
        let backend = try WebSocketEnds.backend(.breaks)
        let rig = try Self.rig(backend)
        let client = Self.opened(rig)
        #expect(client.read(until: "hello ") == "hello ")
        client.send("x")
        #expect(client.readToEnd().end == .reset)
        #expect(rig.recorder.wait(for: 1)[0].reason == .responseCut)
        #expect(Self.isEmpty(rig))
    }

    @Test func aResetOfTheClientResetsTheStream() throws {
        let backend = try WebSocketEnds.backend(.echoes)
        let rig = try Self.rig(backend)
        let client = Self.opened(rig)
        client.send("x")
        #expect(client.read(until: "hello x") == "hello x")
        client.reset()
        #expect(Poll.until { backend.requests.last == "CANCEL x" })
        #expect(rig.recorder.wait(for: 1)[0].reason == .clientGone)
        #expect(Self.isEmpty(rig))
    }

    /// What else its connection to the backend carries says nothing about it.
    @Test func aSilentOneEndsAfterATimeThoughItsConnectionIsBusy() throws {
        let backend = try WebSocketEnds.backend(.echoes)
        let rig = try Self.rig(backend) { $0.tunnelIdleTimeout = 40 }
        let client = Self.opened(rig)
        let other = rig.client()
        let ended = Poll.until {
            other.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n")
            _ = other.read(until: "plain")
            _ = other.read(until: "\r\n0\r\n\r\n")
            return rig.recorder.all.contains { $0.flags.contains(.upgraded) }
        }
        #expect(ended && client.readToEnd().end == .reset && backend.connections == 1)
    }

    /// Who asks for a tunnel of a backend that speaks both protocols, and takes none by HTTP/2.
    enum Asker: CaseIterable {
        case http1, http2
    }

    /// By HTTP/2 it may not be asked (RFC 8441 section 3).
    @Test(arguments: Asker.allCases)
    func aBackendWithoutTunnelsIsAskedByHTTP1(_ asker: Asker) throws {
        let backend = try TestBackend { backend, connection, _ in
            guard case .bytes(var bytes) = connection.receive() else { return }
            if bytes.starts(with: "PRI ".utf8) {
                var limits = HTTP2Limits()
                limits.takesExtendedConnect = false
                let peer = H2Peer.server(limits)
                while true {
                    peer.receive(bytes)
                    if !peer.recorder.streams.isEmpty { backend.keep("asked") }
                    connection.send(bytes: peer.output())
                    guard case .bytes(let more) = connection.receive() else { return }
                    bytes = more
                }
            }
            let head = String(decoding: bytes, as: UTF8.self)
            backend.keep(head.lowercased().contains("upgrade: websocket\r\n") ? "HTTP/1.1" : head)
            connection.send(WebSocketEnds.switched(head))
            connection.send(connection.readToEnd().text)
        }
        let rig = try Self.rig(backend)
        for round in 1...2 {
            switch asker {
            case .http1:
                let client = Self.opened(rig)
                client.send("hello")
                client.endOutput()
                #expect(client.readToEnd().text == "hello")
            case .http2:
                let client = HTTP2TestClient(rig.client())
                let stream = client.peer.request(
                    "GET /chat HTTP/1.1\r\nHost: web\r\nSec-WebSocket-Version: 13\r\n\r\n", body: Array("hello".utf8),
                    tunnel: "websocket")
                #expect(client.finish(stream) && client.message(stream).first.first == "200")
                #expect(client.message(stream).body == Array("hello".utf8))
            }
            #expect(backend.requests == Array(repeating: "HTTP/1.1", count: round))
        }
        #expect(rig.recorder.wait(for: 2).allSatisfy { $0.attempts == 1 && $0.reason == .tunnelEnded })
        #expect(Poll.until { rig.counters().exchanges == 0 })
    }

    @Test func aBackendOfHTTP2AloneThatTakesNoTunnelsIsToldApart() throws {
        var limits = HTTP2Limits()
        limits.takesExtendedConnect = false
        let backend = try WebSocketEnds.backend(.answers, limits)
        let rig = try Self.rig(backend)
        let client = rig.client()
        client.send(Self.request)
        #expect(client.readMessage().hasPrefix("HTTP/1.1 501 ") && backend.requests.isEmpty)
        #expect(rig.recorder.wait(for: 1)[0].reason == .methodNotSupported)
        // Other requests go on.
        client.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n")
        #expect(client.readMessage().hasPrefix("HTTP/1.1 200 "))
    }

    @Test func whatIsNoWebSocketIsAskedForWithoutTheUpgrade() throws {
        let backend = try WebSocketEnds.backend(.answers)
        let rig = try Self.rig(backend)
        let client = rig.client()
        client.send("GET /chat HTTP/1.1\r\nHost: web\r\nUpgrade: talk\r\nConnection: Upgrade\r\n\r\n")
        #expect(client.readHead().hasPrefix("HTTP/1.1 200 "))
        #expect(backend.requests == ["GET /chat"])
    }

    @Test func keysAreAnswered() {
        // RFC 6455 section 1.3, and Python's hashlib.
        #expect(WebSocketEnds.accept("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        #expect(WebSocketEnds.accept("AAAAAAAAAAAAAAAAAAAAAA==") == "ICX+Yqv66kxgM0FcWaLWlFLwTAI=")
        #expect(WebSocketEnds.accept("/////////////////////w==") == "XXpj4jYzLM2yUE0C7TIgMwTQh2g=")
    }

    @Test func baseOfAnyLength() {
        func text(_ bytes: [UInt8]) -> String {
            var text = ""
            Base64.withText(
                byteCount: bytes.count, byte: { bytes[$0] }, body: { text = String(decoding: $0, as: UTF8.self) })
            return text
        }
        // RFC 4648 section 10.
        let vectors = ["": "", "f": "Zg==", "fo": "Zm8=", "foo": "Zm9v", "foob": "Zm9vYg==", "fooba": "Zm9vYmE="]
        for (plain, coded) in vectors { #expect(text(Array(plain.utf8)) == coded) }
    }
}

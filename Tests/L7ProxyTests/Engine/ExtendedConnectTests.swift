// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import MeshModel
import Synchronization
import Testing

@testable import L7Proxy

/// Tunnels by a stream of HTTP/2: extended CONNECT (RFC 8441).
@Suite(.serialized) struct ExtendedConnectTests {
    private static func open(
        _ client: HTTP2TestClient, _ path: String = "/chat", _ fields: String = "", name: String = "websocket"
    ) -> HTTP2Stream? {
        client.peer.request(
            "GET \(path) HTTP/1.1\r\nHost: web\r\nSec-WebSocket-Version: 13\r\n\(fields)\r\n", body: [], isLast: false,
            tunnel: name)
    }

    private static func text(_ client: HTTP2TestClient, _ stream: HTTP2Stream?) -> String {
        String(decoding: client.message(stream).body, as: UTF8.self)
    }

    private static func say(_ text: String, _ client: HTTP2TestClient, _ stream: HTTP2Stream?, isLast: Bool = false) {
        guard let stream else { return }
        client.peer.session.offerBody(stream, client.peer.lend(Array(text.utf8)), isLast: isLast)
    }

    @Test func clientsAreToldThatTheyMay() throws {
        let rig = try Rig([])
        let client = HTTP2TestClient(rig.client())
        #expect(client.run { $0.log.contains("settings") })
        #expect(client.peer.session.peerTakesExtendedConnect)
    }

    @Test func aTunnelToABackendOfHTTP1IsAnUpgrade() throws {
        let backend = try TestBackend { backend, connection, _ in
            let head = connection.readHead()
            backend.keep(head)
            connection.send(WebSocketEnds.switched(head) + "hello ")
            let (text, end) = connection.readToEnd()
            connection.send("\(text) \(end)")
        }
        let rig = try Rig([backend.port])
        let client = HTTP2TestClient(rig.client())
        let stream = Self.open(client, "/chat?a", "Sec-WebSocket-Protocol: talk\r\n")
        // Said before the tunnel is there: it waits.
        Self.say("one ", client, stream)
        let greeted = client.run { $0.streams[stream?.id ?? 0]?.body.count == 6 }
        #expect(greeted && Self.text(client, stream) == "hello ")
        Self.say("two", client, stream, isLast: true)
        #expect(client.finish(stream))
        // The client's end has come, and the other direction has gone on.
        #expect(Self.text(client, stream) == "hello one two end")
        let message = client.message(stream)
        #expect(message.first.first == "200" && message.closed == .noError)
        #expect(message.fields.isEmpty, "nothing of the upgrade is left")
        let head = try #require(backend.requests.first)
        #expect(head.hasPrefix("GET /chat?a HTTP/1.1\r\nHost: web\r\n"))
        let lines = head.lowercased().split(separator: "\r\n")
        #expect(lines.contains("upgrade: websocket") && lines.contains("connection: upgrade"))
        #expect(lines.contains("sec-websocket-protocol: talk"))
        let key = try #require(lines.first { $0.hasPrefix("sec-websocket-key: ") })
        #expect(key.count == "sec-websocket-key: ".count + 24 && key.hasSuffix("=="))
        let record = rig.recorder.wait(for: 1)[0]
        #expect(record.flags.isSuperset(of: [.upgraded, .http2]) && record.reason == .tunnelEnded)
        #expect(record.status == 200 && record.requestBytes == 7 && record.responseBytes == 17)
        #expect(Poll.until { rig.counters().exchanges == 0 && rig.counters().buffers == 0 })
        #expect(rig.counters().upstreams == 0, "what was a tunnel is not used again")
    }

    @Test func aBackendMayEndItsDirectionFirst() throws {
        let backend = try TestBackend { backend, connection, _ in
            connection.send(WebSocketEnds.switched(connection.readHead()) + "bye")
            connection.endOutput()
            backend.keep(connection.readToEnd().text)
        }
        let rig = try Rig([backend.port])
        let client = HTTP2TestClient(rig.client())
        let stream = Self.open(client)
        #expect(client.run { $0.streams[stream?.id ?? 0]?.isWhole ?? false })
        #expect(Self.text(client, stream) == "bye")
        Self.say("late", client, stream, isLast: true)
        #expect(client.finish(stream))
        #expect(Poll.until { backend.requests == ["late"] })
    }

    @Test func muchGoesBothWaysWithBoundedMemory() throws {
        let backend = try TestBackend { _, connection, _ in
            connection.send(WebSocketEnds.switched(connection.readHead()))
            while case .bytes(let bytes) = connection.receive() { connection.send(bytes: bytes) }
        }
        let rig = try Rig([backend.port])
        let client = HTTP2TestClient(rig.client())
        let stream = Self.open(client)
        let body = String(repeating: "0123456789", count: 50_000)
        Self.say(body, client, stream, isLast: true)
        #expect(client.finish(stream))
        #expect(Self.text(client, stream) == body)
        #expect(Poll.until { rig.counters().buffers == 0 })
    }

    @Test(arguments: [
        ("HTTP/1.1 403 No\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno", "403", "no"),
        // The upgrade was not seen: no tunnel, and a client that is told 200 would think there is one.
        ("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno", "502", "Bad Gateway"),
    ])
    func whatIsNoTunnelIsNotCalledOne(_ answer: String, _ status: String, _ body: String) throws {
        let backend = try TestBackend { _, connection, _ in
            _ = connection.readHead()
            connection.send(answer)
            _ = connection.readToEnd()
        }
        let rig = try Rig([backend.port])
        let client = HTTP2TestClient(rig.client())
        let stream = Self.open(client)
        #expect(client.finish(stream))
        #expect(client.message(stream).first.first == status && Self.text(client, stream) == body)
        // The connection goes on.
        let other = client.peer.get("/chat")
        #expect(client.finish(other) && client.message(other).first.first == String(answer.dropFirst(9).prefix(3)))
    }

    @Test func aTunnelToABackendOfHTTP2IsAStreamThere() throws {
        let backend = try WebSocketEnds.backend(.answers)
        let rig = try Rig([backend.port], appProtocol: "kubernetes.io/h2c")
        let client = HTTP2TestClient(rig.client())
        let stream = Self.open(client)
        #expect(client.run { $0.streams[stream?.id ?? 0]?.body.count == 6 })
        Self.say("and bye", client, stream, isLast: true)
        #expect(client.finish(stream))
        #expect(Self.text(client, stream) == "hello and bye")
        #expect(
            backend.requests == ["/chat [\"sec-websocket-version=13\", \"upgrade=websocket\"]", "end and bye"])
        #expect(rig.recorder.wait(for: 1)[0].reason == .tunnelEnded)
        #expect(Poll.until { rig.counters().exchanges == 0 && rig.counters().buffers == 0 })
    }

    @Test func muchGoesFromStreamToStreamAndBackAtOnce() throws {
        let backend = try WebSocketEnds.backend(.echoes)
        let rig = try Rig([backend.port], appProtocol: "kubernetes.io/h2c")
        let client = HTTP2TestClient(rig.client())
        let stream = Self.open(client)
        let body = String(repeating: "0123456789", count: 50_000)
        Self.say(body, client, stream, isLast: true)
        #expect(client.finish(stream))
        #expect(Self.text(client, stream) == "hello " + body)
        #expect(Poll.until { rig.counters().buffers == 0 })
    }

    /// RFC 6455 section 4.1: a 101 without the answer to the key is not for this wish.
    @Test(arguments: ["", "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"])
    func aBackendThatDoesNotAnswerTheKeyHasNotAgreed(_ accept: String) throws {
        let backend = try TestBackend { backend, connection, _ in
            _ = connection.readHead()
            connection.send(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\(accept)\r\n")
            _ = connection.readToEnd()
        }
        let rig = try Rig([backend.port])
        let client = HTTP2TestClient(rig.client())
        let stream = Self.open(client)
        #expect(client.finish(stream))
        #expect(client.message(stream).first.first == "502")
        #expect(rig.recorder.wait(for: 1)[0].reason == .backendMalformed)
    }

    /// A key of the client's is none of HTTP/2, and would not be the one that is answered (RFC 8441 section 5).
    @Test func aKeyThatAStreamNamesIsNotPassedOn() throws {
        let backend = try TestBackend { backend, connection, _ in
            let head = connection.readHead()
            backend.keep(head)
            connection.send(WebSocketEnds.switched(head))
        }
        let rig = try Rig([backend.port])
        let client = HTTP2TestClient(rig.client())
        let stream = Self.open(client, "/chat", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")
        Self.say("", client, stream, isLast: true)
        #expect(client.finish(stream) && client.message(stream).first.first == "200")
        let keys = try #require(backend.requests.first).lowercased().split(separator: "\r\n")
            .filter { $0.hasPrefix("sec-websocket-key: ") }
        #expect(keys.count == 1 && keys.first != "sec-websocket-key: dghlihnhbxbszsbub25jzq==")
    }

    @Test func aBackendOfHTTP2ThatTakesNoTunnelsIsNotAsked() throws {
        var limits = HTTP2Limits()
        limits.takesExtendedConnect = false
        let backend = try WebSocketEnds.backend(.answers, limits)
        let rig = try Rig([backend.port], appProtocol: "kubernetes.io/h2c")
        let client = HTTP2TestClient(rig.client())
        let stream = Self.open(client)
        #expect(client.finish(stream))
        #expect(client.message(stream).first.first == "501" && backend.requests.isEmpty)
        #expect(rig.recorder.wait(for: 1)[0].reason == .methodNotSupported)
    }

    @Test func aTunnelThatItsClientResetsEndsAtTheBackend() throws {
        let backend = try TestBackend { backend, connection, _ in
            connection.send(WebSocketEnds.switched(connection.readHead()) + "hello ")
            _ = connection.readToEnd()
            backend.keep("over")
        }
        let rig = try Rig([backend.port])
        let client = HTTP2TestClient(rig.client())
        let stream = Self.open(client)
        #expect(client.run { $0.streams[stream?.id ?? 0]?.body.count == 6 })
        if let stream { client.peer.session.reset(stream, .cancel) }
        #expect(client.finish(stream))
        #expect(Poll.until { backend.requests == ["over"] })
    }

    @Test func plainConnectIsStillRefused() throws {
        let rig = try Rig([])
        let client = HTTP2TestClient(rig.client())
        let stream = client.peer.request("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", body: [], isLast: false)
        #expect(client.finish(stream))
        #expect(client.message(stream).first.first == "501")
    }

    @Test func keysAreBase64() {
        func text(_ high: UInt64, _ low: UInt64) -> String {
            var text = ""
            WebSocketKey(high, low).withText { text = String(decoding: $0, as: UTF8.self) }
            return text
        }
        #expect(text(0, 0) == "AAAAAAAAAAAAAAAAAAAAAA==")
        #expect(text(.max, .max) == "/////////////////////w==")
        // RFC 6455 section 1.3: "the sample nonce".
        #expect(text(0x7468_6520_7361_6d70, 0x6c65_206e_6f6e_6365) == "dGhlIHNhbXBsZSBub25jZQ==")
    }
}

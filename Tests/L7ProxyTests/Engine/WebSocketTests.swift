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

    /// What a backend of HTTP/2 does with a request for a tunnel.
    private enum Answer {
        /// Greets; answers the client's end with what it was told, and ends.
        case echoes
        /// Ends its direction with the greeting.
        case endsFirst
        case refuses
        case resets
    }

    private static func backend(_ answer: Answer, _ limits: HTTP2Limits = HTTP2Limits()) throws -> TestBackend {
        try TestBackend { backend, connection, _ in
            let peer = H2Peer.server(limits)
            var greeted: Set<Int32> = []
            var ended: Set<Int32> = []
            while true {
                connection.send(bytes: peer.output())
                guard case .bytes(let bytes) = connection.receive() else { return }
                peer.receive(bytes)
                peer.consumeAll()
                for (id, message) in peer.recorder.streams {
                    if message.isWhole, message.options.contains(.upgrade), ended.insert(id).inserted {
                        backend.keep("end \(String(decoding: message.body, as: UTF8.self))")
                    }
                    guard let stream = peer.recorder.live[id] else { continue }
                    if greeted.insert(id).inserted {
                        let fields = message.fields.filter { $0.name.hasPrefix("sec-") }
                            .map { "\($0.name)=\($0.value)" }
                        backend.keep(
                            "\(message.first[1]) \(message.options.contains(.extendedConnect)) \(fields.sorted())")
                        switch answer {
                        case .echoes, .endsFirst:
                            peer.respond(
                                stream, 200, [("sec-websocket-protocol", "talk")], body: Array("hello ".utf8),
                                isLast: answer == .endsFirst)
                        case .refuses: peer.respond(stream, 403, body: Array("no".utf8))
                        case .resets: peer.session.reset(stream, .refusedStream)
                        }
                    } else if answer == .echoes, message.isWhole, message.closed == nil {
                        peer.session.offerBody(stream, peer.lend(message.body), isLast: true)
                    }
                }
            }
        }
    }

    private static func rig(_ backend: TestBackend) throws -> Rig {
        try Rig([backend.port], appProtocol: "kubernetes.io/h2c")
    }

    /// By HTTP/2 it may not be asked (RFC 8441 section 3).
    @Test func aBackendWithoutTunnelsIsAskedByHTTP1() throws {
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
            connection.send(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    + "Sec-WebSocket-Accept: x\r\n\r\n")
            connection.send(connection.readToEnd().text)
        }
        let rig = try Self.rig(backend)
        for round in 1...2 {
            let client = rig.client()
            client.send(Self.request)
            #expect(client.readHead().hasPrefix("HTTP/1.1 101 "))
            client.send("hello")
            client.endOutput()
            #expect(client.readToEnd().text == "hello")
            #expect(backend.requests == Array(repeating: "HTTP/1.1", count: round))
        }
        #expect(rig.recorder.wait(for: 2).allSatisfy { $0.attempts == 1 && $0.reason == .tunnelEnded })
        #expect(Poll.until { rig.counters().exchanges == 0 })
    }

    @Test func whatIsNoWebSocketIsAskedForWithoutTheUpgrade() throws {
        let backend = try Self.backend(.refuses)
        let rig = try Self.rig(backend)
        let client = rig.client()
        client.send("GET /chat HTTP/1.1\r\nHost: web\r\nUpgrade: talk\r\nConnection: Upgrade\r\n\r\n")
        #expect(client.readHead().hasPrefix("HTTP/1.1 403 "))
        #expect(backend.requests == ["/chat false []"])
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

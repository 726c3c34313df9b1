// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import L7Proxy

/// Where messages and connections end, over real sockets: what follows a message is never taken for part of it.
@Suite(.serialized) struct MessageEndTests {
    private static let hidden = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"

    struct Smuggled: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let text: String
        var status = 400
    }

    static let smuggled = [
        Smuggled(
            testDescription: "CL.TE",
            text:
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 37\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n\(hidden)"
        ),
        Smuggled(
            testDescription: "TE in HTTP/1.0",
            text: "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n\(hidden)"),
        Smuggled(
            testDescription: "two lengths",
            text: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 32\r\n\r\n\(hidden)"),
        Smuggled(
            testDescription: "chunked is not last",
            text: "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n\(hidden)"),
        Smuggled(
            testDescription: "an unknown coding",
            text: "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n\(hidden)",
            status: 501),
        Smuggled(testDescription: "a lone CR", text: "GET / HTTP/1.1\r\nHost: a\r\nA: b\rC: d\r\n\r\n\(hidden)"),
        Smuggled(testDescription: "a space before the colon", text: "GET / HTTP/1.1\r\nHost : a\r\n\r\n\(hidden)"),
        Smuggled(testDescription: "a fold", text: "GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n\(hidden)"),
        Smuggled(testDescription: "no Host", text: "GET / HTTP/1.1\r\n\r\n\(hidden)"),
        Smuggled(testDescription: "TLS", text: "\u{16}\u{03}\u{01}\u{02}\u{00}\u{01}\u{00}\(hidden)"),
        Smuggled(testDescription: "HTTP/0.9", text: "GET /\r\n\r\n\(hidden)"),
        Smuggled(testDescription: "a long method", text: "\(many("A", 50)) / HTTP/1.1\r\n\r\n\(hidden)", status: 501),
    ]

    @Test(
        "RFC 9112 2.2, 3.2, 5.1, 5.2, 6.1, 6.3: what cannot be framed is answered once, and the connection ends",
        arguments: smuggled)
    func whatCannotBeFramedEndsTheConnection(_ smuggled: Smuggled) throws {
        let backend = try TestBackend { _ in TestBackend.ok() }
        let rig = try Rig([backend.port])
        let client = rig.client()
        client.send(smuggled.text)
        let (text, end) = client.readToEnd()
        #expect(text.hasPrefix("HTTP/1.1 \(smuggled.status) ") && text.contains("\r\nConnection: close\r\n"))
        #expect(text.occurrences(of: "HTTP/1.1 ") == 1 && end == .end)
        #expect(backend.connections == 0)
    }

    @Test("RFC 9112 6.3, 7.1: chunks that are malformed in the middle reach no backend as a whole request")
    func brokenChunksAreNeverMadeWhole() throws {
        let backend = try TestBackend { backend, connection, _ in backend.keep(connection.readToEnd().text) }
        let rig = try Rig([backend.port])
        let client = rig.client()
        client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        #expect(Poll.until { backend.connections == 1 })
        client.send("zz\r\n0\r\n\r\n\(Self.hidden)")
        let (text, _) = client.readToEnd()
        #expect(text.hasPrefix("HTTP/1.1 400 ") && text.occurrences(of: "HTTP/1.1 ") == 1)
        #expect(Poll.until { backend.requests.count == 1 })
        #expect(!backend.requests[0].hasSuffix("0\r\n\r\n") && !backend.requests[0].contains("hidden"))
        #expect(rig.recorder.wait(for: 1)[0].reason == .bodyMalformed)
    }

    @Test("RFC 9110 15.2: an HTTP/1.0 client is sent no interim response")
    func anOldClientIsSentNoInterimResponse() throws {
        let backend = try TestBackend { _, connection, _ in
            _ = connection.readHead()
            connection.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\(TestBackend.ok())")
            _ = connection.readHead()
        }
        let rig = try Rig([backend.port])
        let client = rig.client()
        client.send("GET / HTTP/1.0\r\nHost: web\r\n\r\n")
        let (text, end) = client.readToEnd()
        #expect(text.hasPrefix("HTTP/1.1 200 ") && text.hasSuffix("ok") && !text.contains("Link"))
        #expect(end == .end)
    }

    @Test("RFC 9110 10.1.1: an expectation and its 100 cross between the protocols", arguments: Crossing.all)
    func anExpectationCrosses(_ crossing: Crossing) throws {
        let backend =
            if crossing.backend == 1 {
                try TestBackend { backend, connection, _ in
                    backend.keep(connection.readHead())
                    connection.send("HTTP/1.1 100 Continue\r\n\r\n")
                    connection.send(TestBackend.ok(String(decoding: connection.read(count: 4), as: UTF8.self)))
                    _ = connection.readHead()
                }
            } else {
                try TestBackend { _, connection, _ in
                    let peer = H2Peer.server()
                    var continued = false
                    while true {
                        connection.send(bytes: peer.output())
                        guard case .bytes(let bytes) = connection.receive() else { return }
                        peer.receive(bytes)
                        guard let stream = peer.recorder.live[1], let message = peer.recorder.streams[1] else {
                            continue
                        }
                        if !continued {
                            #expect(message.fields.contains(ReadField("expect", "100-continue")))
                            #expect(message.body.isEmpty)
                            continued = true
                            peer.writer.beginResponse(status: 100)
                            #expect((try? peer.writer.finish().get()) != nil)
                            peer.server.respondInterim(stream, peer.writer)
                        } else if message.isWhole, message.closed == nil {
                            peer.respond(stream, body: message.body)
                        }
                    }
                }
            }
        let rig = try Rig([backend.port], appProtocol: crossing.backend == 1 ? nil : "kubernetes.io/h2c")
        let head = "POST / HTTP/1.1\r\nHost: web\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
        if crossing.client == 1 {
            let client = rig.client()
            client.send(head)
            #expect(client.readHead() == "HTTP/1.1 100 Continue\r\n\r\n")
            client.send("body")
            #expect(client.readMessage().hasPrefix("HTTP/1.1 200 "))
        } else {
            let client = HTTP2TestClient(rig.client())
            let stream = try #require(client.peer.request(head, body: [], isLast: false))
            #expect(client.run { $0.streams[stream.id]?.interim == ["100"] })
            client.peer.session.offerBody(stream, client.peer.lend(Array("body".utf8)), isLast: true)
            #expect(client.finish(stream) && client.message(stream).body == Array("body".utf8))
        }
    }

    @Test(
        "RFC 9113 8.1: a response that is whole before its request is followed by RST_STREAM with NO_ERROR",
        arguments: [1, 2])
    func anEarlyResponseAsksForNoMore(_ version: Int) throws {
        let backend =
            if version == 1 {
                try TestBackend { _, connection, _ in
                    _ = connection.readHead()
                    connection.send("HTTP/1.1 413 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
                    _ = connection.readToEnd()
                }
            } else {
                try TestBackend { _, connection, _ in
                    let peer = H2Peer.server()
                    while true {
                        connection.send(bytes: peer.output())
                        guard case .bytes(let bytes) = connection.receive() else { return }
                        peer.receive(bytes)
                        for stream in peer.recorder.live.values {
                            peer.respond(stream, 413, body: Array("no".utf8))
                            peer.server.resetAfterEnd(stream)
                        }
                        peer.recorder.live = [:]
                    }
                }
            }
        let rig = try Rig([backend.port], appProtocol: version == 1 ? nil : "kubernetes.io/h2c")
        let client = HTTP2TestClient(rig.client())
        let stream = client.peer.request("POST / HTTP/1.1\r\nHost: web\r\n\r\n", body: [1, 2, 3], isLast: false)
        #expect(client.finish(stream))
        let message = client.message(stream)
        #expect(message.first.first == "413" && message.body == Array("no".utf8))
        #expect(message.isWhole && message.closed == .noError)
        // The connection is as good as before.
        let next = client.peer.get()
        #expect(client.finish(next) && client.message(next).first.first == "413")
    }
}

extension String {
    /// How often `text` is in it.
    fileprivate func occurrences(of text: String) -> Int {
        var rest = self[...]
        var count = 0
        while let range = rest.firstRange(of: text) {
            count += 1
            rest = rest[range.upperBound...]
        }
        return count
    }
}

// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import L7Proxy

/// Between the versions, in both directions (RFC 9113 section 8, RFC 9112 section 6).
@Suite struct HTTP2TranslationTests {
    private func http1(_ fields: [(String, String)], end: Bool = true) -> String? {
        let peer = H2Peer.opened()
        peer.receive(H2Frames.headers(1, fields, end: end))
        return peer.recorder.live[1].flatMap { Translation.http1($0) }
    }

    private let post = H2Frames.post

    @Test func requestsToHTTP1() {
        let start = "POST / HTTP/1.1\r\nHost: a\r\n"
        #expect(http1(post) == "\(start)\r\n")
        #expect(http1(post, end: false) == "\(start)Transfer-Encoding: chunked\r\n\r\n")
        #expect(http1(post + [("content-length", "3")], end: false) == "\(start)Content-Length: 3\r\n\r\n")
        #expect(http1(post + [("content-length", "0")]) == "\(start)Content-Length: 0\r\n\r\n")
        #expect(
            http1(post + [("x-a", "b"), ("expect", "100-continue"), ("x-c", "")], end: false)
                == "\(start)x-a: b\r\nexpect: 100-continue\r\nx-c: \r\nTransfer-Encoding: chunked\r\n\r\n")
        #expect(http1(post + [("te", "trailers")]) == "\(start)TE: trailers\r\nConnection: te\r\n\r\n")
        #expect(http1(post + [("host", "a"), ("http2-settings", "AA")]) == "\(start)\r\n")
        #expect(
            http1(post + [("cookie", "a=b"), ("x-a", "b"), ("cookie", "c=d")])
                == "\(start)x-a: b\r\ncookie: a=b; c=d\r\n\r\n")
        #expect(
            http1([(":method", "OPTIONS"), (":scheme", "http"), (":path", "*"), (":authority", "a")])
                == "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(
            http1([(":method", "CONNECT"), (":authority", "a:1")], end: false)
                == "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n")
    }

    @Test func editsOfARequestToHTTP1() {
        let peer = H2Peer.opened()
        peer.receive(H2Frames.headers(1, H2Frames.get))
        let text = Forwarding.withBytes("b:1") { host in
            Forwarding.withBytes("/x?y") { target in
                var forwarding = RequestForwarding()
                forwarding.host = host
                forwarding.target = target
                return Translation.http1(peer.recorder.live[1]!, forwarding)
            }
        }
        #expect(text == "GET /x?y HTTP/1.1\r\nHost: b:1\r\n\r\n")
    }

    private func response(
        _ fields: [(String, String)], to method: String = "GET", end: Bool = true
    ) -> (text: String?, framing: BodyFraming) {
        let peer = H2Peer.client()
        _ = peer.request(
            "\(method) \(method == "CONNECT" ? "a:1" : "/") HTTP/1.1\r\nHost: a:1\r\n\r\n", body: [], isLast: false)
        _ = peer.output()
        peer.receive(H2Frames.frame(4, 0, 0, []) + H2Frames.headers(1, fields, end: end))
        return peer.recorder.live[1].map { Translation.http1Response($0) } ?? (nil, .none)
    }

    @Test func responsesToHTTP1() {
        let whole = response([(":status", "200"), ("x-a", "b")])
        #expect(whole.text == "HTTP/1.1 200 OK\r\nx-a: b\r\nContent-Length: 0\r\n\r\n")
        let streamed = response([(":status", "200")], end: false)
        #expect(
            streamed.text == "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" && streamed.framing == .chunked)
        let sized = response([(":status", "404"), ("content-length", "3")], end: false)
        #expect(sized.text == "HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\n" && sized.framing == .length(3))
        #expect(response([(":status", "204")]).text == "HTTP/1.1 204 No Content\r\n\r\n")
        #expect(
            response([(":status", "304"), ("content-length", "9")]).text
                == "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n")
        let head = response([(":status", "200"), ("content-length", "9")], to: "HEAD")
        #expect(head.text == "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n" && head.framing == .none)
        let tunnel = response([(":status", "200")], to: "CONNECT", end: false)
        #expect(tunnel.text == "HTTP/1.1 200 OK\r\n\r\n" && tunnel.framing == .tunnel)
    }

    private func http2(
        _ text: String, _ forwarding: HTTP2RequestForwarding = HTTP2RequestForwarding()
    ) -> [ReadField]? {
        var fields = FieldTable(capacity: 50)
        var parser = HTTP1RequestParser()
        var writer = HTTP2HeadWriter()
        return Array(text.utf8).withUnsafeBytes { message in
            guard case .complete = parser.parse(message, into: &fields) else { return nil }
            writer.beginRequest(parser.head, &fields, in: message.baseAddress!, forwarding)
            guard case .success = writer.finish() else { return nil }
            return writer.texts
        }
    }

    @Test func requestsToHTTP2() {
        let start = [ReadField(":method", "GET"), ReadField(":scheme", "http")]
        func path(_ path: String, _ authority: String = "a") -> [ReadField] {
            start + [ReadField(":path", path), ReadField(":authority", authority)]
        }
        #expect(http2("GET /b?c HTTP/1.1\r\nHost: a\r\n\r\n") == path("/b?c"))
        #expect(http2("GET http://a/b?c HTTP/1.1\r\nHost: x\r\n\r\n") == path("/b?c"))
        #expect(http2("GET http://a HTTP/1.1\r\nHost: x\r\n\r\n") == path("/"))
        #expect(http2("GET http://a?c HTTP/1.1\r\nHost: x\r\n\r\n") == path("/?c"))
        #expect(
            http2(
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: x-hop, close\r\nX-Hop: 1\r\nKeep-Alive: 1\r\nUpgrade: h2c\r\nTE: gzip, trailers\r\nHTTP2-Settings: AA\r\nX-A:  b \r\n\r\n"
            ) == path("/") + [ReadField("X-A", "b"), ReadField("te", "trailers")])
        #expect(
            http2("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")?.map(\.name)
                == [":method", ":scheme", ":path", ":authority"])
        #expect(
            http2("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n")?.last
                == ReadField("content-length", "12"))
        #expect(
            http2("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n")
                == [ReadField(":method", "CONNECT"), ReadField(":authority", "a:1")])
        #expect(http2("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")?[2] == ReadField(":path", "*"))
        #expect(http2("OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n")?[2] == ReadField(":path", "*"))
        // HTTP/2 has to know whom the request is for.
        #expect(http2("GET / HTTP/1.0\r\n\r\n") == nil)
        #expect(http2("GET / HTTP/1.1\r\nHost:\r\n\r\n") == nil)
    }

    @Test func editsOfARequestToHTTP2() {
        let fields = Forwarding.withBytes("b:1") { host in
            Forwarding.withBytes("/x?y") { target in
                var forwarding = HTTP2RequestForwarding()
                forwarding.host = host
                forwarding.target = target
                forwarding.isHTTPS = true
                return http2("GET / HTTP/1.0\r\n\r\n", forwarding)
            }
        }
        #expect(fields?.map(\.value) == ["GET", "https", "/x?y", "b:1"])
        Forwarding.withBytes("/x y") { target in
            var forwarding = HTTP2RequestForwarding()
            forwarding.target = target
            #expect(http2("GET / HTTP/1.1\r\nHost: a\r\n\r\n", forwarding) == nil)
        }
    }

    @Test func fieldsThatAreAddedAreChecked() {
        func add(_ name: String, _ value: String) -> Bool {
            var writer = HTTP2HeadWriter()
            writer.beginResponse(status: 200)
            Array(name.utf8).withUnsafeBytes { name in
                Array(value.utf8).withUnsafeBytes { writer.field(named: name, $0) }
            }
            return (try? writer.finish().get()) != nil
        }
        #expect(add("x-a", "b") && add("X-A", "b c"))
        for (name, value) in [
            ("", "b"), (":path", "/"), ("x a", "b"), ("x-a", "b\r\nc"), ("x-a", "\u{0}"), ("connection", "close"),
            ("Transfer-Encoding", "chunked"), ("content-length", "1"), ("host", "a"), ("te", "x"),
        ] {
            #expect(!add(name, value), "\(name): \(value.debugDescription)")
        }
        var writer = HTTP2HeadWriter()
        #expect(writer.finish() == .failure(.outOfOrder))
    }

    @Test func responsesToHTTP2() {
        func http2(_ text: String, to method: L7Proxy.Method = .get) -> [ReadField]? {
            var fields = FieldTable(capacity: 50)
            var parser = HTTP1ResponseParser(for: method, expectsUpgrade: true)
            var writer = HTTP2HeadWriter()
            return Array(text.utf8).withUnsafeBytes { message in
                guard case .complete = parser.parse(message, into: &fields) else { return nil }
                writer.beginResponse(parser.head, &fields, in: message.baseAddress!)
                guard case .success = writer.finish() else { return nil }
                return writer.texts
            }
        }
        let status = ReadField(":status", "200")
        #expect(
            http2("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX-A: b\r\nConnection: x-b\r\nX-B: c\r\n\r\n")
                == [status, ReadField("X-A", "b"), ReadField("content-length", "3")])
        #expect(http2("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n") == [status])
        // A response is read so, and the connection not used again; the length must not go on.
        #expect(http2("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n") == [status])
        #expect(http2("HTTP/1.0 200 OK\r\n\r\n") == [status])
        #expect(
            http2("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", to: .head)
                == [status, ReadField("content-length", "9")])
        #expect(http2("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n") == [ReadField(":status", "204")])
        #expect(http2("HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: a\r\n\r\n") == nil)
    }

    /// HTTP/1 to HTTP/2 and back: what is read then is the same message, less what belongs to the connections.
    @Test func thereAndBackAgain() throws {
        var generator = MessageGenerator(seed: 11)
        let link = H2Link()
        var crossed = 0
        for _ in 0..<1500 {
            let text = generator.request()
            guard let message = Reading.of(.request, text).message, !message.authority.isEmpty else { continue }
            let hasBody = message.framing != .none
            guard
                let stream = link.client.request(
                    String(text.prefix(upTo: headEnd(text))), body: hasBody ? message.body : nil)
            else { continue }
            link.settle()
            let live = try #require(
                link.server.recorder.live[stream.id], "\(text.debugDescription): \(link.server.recorder.log.suffix(3))")
            let received = try #require(link.server.recorder.streams[stream.id])
            #expect(received.isWhole && received.body == message.body, "\(text.debugDescription)")
            let head = try #require(Translation.http1(live), "\(text.debugDescription)")
            let body =
                received.framing == .chunked
                ? (message.body.isEmpty
                    ? [] : Array("\(String(message.body.count, radix: 16))\r\n".utf8) + message.body + [13, 10])
                    + Array("0\r\n\r\n".utf8) : message.body
            let bytes = head.unicodeScalars.map { UInt8($0.value) } + body
            let again = try #require(Reading.of(.request, [bytes]).message, "\(head.debugDescription)")
            #expect(again.first[0] == message.first[0])
            let path = message.first[2].isEmpty ? (message.first[0] == "OPTIONS" ? "*" : "/") : message.first[2]
            #expect(Array(again.first[2...]) == [path, message.first[3]])
            #expect(again.authority == message.authority && again.body == message.body)
            #expect(kept(again) == kept(message), "\(text.debugDescription)")
            #expect(again.options.contains(.acceptsTrailers) == message.options.contains(.acceptsTrailers))
            link.server.respond(live)
            link.settle()
            crossed += 1
        }
        #expect(crossed > 500)
        #expect(link.server.session.failure == nil && link.client.session.failure == nil)
    }

    private func headEnd(_ text: String) -> String.Index {
        let bytes = Array(text.utf8)
        // A leading empty line is no end.
        let start = bytes.starts(with: [13, 10]) ? 2 : 0
        let end = (start..<bytes.count - 3).first { Array(bytes[$0..<$0 + 4]) == [13, 10, 13, 10] } ?? bytes.count - 4
        return text.utf8.index(text.utf8.startIndex, offsetBy: end + 4)
    }

    /// The fields that go on, in lower case; Cookie lines as one, at the end.
    private func kept(_ message: ReadMessage) -> [ReadField] {
        var nominated: Set<String> = [
            "connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade", "http2-settings",
            "content-length", "host",
        ]
        for field in message.fields where field.name.lowercased() == "connection" {
            for option in field.value.lowercased().split(separator: ",") {
                nominated.insert(option.filter { $0 != " " && $0 != "\t" })
            }
        }
        let fields = message.fields.map { ReadField($0.name.lowercased(), $0.value) }
            .filter { !nominated.contains($0.name) }
        let cookies = fields.filter { $0.name == "cookie" }.map(\.value)
        guard cookies.count > 1 else { return fields }
        let joined = cookies.filter { !$0.isEmpty }.joined(separator: "; ")
        return fields.filter { $0.name != "cookie" } + [ReadField("cookie", joined)]
    }
}

// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import L7Proxy

/// What a proxy sends on (RFC 9110 section 7.6, RFC 9112 sections 3 to 6).
@Suite struct WriterTests {
    private func forwarded(
        _ text: String, host: String? = nil, target: String? = nil, keepsUpgrade: Bool = false, closes: Bool = false,
        add: (inout HTTP1HeadWriter) -> Void = { _ in }
    ) throws -> String {
        let result = Forwarding.request(
            Array(text.utf8), host: host, target: target, keepsUpgrade: keepsUpgrade, closes: closes, add: add)
        return String(decoding: try #require(result).get(), as: UTF8.self)
    }

    @Test func fieldsOfTheConnectionStayBehind() throws {
        let text = """
            GET /a?b HTTP/1.1\r
            X-First: 1\r
            Host: h:8\r
            Connection: x-named, keep-alive, X-Forwarded-For\r
            Keep-Alive: timeout=5\r
            Proxy-Connection: keep-alive\r
            HTTP2-Settings: AAMAAABkAAQ\r
            TE: gzip\r
            Upgrade: websocket\r
            X-Named: 1\r
            x-NAMED: 2\r
            X-Forwarded-For: 6.6.6.6\r
            Via: 1.1 other\r
            X-Last:\t2 \r
            \r

            """
        #expect(
            try forwarded(text) == "GET /a?b HTTP/1.1\r\nHost: h:8\r\nX-First: 1\r\nVia: 1.1 other\r\nX-Last: 2\r\n\r\n"
        )
    }

    @Test func aNominationCannotTakeFramingOrHostAway() throws {
        let text =
            "POST / HTTP/1.1\r\nHost: h\r\nConnection: host, content-length, transfer-encoding\r\nContent-Length: 1\r\n\r\n"
        #expect(try forwarded(text) == "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n")
    }

    @Test func framingIsWrittenInOneForm() throws {
        let head = "POST / HTTP/1.1\r\nHost: h\r\n"
        #expect(try forwarded(head + "content-length:007 , 007\r\n\r\n") == head + "Content-Length: 7\r\n\r\n")
        #expect(try forwarded(head + "Content-Length: 0\r\n\r\n") == head + "Content-Length: 0\r\n\r\n")
        #expect(
            try forwarded(head + "transfer-encoding:\tCHUNKED \r\n\r\n") == head + "Transfer-Encoding: chunked\r\n\r\n")
    }

    @Test func trailersAndUpgradesAreAskedForAnew() throws {
        let head = "GET / HTTP/1.1\r\nHost: h\r\n"
        #expect(
            try forwarded(head + "TE: trailers, gzip\r\nConnection: TE\r\n\r\n", closes: true)
                == head + "TE: trailers\r\nConnection: close, te\r\n\r\n")
        let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        #expect(try forwarded(head + upgrade) == head + "\r\n")
        #expect(
            try forwarded(head + upgrade, keepsUpgrade: true)
                == head + "Upgrade: websocket\r\nConnection: upgrade\r\n\r\n")
    }

    /// RFC 9112 sections 3.2.1, 3.2.2 and 3.2.4.
    @Test func anAbsoluteTargetBecomesOriginFormAndHost() throws {
        let rest = " HTTP/1.1\r\nHost: other\r\n\r\n"
        #expect(try forwarded("GET http://x:1/a?b" + rest) == "GET /a?b HTTP/1.1\r\nHost: x:1\r\n\r\n")
        #expect(try forwarded("GET http://x" + rest) == "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(try forwarded("GET http://x?b" + rest) == "GET /?b HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(try forwarded("OPTIONS http://x" + rest) == "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(try forwarded("OPTIONS *" + rest) == "OPTIONS * HTTP/1.1\r\nHost: other\r\n\r\n")
        #expect(try forwarded("GET / HTTP/1.0\r\n\r\n") == "GET / HTTP/1.1\r\nHost: \r\n\r\n")
    }

    @Test func hostAndTargetAreRewrittenIfAsked() throws {
        let text = "\r\nGET /a HTTP/1.1\r\nHost: h\r\n\r\n"
        #expect(try forwarded(text, host: "new:80", target: "/b?c") == "GET /b?c HTTP/1.1\r\nHost: new:80\r\n\r\n")
        for host in ["a\r\nX: y", "a b", "a/b", "a\0"] {
            #expect(Forwarding.request(Array(text.utf8), host: host) == .failure(.unsafeValue))
        }
        for target in ["", "a", "/a b", "/a\r\nX: y", "/\0", "/\u{e9}", "http://x/"] {
            #expect(Forwarding.request(Array(text.utf8), target: target) == .failure(.unsafeValue), "\(target)")
        }
    }

    @Test func addedFieldsCannotInject() throws {
        let text = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
        #expect(try forwarded(text) { $0.add("traceparent", "00-1\t2") }.hasSuffix("traceparent: 00-1\t2\r\n\r\n"))
        func failure(_ name: String, _ value: String) -> WriteFailure? {
            guard case .failure(let failure) = Forwarding.request(Array(text.utf8), add: { $0.add(name, value) }) else {
                return nil
            }
            return failure
        }
        for control in (UInt8(0)..<0x20).filter({ $0 != 9 }) + [0x7f] {
            let character = String(UnicodeScalar(control))
            #expect(failure("x", "a" + character + "b") == .unsafeValue, "\(control)")
            #expect(failure("x" + character, "a") == .unsafeName, "\(control)")
        }
        for name in ["", "a b", "a:", "Content-Length", "TRANSFER-ENCODING", "host", "connection", "TE", "upgrade"] {
            #expect(failure(name, "1") == .unsafeName, "\(name)")
        }
    }

    @Test func everyBufferThatIsTooSmallIsSaidToBe() throws {
        let text = "GET http://x/a HTTP/1.1\r\nHost: h\r\nA:1\r\nB: 2\r\nContent-Length: 10\r\nTE: trailers\r\n\r\n"
        let whole = try #require(Forwarding.request(Array(text.utf8), add: { $0.add("c", "3") })).get()
        for room in 0..<whole.count {
            #expect(Forwarding.request(Array(text.utf8), room: room, add: { $0.add("c", "3") }) == .failure(.noRoom))
        }
        #expect(whole.count <= HTTP1HeadWriter.bound(forwarding: UInt32(text.utf8.count)))
    }

    @Test func responsesAreForwardedWithTheFramingTheClientKnows() throws {
        let head = "HTTP/1.0 200 Fine\r\nServer: s\r\nConnection: close\r\n"
        let chunked = try #require(Forwarding.response(head + "\r\n"))
        #expect(chunked.text == "HTTP/1.1 200 Fine\r\nServer: s\r\nTransfer-Encoding: chunked\r\n\r\n")
        #expect(chunked.framing == .chunked)

        var old = ResponseForwarding()
        old.clientMinorVersion = 0
        let untilClose = try #require(
            Forwarding.response("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", old))
        #expect(untilClose.text == "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        #expect(untilClose.framing == .untilClose)

        func text(_ response: String, to method: L7Proxy.Method = .get) -> String? {
            Forwarding.response(response + "\r\n", to: method)?.text
        }
        let length = "Content-Length: 5\r\n"
        #expect(text("HTTP/1.1 200 OK\r\n" + length, to: .head) == "HTTP/1.1 200 OK\r\n" + length + "\r\n")
        #expect(text("HTTP/1.1 304 OK\r\n" + length) == "HTTP/1.1 304 OK\r\n" + length + "\r\n")
        #expect(text("HTTP/1.1 204 OK\r\n" + length) == "HTTP/1.1 204 OK\r\n\r\n")
        #expect(text("HTTP/1.1 103 OK\r\nLink: a\r\n") == "HTTP/1.1 103 OK\r\nLink: a\r\n\r\n")
        #expect(text("HTTP/1.1 200 \r\nContent-Length: 0\r\n") == "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n")
    }

    @Test func anUpgradeIsAnsweredThrough() throws {
        var forwarding = ResponseForwarding()
        forwarding.keepsUpgrade = true
        let text = "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"
        let answer = try #require(Forwarding.response(text, forwarding))
        #expect(answer.text == text)
        #expect(answer.framing == .tunnel)
    }

    @Test func localRepliesSayNoMoreThanTheirStatus() throws {
        func reply(_ reply: HTTP1LocalReply, room: Int = 500) -> Result<String, WriteFailure> {
            var buffer = [UInt8](repeating: 0, count: room)
            return buffer.withUnsafeMutableBytes { bytes in reply.write(into: bytes) { $0.add("X", "y") } }
                .map { String(decoding: buffer[..<$0], as: UTF8.self) }
        }
        let fields = "content-type: text/plain\r\nX: y\r\n\r\n"
        #expect(
            reply(.init(to: .targetTooLong))
                == .success(
                    "HTTP/1.1 414 URI Too Long\r\nContent-Length: 13\r\nConnection: close\r\n\(fields)URI Too Long\n"))
        #expect(
            reply(.init(status: 503, toHead: true, closes: false))
                == .success("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 20\r\n\(fields)"))
        #expect(reply(.init(status: 204, closes: false)) == .success("HTTP/1.1 204 No Content\r\nX: y\r\n\r\n"))
        #expect(reply(.init(status: 503, closes: true), room: 60) == .failure(.noRoom))
        #expect(reply(.init(status: 503, closes: true), room: 120) == .failure(.noRoom))
        for defect in MalformedMessage.allCases {
            #expect(!StatusText.reason(defect.requestStatus).description.isEmpty, "\(defect)")
        }
    }

    @Test func messagesOfAnotherProtocolAreWrittenAndChecked() throws {
        func request(_ method: String, _ target: String, _ authority: String) -> Result<String, WriteFailure> {
            Forwarding.withBytes(method) { method in
                Forwarding.withBytes(target) { target in
                    Forwarding.withBytes(authority) { authority in
                        Forwarding.written(300) {
                            $0.beginRequest(
                                method: method!, target: target!, authority: authority!, framing: .chunked,
                                acceptsTrailers: true)
                        }
                    }
                }
            }.map { String(decoding: $0, as: UTF8.self) }
        }
        #expect(
            request("POST", "/a", "h")
                == .success(
                    "POST /a HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\nConnection: te\r\n\r\n"
                ))
        #expect(request("PO ST", "/a", "h") == .failure(.unsafeName))
        #expect(request("POST", "/a\r\n", "h") == .failure(.unsafeValue))
        #expect(request("POST", "", "h") == .failure(.unsafeValue))
        #expect(request("POST", "/a", "h\r\nX: y") == .failure(.unsafeValue))
        var writer = HTTP1HeadWriter(UnsafeMutableRawBufferPointer(start: nil, count: 0))
        #expect(writer.finish() == .failure(.outOfOrder))
    }
}

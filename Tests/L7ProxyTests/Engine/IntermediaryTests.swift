// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import L7Proxy

/// What an intermediary owes to both sides, seen from end to end. docs/http-rules.md has all rules, and their tests.
@Suite(.serialized) struct IntermediaryTests {
    @Test(
        "RFC 9110 5.1, 5.3, 11.6: unknown fields and credentials go on, lines of a name in order",
        arguments: Crossing.all)
    func whatIsNotTheConnectionsGoesOnUnchanged(_ crossing: Crossing) throws {
        let outcome = try crossing.run(
            "GET / HTTP/1.1\r\nHost: web\r\nX-Unknown: 1\r\nX-List: a\r\nX-Other: o\r\nX-List: b, c\r\n"
                + "Authorization: Basic eA==\r\nProxy-Authorization: Basic eQ==\r\nVia: 1.1 other\r\n\r\n",
            status: 401,
            [
                ("www-authenticate", "Basic realm=\"x\""), ("allow", "GET"), ("set-cookie", "a=1"), ("x-new", "2"),
                ("set-cookie", "b=2"), ("etag", "W/\"1\""),
            ])
        #expect(outcome.status == "401")
        #expect(outcome.asked("x-unknown") == ["1"] && outcome.asked("x-list") == ["a", "b, c"])
        #expect(outcome.asked("authorization") == ["Basic eA=="] && outcome.asked("via") == ["1.1 other"])
        #expect(outcome.asked("proxy-authorization") == ["Basic eQ=="])
        #expect(outcome.answered("www-authenticate") == ["Basic realm=\"x\""] && outcome.answered("allow") == ["GET"])
        #expect(outcome.answered("set-cookie") == ["a=1", "b=2"] && outcome.answered("x-new") == ["2"])
        #expect(outcome.answered("etag") == ["W/\"1\""])
    }

    @Test("RFC 9110 7.6.1: what is the connection's ends with it, in both directions", arguments: Crossing.all)
    func whatIsTheConnectionsEndsWithIt(_ crossing: Crossing) throws {
        let hop = "Connection: x-hop, keep-alive\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: close\r\n"
        let lines = [("connection", "x-back"), ("x-back", "1"), ("keep-alive", "timeout=5"), ("upgrade", "h2c")]
        let outcome = try crossing.run(
            "GET / HTTP/1.1\r\nHost: web\r\n\(hop)TE: gzip\r\nUpgrade: other/1\r\nX-A: b\r\n\r\n",
            crossing.backend == 1 ? lines : [])
        for name in ["connection", "x-hop", "keep-alive", "proxy-connection", "te", "upgrade"] {
            #expect(outcome.asked(name) == [], "\(name)")
        }
        for name in ["connection", "x-back", "keep-alive", "upgrade"] {
            #expect(outcome.answered(name) == [], "\(name)")
        }
        #expect(outcome.asked("x-a") == ["b"])
    }

    @Test("RFC 9110 7.7, RFC 9112 3.2: target and content are not changed", arguments: Crossing.all)
    func targetAndContentAreNotChanged(_ crossing: Crossing) throws {
        let body = (0..<700).map { UInt8(0x21 + $0 &* 7 % 93) }
        let outcome = try crossing.run(
            "GET /a/../b//c%2F%7e;p?x=%20&&y=/?z HTTP/1.1\r\nHost: web\r\n\r\n",
            [("content-encoding", "gzip"), ("cache-control", "no-transform")], body: body)
        #expect(outcome.request?.first[1] == "/a/../b//c%2F%7e;p?x=%20&&y=/?z")
        #expect(outcome.response.body == body && outcome.answered("content-encoding") == ["gzip"])
    }

    @Test(
        "RFC 9112 3.2.2, RFC 9113 8.3.1: the target's authority is the host that the backend sees",
        arguments: Crossing.all)
    func theTargetsAuthorityIsTheHost(_ crossing: Crossing) throws {
        let outcome = try crossing.run("GET http://shop.example:81/a?b HTTP/1.1\r\nHost: other\r\n\r\n")
        #expect(outcome.request?.authority == "shop.example:81" && outcome.request?.first[1] == "/a?b")
    }

    struct Hops: Sendable {
        let method: String
        let before: String
        /// `nil`: the backend is not asked.
        let after: String?
        var status = "200"
    }

    @Test(
        "RFC 9110 7.6.2: Max-Forwards is counted, and answered at 0",
        arguments: [
            Hops(method: "OPTIONS", before: "0", after: nil, status: "204"),
            Hops(method: "OPTIONS", before: "000", after: nil, status: "204"),
            Hops(method: "TRACE", before: "0", after: nil, status: "501"),
            Hops(method: "OPTIONS", before: "1", after: "0"), Hops(method: "TRACE", before: "10", after: "09"),
            Hops(method: "OPTIONS", before: "1000", after: "0999"), Hops(method: "OPTIONS", before: "x", after: "x"),
            // Of other methods it says nothing.
            Hops(method: "GET", before: "0", after: "0"),
        ], Crossing.all)
    func maxForwardsIsCounted(_ hops: Hops, _ crossing: Crossing) throws {
        let outcome = try crossing.run("\(hops.method) / HTTP/1.1\r\nHost: web\r\nMax-Forwards: \(hops.before)\r\n\r\n")
        #expect(outcome.status == hops.status)
        #expect(outcome.asked("max-forwards") == (hops.after.map { [$0] } ?? []))
        #expect((outcome.request == nil) == (hops.after == nil))
    }

    @Test("RFC 9110 7.6.2: every line of Max-Forwards counts, and a retry does not count again")
    func maxForwardsIsCountedOnce() throws {
        let backend = try TestBackend { backend, connection, number in
            backend.keep(connection.readMessage())
            connection.send(TestBackend.ok())
            if number == 0 {
                connection.reset(after: connection.readHead())
            } else {
                backend.keep(connection.readHead())
            }
        }
        let rig = try Rig([backend.port])
        let client = rig.client()
        for _ in 0..<2 {
            client.send("OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 7\r\nMax-Forwards: 3\r\n\r\n")
            #expect(client.readMessage().hasSuffix("ok"))
        }
        #expect(rig.recorder.wait(for: 2)[1].flags.contains(.repeatedAfterClose))
        #expect(backend.requests.count == 2)
        for request in backend.requests { #expect(request.contains("Max-Forwards: 6\r\nMax-Forwards: 2\r\n")) }
    }

    @Test("RFC 9113 3.1: an upgrade to h2c is not passed on")
    func anUpgradeToHTTP2IsNotPassedOn() throws {
        let outcome = try Crossing(client: 1, backend: 1).run(
            "GET / HTTP/1.1\r\nHost: web\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: websocket, h2c\r\n"
                + "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n")
        #expect(outcome.status == "200")
        #expect(outcome.request?.fields.map(\.name) == ["Host"])
    }

    @Test("RFC 9110 9.3.6, RFC 9113 8.5: CONNECT is no method of a gateway", arguments: Crossing.all)
    func connectIsRefused(_ crossing: Crossing) throws {
        let outcome = try crossing.run("CONNECT web:80 HTTP/1.1\r\nHost: web:80\r\n\r\n")
        #expect(outcome.status == "501" && outcome.request == nil)
    }

    @Test("RFC 9110 15.5.20: the proxy makes no 421, and passes on that of a backend", arguments: Crossing.all)
    func a421IsTheBackendsOnly(_ crossing: Crossing) throws {
        #expect(ReasonCode.allCases.allSatisfy { $0.status != 421 })
        #expect(MalformedMessage.allCases.allSatisfy { $0.requestStatus != 421 })
        #expect(try crossing.run("GET / HTTP/1.1\r\nHost: web\r\n\r\n", status: 421).status == "421")
    }

    @Test(
        "RFC 9112 2.2, 5.2, 6.3, RFC 9113 8.1.1: a malformed response is 502, whatever the client speaks",
        arguments: [
            "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "HTTP/1.1 200 OK\nA: b\n\n", "HTTP/1.1 2x0 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "HTTP/1.1 101 X\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA\0: b\r\n\r\n",
        ])
    func aMalformedResponseIs502(_ answer: String) throws {
        let backend = try TestBackend { _, connection, _ in
            _ = connection.readHead()
            connection.send(answer)
            _ = connection.readToEnd()
        }
        let rig = try Rig([backend.port])
        let old = rig.client()
        old.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(old.readMessage().hasPrefix("HTTP/1.1 502 "))
        let new = HTTP2TestClient(rig.client())
        let stream = new.peer.get()
        #expect(new.finish(stream) && new.message(stream).first.first == "502")
        #expect(rig.recorder.wait(for: 2).allSatisfy { $0.reason == .backendMalformed })
    }

    @Test(
        "RFC 9113 8.1.1, 8.2, 8.3: a malformed response of HTTP/2 is 502",
        arguments: [
            [(":status", "200"), ("connection", "close")], [(":status", "200"), ("X-A", "b")], [("x-a", "b")],
            [(":status", "200"), ("x-a", "b\r\nc: d")], [(":status", "101")],
        ])
    func aMalformedResponseOfHTTP2Is502(_ fields: [(String, String)]) throws {
        let backend = try TestBackend { _, connection, _ in
            _ = connection.receive()
            connection.send(bytes: H2Frames.frame(4, 0, 0, []) + H2Frames.headers(1, fields))
            _ = connection.readToEnd()
        }
        let rig = try Rig([backend.port], appProtocol: "kubernetes.io/h2c")
        let client = rig.client()
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        #expect(client.readMessage().hasPrefix("HTTP/1.1 502 "))
    }
}

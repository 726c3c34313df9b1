// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import MeshModel
import Testing

@testable import L7Proxy

/// Copies of requests (Gateway API, HTTPRequestMirrorFilter).
@Suite(.serialized) struct MirrorTests {
    private static func mirror(_ name: String, _ numerator: UInt32 = 100, _ denominator: UInt32 = 100) -> RouteFilter {
        .requestMirror(
            RequestMirror(
                backend: RouteBackendReference(name: name, port: 80), numerator: numerator, denominator: denominator))
    }

    private static func post(_ body: String, path: String = "/") -> String {
        "POST \(path) HTTP/1.1\r\nHost: web\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
    }

    private static let chunked =
        "POST /c HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"

    private static func copies(_ rig: Rig) -> [RequestRecord] { rig.recorder.all.filter { $0.flags.contains(.mirror) } }

    private static func waitForCopies(_ rig: Rig, _ count: Int = 1) -> [RequestRecord] {
        _ = Poll.until { copies(rig).count >= count }
        return copies(rig)
    }

    @Test func aRequestGoesToEachMirrorAsItGoesToItsBackend() throws {
        let main = try TestBackend { _ in TestBackend.ok("main") }
        let one = try TestBackend { _ in "HTTP/1.1 500 No\r\nContent-Length: 3\r\n\r\nbad" }
        let two = try TestBackend { _ in
            "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
        }
        let set = RouteFilter.requestHeaderModifier(HeaderModifier(set: [HeaderField("X-One", "new")]))
        let backend = RouteBackend(
            reference: RouteBackendReference(name: "web", port: 80), filters: [Self.mirror("two")])
        let rig = try Rig(
            [main.port], others: ["one": [one.port], "two": [two.port]],
            rules: [.init(filters: [set, Self.mirror("one")], backends: [backend])])
        let client = rig.client()
        for request in [Self.post("hello"), Self.chunked, "GET /g?q HTTP/1.1\r\nHost: web\r\n\r\n"] {
            client.send(request)
            #expect(client.readMessage().hasSuffix("main"))
            // So that their connections are free again.
            #expect(Poll.until { rig.counters().exchanges == 0 })
        }
        let records = Self.waitForCopies(rig, 6)
        #expect(records.map(\.reason) == [ReasonCode](repeating: .forwarded, count: 6))
        #expect(records.map(\.status).sorted() == [200, 200, 200, 500, 500, 500])
        #expect(records.map(\.requestBytes).sorted() == [0, 0, 5, 5, 7, 7])
        // Chunks may be put together.
        func plain(_ backend: TestBackend) -> [String] {
            backend.requests.map { $0.replacing("3\r\nabc\r\n4\r\ndefg\r\n", with: "7\r\nabcdefg\r\n") }.sorted()
        }
        let expected = plain(main)
        #expect(expected.count == 3 && expected.allSatisfy { $0.contains("X-One: new\r\n") })
        #expect(plain(one) == expected && plain(two) == expected)
        #expect(one.connections == 1, "kept and used again")
        #expect(rig.counters().requests == 3 && rig.counters().mirrors == 6)
    }

    @Test func aShareOfRequestsIsCopied() throws {
        let main = try TestBackend { _ in TestBackend.ok() }
        let other = try TestBackend { _ in TestBackend.ok() }
        let rig = try Rig(
            [main.port], others: ["never": [other.port], "half": [other.port]],
            rules: [.init(filters: [Self.mirror("never", 0), Self.mirror("half", 1, 2)])])
        let client = rig.client()
        for _ in 0..<200 {
            client.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n")
            #expect(client.readMessage().hasSuffix("ok"))
        }
        // 100 expected, deviation 7.1: five of them.
        #expect((65...135).contains(rig.counters().mirrors))
    }

    @Test func whatHappensToACopyDoesNotReachTheRequest() throws {
        let main = try TestBackend { _ in TestBackend.ok("main") }
        let cut = try TestBackend { _, connection, _ in
            _ = connection.readHead()
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx")
        }
        let malformed = try TestBackend { _, connection, _ in
            _ = connection.readHead()
            connection.send("no such protocol\r\n\r\n")
        }
        let mirrors = ["cut", "malformed", "none", "missing", "dead"]
        let rig = try Rig(
            [main.port], others: ["cut": [cut.port], "malformed": [malformed.port], "none": [], "dead": [1]],
            rules: [.init(filters: mirrors.map { Self.mirror($0) })])
        let client = rig.client()
        client.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n")
        #expect(client.readMessage().hasSuffix("main"))
        let reasons = Self.waitForCopies(rig, 5).map(\.reason)
        #expect(
            Set(reasons) == [.responseCut, .backendMalformed, .noEndpoint, .invalidBackend, .connectFailed],
            "\(reasons)")
        #expect(Poll.until { rig.counters().exchanges == 0 && rig.counters().buffers == 0 })
        #expect(rig.counters().connections == 1)
    }

    @Test func aCopyEndsSomeTimeAfterItsRequest() throws {
        let main = try TestBackend { _ in TestBackend.ok("main") }
        let silent = try TestBackend { _, connection, _ in _ = connection.readToEnd() }
        let rig = try Rig(
            [main.port], others: ["silent": [silent.port]], rules: [.init(filters: [Self.mirror("silent")])],
            configure: { $0.mirrorGrace = 20 })
        let client = rig.client()
        client.send(Self.post("hello"))
        #expect(client.readMessage().hasSuffix("main"))
        #expect(Self.waitForCopies(rig).map(\.reason) == [.requestTimeout])
        #expect(Poll.until { rig.counters().exchanges == 0 })
    }

    @Test func aMirrorThatDoesNotReadIsGivenUp() throws {
        let main = try TestBackend { _ in TestBackend.ok("main") }
        // It answers and never reads: the kernel's buffers take some, the copy's queue the rest.
        let stuck = try TestBackend { _, connection, _ in
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            while connection.send("x") { _ = Poll.pause() }
        }
        let rig = try Rig(
            [main.port], others: ["stuck": [stuck.port]], rules: [.init(filters: [Self.mirror("stuck")])],
            configure: { $0.mirrorBytes = 64 * 1024 })
        let client = rig.client()
        let body = String(repeating: "b", count: 16 << 20)
        client.send(Self.post(body))
        #expect(client.readMessage().hasSuffix("main"))
        #expect(Self.waitForCopies(rig).map(\.reason) == [.mirrorDropped])
        #expect(rig.counters().mirrorsDropped == 1)
        #expect(main.requests.first?.utf8.count ?? 0 > 16 << 20)
        #expect(Poll.until { rig.counters().buffers == 0 })
    }

    @Test func copiesBeyondTheLimitAreNotMade() throws {
        let main = try TestBackend { _ in TestBackend.ok("main") }
        let silent = try TestBackend { _, connection, _ in _ = connection.readToEnd() }
        let rig = try Rig(
            [main.port], others: ["silent": [silent.port]],
            rules: [.init(filters: [Self.mirror("silent"), Self.mirror("silent")])], configure: { $0.mirrors = 1 })
        let client = rig.client()
        client.send(Self.post("hello"))
        #expect(client.readMessage().hasSuffix("main"))
        #expect(Self.waitForCopies(rig).map(\.reason) == [.mirrorDropped])
        #expect(rig.counters().mirrors == 1 && rig.counters().mirrorsDropped == 1)
    }

    @Test func aRequestThatIsCutIsNotWholeAtItsMirror() throws {
        let main = try TestBackend { _, connection, _ in _ = connection.readToEnd() }
        let mirror = try TestBackend { backend, connection, _ in
            let (text, _) = connection.readToEnd()
            backend.keep(text)
        }
        let rig = try Rig(
            [main.port], others: ["mirror": [mirror.port]], rules: [.init(filters: [Self.mirror("mirror")])])
        let client = rig.client()
        client.send("POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        #expect(Poll.until { rig.counters().upstreams == 2 })
        client.reset()
        #expect(Self.waitForCopies(rig).map(\.reason) == [.clientGone])
        #expect(Poll.until { !mirror.requests.isEmpty || mirror.connections == 0 })
        #expect(!(mirror.requests.first ?? "").contains("\r\n0\r\n"), "an end was never sent")
    }

    @Test func aRequestThatIsRefusedIsNotCopied() throws {
        let main = try TestBackend { _ in TestBackend.ok("main") }
        let mirror = try TestBackend { _ in TestBackend.ok() }
        var policies = Rig.Policies()
        policies.service.limits = [.init(.route, try #require(RateLimit(requestsPerSecond: 1)))]
        let rig = try Rig(
            [main.port], others: ["mirror": [mirror.port]], rules: [.init(filters: [Self.mirror("mirror")])],
            policies: policies)
        let client = rig.client()
        // A token comes back each second, however slow the machine is.
        var passed: UInt64 = 0
        client.send(Self.post("one"))
        while client.readMessage().hasSuffix("main"), passed < 200 {
            passed += 1
            client.send(Self.post("more"))
        }
        #expect(Poll.until { rig.recorder.all.contains { $0.reason == .rateLimited } })
        #expect(rig.counters().mirrors == passed)
        // The limit is of the Service that was asked: copies take nothing of it.
        #expect(Self.waitForCopies(rig, Int(passed)).allSatisfy { $0.reason == .forwarded })
    }

    @Test func aRepeatedRequestIsCopiedOnce() throws {
        let main = try TestBackend { backend, connection, number in
            let request = connection.readMessage()
            backend.keep(request)
            if number == 1 { return }
            connection.send(TestBackend.ok("main"))
            _ = connection.readMessage()
        }
        let mirror = try TestBackend { _ in TestBackend.ok() }
        var rule = HTTPRoute.Rule(filters: [Self.mirror("mirror")])
        rule.retry = RouteRetry(codes: [], attempts: 2, backoff: GatewayDuration(milliseconds: 1))
        let rig = try Rig([main.port], others: ["mirror": [mirror.port]], rules: [rule])
        for number in 0..<2 {
            // The second one's connection ends without an answer.
            let client = rig.client()
            let path = "/\(number)"
            client.send("PUT \(path) HTTP/1.1\r\nHost: web\r\nContent-Length: 5\r\n\r\nhello")
            _ = client.readMessage()
        }
        let bodies = Self.waitForCopies(rig, 2).map(\.requestBytes)
        #expect(bodies == [5, 5])
        #expect(mirror.requests.allSatisfy { $0.hasSuffix("hello") })
    }

    @Test func streamsAndMirrorsOfHTTP2() throws {
        let seen = HTTP2Seen()
        let mirrorSeen = HTTP2Seen()
        let main = try TestBackend(http2: seen) { peer, stream, message in peer.respond(stream, 200, body: message.body)
        }
        let mirror = try TestBackend(http2: mirrorSeen) { peer, stream, message in
            peer.respond(stream, 200, body: message.body)
        }
        let rig = try Rig(
            [main.port], others: ["mirror": [mirror.port]], rules: [.init(filters: [Self.mirror("mirror")])],
            appProtocol: "kubernetes.io/h2c")
        let client = HTTP2TestClient(rig.client())
        let body = [UInt8](repeating: 7, count: 100_000)
        let big = client.peer.request("POST /big HTTP/1.1\r\nHost: web\r\n\r\n", body: body)
        let small = client.peer.request("GET /small HTTP/1.1\r\nHost: web\r\n\r\n")
        #expect(client.finish(big, small))
        #expect(client.message(big).body == body)
        let plain = rig.client()
        plain.send(Self.chunked)
        #expect(plain.readMessage().contains("abcdefg"))
        // Of which frames are sent while the copy's queue grows.
        let large = String(repeating: "large", count: 100_000)
        plain.send(Self.post(large))
        #expect(plain.readHead().contains("200 OK") && plain.readChunks() == Array(large.utf8))
        let records = Self.waitForCopies(rig, 4)
        #expect(records.map(\.requestBytes).sorted() == [0, 7, 100_000, 500_000])
        #expect(records.map(\.responseBytes).sorted() == [0, 7, 100_000, 500_000])
        #expect(records.allSatisfy { $0.status == 200 && $0.reason == .forwarded })
        #expect(mirrorSeen.requests.map(\.body.count).sorted() == [0, 7, 100_000, 500_000])
        #expect(mirrorSeen.requests.contains { $0.body == Array(large.utf8) })
        #expect(mirrorSeen.requests.first { $0.body.count == 100_000 }?.body == body)
        #expect(Poll.until { rig.counters().exchanges == 0 && rig.counters().buffers == 0 })
    }

    @Test func aStreamIsCopiedToAMirrorOfHTTP1() throws {
        let main = try TestBackend { _ in TestBackend.ok("main") }
        let mirror = try TestBackend { _ in TestBackend.ok("mirror") }
        let rig = try Rig(
            [main.port], others: ["mirror": [mirror.port]], rules: [.init(filters: [Self.mirror("mirror")])])
        let client = HTTP2TestClient(rig.client())
        let stream = client.peer.request("POST /s HTTP/1.1\r\nHost: web\r\n\r\n", body: Array("hello".utf8))
        #expect(client.finish(stream))
        #expect(String(decoding: client.message(stream).body, as: UTF8.self) == "main")
        #expect(Self.waitForCopies(rig).map(\.requestBytes) == [5])
        #expect(mirror.requests == main.requests && mirror.requests.count == 1)
    }
}

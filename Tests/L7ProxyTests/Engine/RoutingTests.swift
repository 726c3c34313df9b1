// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import MeshModel
import Testing

@testable import L7Proxy

/// HTTPRoute semantics through a worker.
@Suite(.serialized) struct RoutingTests {
    private static func to(_ name: String, weight: UInt32 = 1, filters: [RouteFilter] = []) -> RouteBackend {
        RouteBackend(reference: RouteBackendReference(name: name, port: 80), weight: weight, filters: filters)
    }

    private static func prefix(_ path: String) -> [HTTPRouteMatch] { [HTTPRouteMatch(path: .prefix(path))] }

    private func get(_ client: TestConnection, _ path: String, _ lines: String = "") -> String {
        client.send("GET \(path) HTTP/1.1\r\nHost: web\r\n\(lines)\r\n")
        return client.readMessage()
    }

    @Test func rulesChooseBackendsAndWhatNoRuleMatchesIs404() throws {
        let one = try TestBackend { _ in TestBackend.ok("one") }
        let two = try TestBackend { _ in TestBackend.ok("two") }
        let rig = try Rig(
            [one.port], others: ["two": [two.port], "none": []],
            rules: [
                .init(matches: Self.prefix("/own")),
                .init(matches: Self.prefix("/two"), backends: [Self.to("two")]),
                .init(matches: Self.prefix("/none"), backends: [Self.to("none")]),
                .init(matches: Self.prefix("/gone"), backends: [Self.to("missing")]),
                .init(matches: Self.prefix("/zero"), backends: [Self.to("two", weight: 0)]),
            ])
        let client = rig.client()
        #expect(get(client, "/own").hasSuffix("one"))
        #expect(get(client, "/%74wo/x?q").hasSuffix("two"), "an equivalent path meets the same rule")
        #expect(get(client, "/other").hasPrefix("HTTP/1.1 404 "))
        #expect(get(client, "/none").hasPrefix("HTTP/1.1 503 "))
        #expect(get(client, "/gone").hasPrefix("HTTP/1.1 500 "))
        #expect(get(client, "/zero").hasPrefix("HTTP/1.1 500 "))
        let records = rig.recorder.wait(for: 6)
        #expect(
            records.map(\.reason) == [.forwarded, .forwarded, .noRoute, .noEndpoint, .invalidBackend, .noWeight])
        #expect(records[1].rule >= 0 && records[2].rule == -1)
        #expect(two.requests[0].hasPrefix("GET /%74wo/x?q HTTP/1.1\r\n"), "forwarded as it was sent")
    }

    @Test func weightsAreKept() throws {
        let one = try TestBackend { _ in TestBackend.ok("1") }
        let two = try TestBackend { _ in TestBackend.ok("2") }
        let rig = try Rig(
            [one.port], others: ["two": [two.port]],
            rules: [.init(backends: [Self.to("web", weight: 3), Self.to("two", weight: 1)])])
        let client = rig.client()
        var second = 0
        for _ in 0..<400 where get(client, "/").hasSuffix("2") { second += 1 }
        // 100 expected, deviation 8.7: five of them.
        #expect(second > 56 && second < 144)
    }

    @Test func fieldsAreChangedOnBothWaysByRuleAndBackend() throws {
        let backend = try TestBackend { _ in
            "HTTP/1.1 200 OK\r\nServer: old\r\nX-A: 1\r\nContent-Length: 0\r\n\r\n"
        }
        let rig = try Rig(
            [backend.port],
            rules: [
                .init(
                    filters: [
                        .requestHeaderModifier(
                            HeaderModifier(
                                set: [HeaderField("X-One", "new")], add: [HeaderField("X-Two", "b")], remove: ["Cookie"]
                            )),
                        .responseHeaderModifier(HeaderModifier(set: [HeaderField("Server", "mesh")], remove: ["x-a"])),
                    ],
                    backends: [
                        Self.to(
                            "web",
                            filters: [.requestHeaderModifier(HeaderModifier(set: [HeaderField("x-two", "c")]))])
                    ])
            ])
        let client = rig.client()
        let answer = get(client, "/", "x-one: old\r\nX-Two: a\r\ncookie: c\r\n")
        #expect(answer == "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nServer: mesh\r\n\r\n")
        #expect(backend.requests[0] == "GET / HTTP/1.1\r\nHost: web\r\nX-One: new\r\nx-two: c\r\n\r\n")
    }

    @Test func redirectsAndRewrites() throws {
        let backend = try TestBackend { _ in TestBackend.ok() }
        let rig = try Rig(
            [backend.port],
            rules: [
                .init(
                    matches: Self.prefix("/old"),
                    filters: [
                        .requestRedirect(
                            RequestRedirect(
                                scheme: .https, hostname: "new.example", path: .replacePrefixMatch("/n"),
                                statusCode: 301))
                    ]),
                .init(
                    matches: Self.prefix("/api"),
                    filters: [.urlRewrite(URLRewrite(hostname: "inner", path: .replacePrefixMatch("/v2")))],
                    backends: [Self.to("web")]),
            ])
        let client = rig.client()
        let redirect = get(client, "/old/x?q=1")
        #expect(redirect.hasPrefix("HTTP/1.1 301 ") && redirect.contains("location: https://new.example/n/x?q=1\r\n"))
        #expect(get(client, "/api/y?z").hasPrefix("HTTP/1.1 200 "))
        #expect(backend.requests[0].hasPrefix("GET /v2/y?z HTTP/1.1\r\nHost: inner\r\n"))
        #expect(rig.recorder.wait(for: 1)[0].reason == .redirected)
    }

    @Test func crossOriginRequests() throws {
        // https://fetch.spec.whatwg.org/#http-cors-protocol
        let backend = try TestBackend { _ in
            "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: 0\r\n\r\n"
        }
        let policy = CORSPolicy(allowOrigins: ["https://a.example"], allowMethods: ["PUT"])
        let rig = try Rig([backend.port], rules: [.init(filters: [.cors(policy)], backends: [Self.to("web")])])
        let client = rig.client()
        client.send(
            "OPTIONS / HTTP/1.1\r\nHost: a\r\nOrigin: https://a.example\r\nAccess-Control-Request-Method: PUT\r\n\r\n")
        let preflight = client.readHead()
        #expect(preflight.hasPrefix("HTTP/1.1 204 ") && preflight.contains("Access-Control-Allow-Methods: PUT\r\n"))
        let answer = get(client, "/", "Origin: https://a.example\r\n")
        #expect(answer.contains("Access-Control-Allow-Origin: https://a.example\r\n") && !answer.contains(": *"))
        #expect(backend.requests.count == 1)
    }

    @Test func timeLimitsOfARule() throws {
        // GEP-1742.
        let backend = try TestBackend { _, connection, _ in
            let request = connection.readHead()
            if request.contains("/cut") { connection.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab") }
            _ = connection.readToEnd()
        }
        let rig = try Rig(
            [backend.port],
            rules: [
                .init(matches: Self.prefix("/whole"), timeouts: RouteTimeouts(request: .init(milliseconds: 30))),
                .init(
                    matches: Self.prefix("/attempt"), timeouts: RouteTimeouts(backendRequest: .init(milliseconds: 30))),
                .init(matches: Self.prefix("/cut"), timeouts: RouteTimeouts(request: .init(milliseconds: 500))),
            ])
        let client = rig.client()
        #expect(get(client, "/whole").hasPrefix("HTTP/1.1 504 "))
        #expect(get(client, "/attempt").hasPrefix("HTTP/1.1 504 "))
        client.send("GET /cut HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(client.readToEnd().end == .reset)
        #expect(rig.recorder.wait(for: 2).prefix(2).map(\.reason) == [.requestTimeout, .backendTimeout])
    }

    @Test func retriesByStatusByConnectionAndByTime() throws {
        // GEP-1731.
        let backend = try TestBackend { backend, connection, number in
            while true {
                let request = connection.readMessage()
                if request.isEmpty { return }
                backend.keep(request)
                let count = backend.requests.count
                if request.contains("/time"), count % 2 == 1 { continue }
                connection.send(count % 2 == 1 ? "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n" : TestBackend.ok())
            }
        }
        let rig = try Rig(
            [backend.port],
            rules: [
                .init(
                    matches: Self.prefix("/time"),
                    // The second attempt has to be answered within it.
                    timeouts: RouteTimeouts(backendRequest: .init(milliseconds: 1000)),
                    retry: RouteRetry(codes: [503], attempts: 1, backoff: .init(milliseconds: 4))),
                .init(retry: RouteRetry(codes: [503], attempts: 1, backoff: .init(milliseconds: 4))),
            ])
        let client = rig.client()
        #expect(get(client, "/status").hasPrefix("HTTP/1.1 200 "))
        client.send("POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        #expect(client.readMessage().hasPrefix("HTTP/1.1 200 "))
        #expect(backend.requests[2] == backend.requests[3], "the body is sent again, to the letter")
        #expect(get(client, "/time").hasPrefix("HTTP/1.1 200 "))
        #expect(rig.recorder.wait(for: 3).map(\.attempts) == [2, 2, 2])
    }

    @Test func aNewSnapshotIsForTheNextRequestOfAnOpenConnection() throws {
        let one = try TestBackend { _ in TestBackend.ok("one") }
        let two = try TestBackend { _ in TestBackend.ok("two") }
        let rig = try Rig([one.port])
        let client = rig.client()
        #expect(get(client, "/").hasSuffix("one"))
        rig.publish([two.port])
        #expect(get(client, "/").hasSuffix("two"))
        let records = rig.recorder.wait(for: 2)
        #expect(records[0].generation < records[1].generation)
    }

    @Test func aDestinationThatIsNoServiceIsReachedAsItIs() throws {
        let backend = try TestBackend { _ in TestBackend.ok("direct") }
        let rig = try Rig([], destination: .loopback(port: backend.port)) { $0.addsForwardedFor = true }
        let client = rig.client()
        #expect(get(client, "/", "X-Forwarded-For: 1.2.3.4\r\n").hasSuffix("direct"))
        #expect(backend.requests[0].hasSuffix("X-Forwarded-For: 1.2.3.4\r\nx-forwarded-for: 127.0.0.1\r\n\r\n"))
        #expect(rig.recorder.wait(for: 1)[0].service == -1)
    }
}

// SPDX-License-Identifier: Apache-2.0

import MeshModel
import TestSupport
import Testing

/// What a route does to a request, by the tables and sentences of the specification.
@Suite struct RouteEvaluationTests {
    /// Lends texts as bytes.
    private func request<Result>(
        _ path: String, query: String? = nil, authority: String = "",
        _ body: (RouteRequest, UnsafeRawBufferPointer) -> Result
    ) -> Result {
        RequestBytes(.init(method: "GET", path: path, query: query)).borrowed { request, _ in
            Array(authority.utf8).withUnsafeBytes { body(request, $0) }
        }
    }

    private func modified(_ modifier: PathModifier, _ path: String, prefixLength: Int?) -> String {
        request(path) { request, _ in
            var output: [UInt8] = []
            modifier.append(to: &output, path: request.path, prefixLength: prefixLength)
            return String(decoding: output, as: UTF8.self)
        }
    }

    /// The table in the documentation of ReplacePrefixMatch, and the prefix `/`.
    @Test(arguments: [
        ("/foo/bar", "/foo", "/xyz", "/xyz/bar"), ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
        ("/foo/bar", "/foo/", "/xyz", "/xyz/bar"), ("/foo/bar", "/foo/", "/xyz/", "/xyz/bar"),
        ("/foo", "/foo", "/xyz", "/xyz"), ("/foo/", "/foo", "/xyz", "/xyz/"), ("/foo/bar", "/foo", "", "/bar"),
        ("/foo/", "/foo", "", "/"), ("/foo", "/foo", "", "/"), ("/foo/", "/foo", "/", "/"), ("/foo", "/foo", "/", "/"),
        ("/bar", "/", "/xyz", "/xyz/bar"), ("/bar", "/", "/", "/bar"), ("/%66oo/b", "/foo", "/x", "/x/b"),
    ])
    func replacePrefixMatch(_ path: String, _ prefix: String, _ replacement: String, _ expected: String) throws {
        let table = RouterTests.table(RouterTests.http([HTTPRouteMatch(path: .prefix(prefix))]))
        let router = try #require(
            table.router(for: RouterTests.service.namespacedName, port: 80, clientNamespace: "shop"))
        let match = try #require(router.match(.init(method: "GET", path: path)))
        #expect(modified(.replacePrefixMatch(replacement), path, prefixLength: match.prefixLength) == expected)
    }

    @Test func replaceFullPath() {
        #expect(modified(.replaceFullPath("/x"), "/foo/bar", prefixLength: nil) == "/x")
        #expect(modified(.replaceFullPath(""), "/foo/bar", prefixLength: 4) == "/")
        // No prefix was matched: a route that asks for this is not valid, and the path stays.
        #expect(modified(.replacePrefixMatch("/x"), "/foo", prefixLength: nil) == "/foo")
    }

    @Test func rewritesKeepTheQuery() {
        func target(_ rewrite: URLRewrite, query: String?) -> String {
            request("/foo/bar", query: query) { request, _ in
                var output: [UInt8] = []
                rewrite.appendTarget(to: &output, request, prefixLength: 4)
                return String(decoding: output, as: UTF8.self)
            }
        }
        #expect(target(URLRewrite(path: .replacePrefixMatch("/x")), query: "a=b") == "/x/bar?a=b")
        #expect(target(URLRewrite(path: .replaceFullPath("/x")), query: "") == "/x?")
        #expect(target(URLRewrite(hostname: "h"), query: nil) == "/foo/bar")
    }

    struct Location: Sendable {
        var redirect = RequestRedirect()
        var scheme = RequestRedirect.Scheme.http
        var authority = "example.org"
        var port: UInt16 = 80
        var query: String?
        let expected: String
    }

    @Test(arguments: [
        // Scheme and host of the request, the port it was sent to, left out where it is the scheme's.
        Location(expected: "http://example.org/foo/bar"),
        Location(port: 8080, expected: "http://example.org:8080/foo/bar"),
        Location(scheme: .https, port: 443, expected: "https://example.org/foo/bar"),
        Location(scheme: .https, port: 80, expected: "https://example.org:80/foo/bar"),
        // The port in Host is not where the request went.
        Location(authority: "example.org:1234", expected: "http://example.org/foo/bar"),
        Location(authority: "[::1]:1234", port: 8080, expected: "http://[::1]:8080/foo/bar"),
        Location(authority: "[::1]", expected: "http://[::1]/foo/bar"),
        // "If redirect scheme is not-empty, the redirect port MUST be the well-known port".
        Location(redirect: .init(scheme: .https), port: 8080, expected: "https://example.org/foo/bar"),
        Location(redirect: .init(scheme: .http), scheme: .https, port: 8443, expected: "http://example.org/foo/bar"),
        Location(redirect: .init(scheme: .https, port: 8443), expected: "https://example.org:8443/foo/bar"),
        Location(redirect: .init(scheme: .https, port: 443), expected: "https://example.org/foo/bar"),
        Location(redirect: .init(scheme: .https, port: 80), expected: "https://example.org:80/foo/bar"),
        Location(redirect: .init(port: 80), scheme: .http, port: 8080, expected: "http://example.org/foo/bar"),
        Location(redirect: .init(port: 443), scheme: .http, expected: "http://example.org:443/foo/bar"),
        Location(redirect: .init(hostname: "a.b"), port: 8080, expected: "http://a.b:8080/foo/bar"),
        Location(redirect: .init(path: .replaceFullPath("/x")), query: "q=1", expected: "http://example.org/x?q=1"),
        Location(redirect: .init(path: .replacePrefixMatch("/x")), expected: "http://example.org/x/bar"),
        Location(redirect: .init(hostname: "a.b", path: .replacePrefixMatch("")), expected: "http://a.b/bar"),
    ])
    func locations(_ test: Location) {
        let location = request("/foo/bar", query: test.query, authority: test.authority) { request, authority in
            var output: [UInt8] = []
            test.redirect.appendLocation(
                to: &output,
                .init(request: request, scheme: test.scheme, authority: authority, port: test.port, prefixLength: 4))
            return String(decoding: output, as: UTF8.self)
        }
        #expect(location == test.expected)
    }

    /// The examples of HTTPHeaderFilter.
    @Test func headerModifiers() {
        let fields = [HeaderField("My-Header", "foo"), HeaderField("other", "1"), HeaderField("my-header", "bar")]
        func applied(_ modifier: HeaderModifier) -> [String] {
            HeaderModification(modifier).applied(to: fields).map(\.description)
        }
        #expect(applied(.init(set: [.init("my-header", "x")])) == ["other: 1", "my-header: x"])
        #expect(
            applied(.init(add: [.init("my-header", "bar,baz")]))
                == ["My-Header: foo", "other: 1", "my-header: bar", "my-header: bar,baz"])
        #expect(applied(.init(remove: ["MY-HEADER", "absent"])) == ["other: 1"])
        #expect(applied(.init(set: [.init("new", "1")], remove: ["Other"])).last == "new: 1")
    }

    @Test func weightsAreExact() throws {
        let backends = [3, 0, 1].enumerated().map { index, weight in
            RouteBackend(reference: .init(name: "b\(index)", port: 80), weight: UInt32(weight))
        }
        let rule = try #require(compiled(backends))
        var counts = [0, 0, 0]
        // Evenly spread numbers instead of random ones: the shares come out exactly.
        for column in 0..<3 as Range<UInt64> {
            for part in 0..<1000 as Range<UInt64> {
                let random = ((column << 32) / 3 + 1) << 32 | (part << 32) / 1000
                guard case .backend(let index) = rule.destination(random: random) else { continue }
                counts[index] += 1
            }
        }
        #expect(counts == [2250, 0, 750])
        #expect(try #require(compiled([])).destination(random: 0) == .parentService)
        let zero = [RouteBackend(reference: .init(name: "b", port: 80), weight: 0)]
        #expect(try #require(compiled(zero)).destination(random: 7) == .nowhere)
    }

    private func compiled(_ backends: [RouteBackend], _ filters: [RouteFilter] = []) -> CompiledRouteRule? {
        let route = HTTPRoute(
            metadata: ObjectMetadata(name: "r", namespace: "shop"), parentRefs: [.init(name: "web")],
            rules: [.init(filters: filters, backends: backends)])
        return RouterTests.table(.http(route))
            .router(for: RouterTests.service.namespacedName, port: 80, clientNamespace: "shop")?.rules.first
    }

    @Test func mirrorsTakeTheirShare() throws {
        func share(_ numerator: UInt32, _ denominator: UInt32) throws -> Int {
            let filter = RouteFilter.requestMirror(
                .init(backend: .init(name: "m", port: 80), numerator: numerator, denominator: denominator))
            let mirror = try #require(compiled([], [filter])?.actions.mirrors.first)
            return (0..<1000 as Range<UInt64>).count {
                mirror.share.selects(random: $0 * (UInt64.max / 1000) + UInt64.max / 2000)
            }
        }
        #expect(try share(100, 100) == 1000)
        #expect(try share(0, 100) == 0)
        #expect(try share(25, 100) == 250)
        #expect(abs(try share(1, 3) - 333) <= 1)
    }

    @Test func timeLimits() {
        func duration(_ milliseconds: UInt64) -> GatewayDuration { GatewayDuration(milliseconds: milliseconds) }
        let both = RouteTimeouts(request: duration(1000), backendRequest: duration(300))
        #expect(both.attemptLimit(elapsed: 0) == 300)
        #expect(both.attemptLimit(elapsed: 900) == 100)
        #expect(both.attemptLimit(elapsed: 2000) == 0)
        #expect(!both.isOver(elapsed: 999) && both.isOver(elapsed: 1000))
        // "0s" disables.
        let none = RouteTimeouts(request: duration(0), backendRequest: duration(0))
        #expect(none.attemptLimit(elapsed: 5) == nil && !none.isOver(elapsed: .max))
        #expect(RouteTimeouts(request: duration(0), backendRequest: duration(7)).attemptLimit(elapsed: 99) == 7)
        #expect(RouteTimeouts(request: duration(10)).attemptLimit(elapsed: 4) == 6)
    }

    @Test func retries() {
        let retry = RouteRetry(codes: [503], attempts: 3, backoff: GatewayDuration(milliseconds: 100))
        func decide(
            _ outcome: RouteRetry.Outcome, retries: UInt32 = 0, elapsed: UInt64 = 0, limit: UInt64 = 0,
            random: UInt64 = 0
        ) -> RouteRetry.Decision {
            retry.decision(
                outcome, retries: retries, elapsed: elapsed,
                timeouts: RouteTimeouts(request: GatewayDuration(milliseconds: limit)), random: random)
        }
        #expect(decide(.status(503)) == .retry(after: 100))
        #expect(decide(.status(500)) == .giveUp)
        #expect(decide(.notProcessed) == .retry(after: 100))
        #expect(decide(.timedOut) == .retry(after: 100))
        // The backend may have done what it was asked for.
        #expect(decide(.broken) == .giveUp)
        #expect(decide(.status(503), retries: 2) == .retry(after: 400))
        #expect(decide(.status(503), retries: 3) == .giveUp)
        #expect(decide(.status(503), random: .max) == .retry(after: 150))
        #expect(decide(.status(503), elapsed: 899, limit: 1000) == .retry(after: 100))
        #expect(decide(.status(503), elapsed: 900, limit: 1000) == .giveUp)
        let long = RouteRetry(codes: [503], attempts: 100, backoff: GatewayDuration(milliseconds: 10))
        #expect(
            long.decision(.notProcessed, retries: 90, elapsed: 0, timeouts: .init(), random: 0) == .retry(after: 100))
        let none = RouteRetry(codes: [503], attempts: 0)
        #expect(none.decision(.notProcessed, retries: 0, elapsed: 0, timeouts: .init(), random: 0) == .giveUp)
        #expect(RouteRetry().decision(.notProcessed, retries: 1, elapsed: 0, timeouts: .init(), random: 0) == .giveUp)
    }

    /// GEP-2257.
    @Test(arguments: [
        ("0h", 0), ("0s", 0), ("0h0m0s", 0), ("1h", 3_600_000), ("30m", 1_800_000), ("10s", 10_000), ("500ms", 500),
        ("2h45m", 9_900_000), ("2h45m10s100ms", 9_910_100), ("99999h", 359_996_400_000),
    ])
    func durations(_ text: String, _ milliseconds: UInt64) {
        #expect(GatewayDuration(text)?.milliseconds == milliseconds)
    }

    @Test(arguments: ["", "1", "1m1", "1h30m10s20ms50h", "999999h", "1.5h", "-15m", "15us", "h", " 1s", "1 s", "1S"])
    func badDurations(_ text: String) {
        #expect(GatewayDuration(text) == nil)
    }

    @Test(arguments: [(0, "0s"), (500, "500ms"), (90_000, "1m30s"), (3_600_001, "1h1ms")])
    func durationTexts(_ milliseconds: UInt64, _ text: String) {
        #expect(GatewayDuration(milliseconds: milliseconds).description == text)
    }
}

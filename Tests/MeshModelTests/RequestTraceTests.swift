// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Testing

/// The steps of one request, without a proxy.
@Suite struct RequestTraceTests {
    typealias Rule = HTTPRoute.Rule

    private static func request(
        _ target: String, method: String = "GET", _ lines: [String] = []
    ) throws -> AskedRequest {
        try AskedRequest(method: method, target: target, lines: lines, authority: "web.shop")
    }

    /// What becomes of a request under one route with these rules.
    private static func trace(_ request: AskedRequest, _ rules: [Rule], port: UInt16 = 80) throws -> RequestTrace {
        let names = ["web", "v1", "v2"]
        let services = names.map {
            Service(metadata: ObjectMetadata(name: $0, namespace: "shop"), ports: [.init(port: 80), .init(port: 8080)])
        }
        let route = MeshRoute.http(
            HTTPRoute(
                metadata: ObjectMetadata(name: "r", namespace: "shop"), parentRefs: [.init(name: "web")], rules: rules))
        let table = RouteTable(RouteObjects(routes: [route], services: services))
        let router: Router = try #require(
            table.router(for: NamespacedName(namespace: "shop", name: "web"), port: port, clientNamespace: "shop"))
        return RequestTrace(request, router: router, port: port)
    }

    private static func to(_ name: String, weight: UInt32 = 1, _ filters: [RouteFilter] = []) -> RouteBackend {
        var backend = RouteBackend(reference: RouteBackendReference(name: name, port: 80))
        backend.weight = weight
        backend.filters = filters
        return backend
    }

    private static func prefix(_ path: String) -> [HTTPRouteMatch] { [HTTPRouteMatch(path: .prefix(path))] }

    @Test func withoutARouteTheServiceHasIt() throws {
        let trace = RequestTrace(try Self.request("/%61?x"), router: nil, port: 80)
        #expect(trace.path == "/a" && trace.rule == nil && trace.answer == nil)
        #expect(trace.backends.map(\.share) == [1] && trace.backends[0].target == nil)
        #expect(trace.backends[0].sent == (try Self.request("/%61?x")))
    }

    @Test func theRuleAndTheMatchAreNamed() throws {
        let rules = [
            Rule(matches: Self.prefix("/a"), backends: [Self.to("v1")]),
            Rule(
                matches: Self.prefix("/b") + [HTTPRouteMatch(method: "PUT", headers: [FieldMatch("x-env", "canary")])],
                backends: [Self.to("v2")]),
        ]
        let trace = try Self.trace(try Self.request("/x", method: "PUT", ["X-Env: canary"]), rules)
        #expect(trace.rule?.index == 1 && trace.match?.match == 1)
        #expect(rules[1].matches[1].description == "path prefix /, method PUT, header x-env=canary")
        #expect(try Self.trace(try Self.request("/a/b"), rules).rule?.index == 0)
    }

    @Test func whatNothingMatchesIs404() throws {
        let trace = try Self.trace(try Self.request("/b"), [Rule(matches: Self.prefix("/a"))])
        #expect(trace.answer?.status == 404 && trace.backends.isEmpty && trace.rule == nil)
    }

    @Test func sharesAreThoseOfTheWeights() throws {
        let trace = try Self.trace(
            try Self.request("/"),
            [Rule(backends: [Self.to("v1", weight: 9), Self.to("none"), Self.to("v2", weight: 0)])])
        #expect(trace.backends.map(\.share) == [0.9, 0.1, 0])
        #expect(trace.backends.map { $0.target?.isValid } == [true, false, true])
        let none = try Self.trace(try Self.request("/"), [Rule(backends: [Self.to("v1", weight: 0)])])
        #expect(none.answer?.status == 500)
    }

    @Test func aRedirectKnowsThePort() throws {
        let redirect = RouteFilter.requestRedirect(
            RequestRedirect(path: .replacePrefixMatch("/new"), statusCode: 301))
        let rules = [Rule(matches: Self.prefix("/old"), filters: [redirect])]
        let trace = try Self.trace(try Self.request("/old/x?y=1"), rules, port: 8080)
        #expect(trace.answer?.status == 301)
        #expect(trace.answer?.location == "http://web.shop:8080/new/x?y=1")
        #expect(trace.backends.isEmpty)
    }

    @Test func aBackendSeesWhatTheFiltersMake() throws {
        let rule = Rule(
            matches: Self.prefix("/api"),
            filters: [
                .requestHeaderModifier(HeaderModifier(set: [HeaderField("x-a", "rule")], remove: ["x-gone"])),
                .urlRewrite(URLRewrite(hostname: "rule.test", path: .replacePrefixMatch("/v1"))),
            ],
            backends: [
                Self.to("v1"),
                Self.to(
                    "v2", weight: 1,
                    [
                        .requestHeaderModifier(HeaderModifier(remove: ["x-a"])),
                        .urlRewrite(URLRewrite(path: .replaceFullPath("/whole"))),
                    ]),
            ])
        let trace = try Self.trace(try Self.request("/api/x?y=1", ["X-A: 1", "X-Gone: 1", "X-B: 2"]), [rule])
        let sent = trace.backends.map(\.sent)
        #expect(sent.map(\.target) == ["/v1/x?y=1", "/whole?y=1"])
        // The backend's rewrite takes the place of the rule's as a whole.
        #expect(sent.map(\.authority) == ["rule.test", "web.shop"])
        #expect(sent.map { $0.headers.map(\.description) } == [["X-B: 2", "x-a: rule"], ["X-B: 2"]])
    }

    @Test func preflightsAndHopsAreAnswered() throws {
        let cors = Rule(filters: [.cors(CORSPolicy(allowOrigins: ["https://a.test"]))], backends: [Self.to("v1")])
        let asked = ["Origin: https://a.test", "Access-Control-Request-Method: PUT"]
        #expect(try Self.trace(try Self.request("/", method: "OPTIONS", asked), [cors]).answer?.status == 204)
        #expect(try Self.trace(try Self.request("/", ["Origin: https://a.test"]), [cors]).answer == nil)
        let hops = ["Max-Forwards: 0"]
        #expect(try Self.trace(try Self.request("*", method: "OPTIONS", hops), [Rule()]).answer?.status == 204)
        #expect(try Self.trace(try Self.request("/", method: "TRACE", hops), [Rule()]).answer?.status == 501)
        #expect(try Self.trace(try Self.request("/", hops), [Rule()]).answer == nil)
    }

    @Test func policyJudgesWhatArrives() throws {
        let operation = PolicyFixture.operation {
            ($0.methods, $0.paths, $0.hosts) = (["GET"], ["/v1/*"], ["rule.test"])
        }
        let allow = RequestAuthorizer([RequestAuthorizerTests.policy(.allow, [.init(to: [operation])])])
        func isAllowed(_ request: AskedRequest) -> Bool? {
            let judgement = request.judged(
                by: allow, principal: nil, client: PolicyFixture.address("10.0.0.1"),
                destination: PolicyFixture.address("10.0.0.2"), port: 80)
            if case .decided(let found) = judgement { return found.isAllowed } else { return nil }
        }
        let rewrite = RouteFilter.urlRewrite(URLRewrite(hostname: "rule.test", path: .replacePrefixMatch("/v1")))
        let trace = try Self.trace(
            try Self.request("/api/x"), [Rule(matches: Self.prefix("/api"), filters: [rewrite])])
        #expect(isAllowed(trace.backends[0].sent) == true)
        #expect(isAllowed(try Self.request("/v1/x", ["Host: rule.test"])) == true)
        #expect(isAllowed(try Self.request("/v1/x")) == false)
        #expect(isAllowed(try Self.request("/v1/../x", ["Host: rule.test"])) == false)
        #expect(isAllowed(try Self.request("/v1/%00", ["Host: rule.test"])) == nil)
    }
}

@Suite struct AskedRequestTests {
    @Test(
        arguments: [
            ("GE T", "/", [], "'GE T' is no method"), ("", "/", [], "'' is no method"),
            ("CONNECT", "web:80", [], "a CONNECT has no path"), ("GET", "api", [], "'api' is no path"),
            ("GET", "*", [], "'*' is no path"), ("GET", "http://web/", [], "'http://web/' is no path"),
            ("GET", "", [], "'' is no path"),
            ("GET", "/a b", [], "'/a b' has a character that no request has in its path"),
            ("GET", "/a#b", [], "'/a#b' has a character that no request has in its path"),
            ("GET", "/", ["x"], "'x' is no header"), ("GET", "/", [": 1"], "'' is no name of a header"),
            ("GET", "/", ["x y: 1"], "'x y' is no name of a header"),
            ("GET", "/", ["x: a\r\ny: b"], "the value of x has a control character"),
            ("GET", "/", ["Host: a", "host: b"], "there are 2 lines of Host"),
        ] as [(String, String, [String], String)])
    func whatIsNoRequestIsNamed(_ method: String, _ target: String, _ lines: [String], _ text: String) {
        let error = #expect(throws: AskedRequestError.self) {
            _ = try AskedRequest(method: method, target: target, lines: lines, authority: "x")
        }
        #expect(error?.description == text)
        #expect(error?.hint.isEmpty == false)
    }

    @Test func aRequestIsTakenApart() throws {
        let request = try AskedRequest(
            method: "M-SEARCH", target: "/a?b?c", lines: ["Host:  web:80\t", "x:", "X: 1:2"], authority: "other")
        #expect((request.path, request.query) == ("/a", "b?c") && request.target == "/a?b?c")
        #expect(request.authority == "web:80")
        #expect(request.values(of: "x") == ["", "1:2"])
        #expect(try AskedRequest(method: "OPTIONS", target: "*", lines: [], authority: "o").authority == "o")
    }
}

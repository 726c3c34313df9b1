// SPDX-License-Identifier: Apache-2.0

import MeshModel
import TestSupport
import Testing

@Suite struct RequestAuthorizerTests {
    typealias Rule = AuthorizationPolicy.Rule
    typealias Request = RequestOracle.Request
    static let web = "cluster.local/ns/shop/sa/web"

    static func request(_ set: (inout Request) -> Void = { _ in }) -> Request {
        var request = Request(
            principal: web, source: PolicyFixture.address("10.0.0.1"), destination: PolicyFixture.address("10.0.0.2"))
        set(&request)
        return request
    }

    static func policy(
        _ action: AuthorizationPolicy.Action, _ rules: [Rule], name: String = "p", isDryRun: Bool = false
    ) -> AuthorizationPolicy {
        AuthorizationPolicy(
            metadata: ObjectMetadata(name: name, namespace: "shop"), action: action, rules: rules, isDryRun: isDryRun)
    }

    private static func to(_ set: (inout AuthorizationPolicy.Operation) -> Void) -> Rule {
        Rule(to: [PolicyFixture.operation(set)])
    }

    private static func from(_ set: (inout AuthorizationPolicy.Source) -> Void) -> Rule {
        Rule(from: [PolicyFixture.source(set)])
    }

    private static func when(_ key: String, _ values: [String], not notValues: [String] = []) -> Rule {
        Rule(when: [.init(key: key, values: values, notValues: notValues)])
    }

    /// A rule, and requests that it matches and does not match.
    struct Case: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let rule: Rule
        let matching: [Request]
        let others: [Request]
    }

    private static func paths(_ list: [String]) -> [Request] { list.map { path in request { $0.path = path } } }

    private static func hosts(_ list: [String?]) -> [Request] { list.map { host in request { $0.authority = host } } }

    private static func headers(_ lists: [[(String, String)]]) -> [Request] {
        lists.map { list in request { $0.headers = list.map { (name: $0.0, value: $0.1) } } }
    }

    static let operations: [Case] = [
        Case(
            testDescription: "methods are compared as they are", rule: to { $0.methods = ["GET", "P*"] },
            matching: [request(), request { $0.method = "POST" }],
            others: [request { $0.method = "get" }, request { $0.method = "HEAD" }]),
        Case(
            testDescription: "notMethods", rule: to { $0.notMethods = ["GET"] },
            matching: [request { $0.method = "POST" }], others: [request()]),
        Case(
            testDescription: "exact path", rule: to { $0.paths = ["/a"] }, matching: paths(["/a", "/%61"]),
            others: paths(["/a/", "/ab", "/A", "/"])),
        Case(
            testDescription: "prefix counts bytes, not segments", rule: to { $0.paths = ["/in*"] },
            matching: paths(["/in", "/info", "/in/x"]), others: paths(["/i", "/x/in"])),
        Case(
            testDescription: "suffix", rule: to { $0.paths = ["*.txt"] }, matching: paths(["/a.txt", "/b/.txt"]),
            others: paths(["/txt", "/a.txt/", "/a.TXT"])),
        Case(
            testDescription: "presence", rule: to { $0.paths = ["*"] }, matching: paths(["/", "/a", "*"]), others: []),
        Case(
            testDescription: "{*} is one segment", rule: to { $0.paths = ["/foo/{*}"] },
            matching: paths(["/foo/bar", "/foo/b%20c"]), others: paths(["/foo/bar/baz", "/foo/", "/foo", "/foo/b/"])),
        Case(
            testDescription: "{**} is the rest", rule: to { $0.paths = ["/foo/{*}/bar/{**}"] },
            matching: paths(["/foo/buzz/bar/", "/foo/buzz/bar/baz", "/foo/b/bar/x/y"]),
            others: paths(["/foo/bar/baz", "/foo/buzz/bar", "/foo//bar/x"])),
        Case(
            testDescription: "{**} before a last literal", rule: to { $0.paths = ["/foo/{**}/"] },
            matching: paths(["/foo/bar/", "/foo/bar/baz/"]), others: paths(["/foo/bar", "/foo/"])),
        Case(
            testDescription: "notPaths", rule: to { $0.notPaths = ["/public*"] }, matching: paths(["/", "/admin"]),
            others: paths(["/public", "/public/x"])),
        Case(
            testDescription: "the path of a gRPC method",
            rule: to { ($0.methods, $0.paths) = (["POST"], ["/p.Svc/M"]) },
            matching: [request { ($0.method, $0.path) = ("POST", "/p.Svc/M") }],
            others: [request { ($0.method, $0.path) = ("POST", "/p.Svc/N") }, request { $0.path = "/p.Svc/M" }]),
        Case(
            testDescription: "hosts in any case; a port is part of the host", rule: to { $0.hosts = ["Web.Shop"] },
            matching: hosts(["web.shop", "WEB.SHOP"]), others: hosts(["web.shop:80", "web.shop.", "web", nil])),
        Case(
            testDescription: "hosts with any port", rule: to { $0.hosts = ["web.shop", "web.shop:*"] },
            matching: hosts(["web.shop", "Web.shop:8080"]), others: hosts(["web.shopx"])),
        Case(
            testDescription: "suffix of hosts", rule: to { $0.hosts = ["*.shop"] },
            matching: hosts(["a.shop", "A.SHOP"]),
            others: hosts(["shop", "a.shop:80"])),
        Case(
            testDescription: "a host must be there to be one", rule: to { $0.hosts = ["*"] }, matching: hosts(["x"]),
            others: hosts([nil])),
        Case(
            testDescription: "notHosts holds without a host", rule: to { $0.notHosts = ["x"] },
            matching: hosts([nil, "y"]),
            others: hosts(["X"])),
        Case(
            testDescription: "ports", rule: to { ($0.ports, $0.notPorts) = ([80, 81], [81]) }, matching: [request()],
            others: [request { $0.port = 81 }, request { $0.port = 82 }]),
        Case(
            testDescription: "all fields of an operation, any operation",
            rule: Rule(to: [
                PolicyFixture.operation { ($0.methods, $0.paths) = (["GET"], ["/a"]) },
                PolicyFixture.operation { $0.methods = ["PUT"] },
            ]),
            matching: [request { $0.path = "/a" }, request { $0.method = "PUT" }],
            others: [request { ($0.method, $0.path) = ("POST", "/a") }, request()]),
        Case(
            testDescription: "an empty operation matches nothing", rule: Rule(to: [.init()]), matching: [],
            others: [request()]),
    ]

    static let sources: [Case] = [
        Case(
            testDescription: "principals", rule: from { $0.principals = ["spiffe://" + web, "*/sa/db"] },
            matching: [request(), request { $0.principal = "spiffe://\(web)" }, request { $0.principal = "x/sa/db" }],
            others: [request { $0.principal = nil }, request { $0.principal = web + "x" }]),
        Case(
            testDescription: "any proved identity", rule: from { $0.principals = ["*"] }, matching: [request()],
            others: [request { $0.principal = nil }]),
        Case(
            testDescription: "notPrincipals holds without an identity", rule: from { $0.notPrincipals = ["*"] },
            matching: [request { $0.principal = nil }], others: [request()]),
        Case(
            testDescription: "namespaces", rule: from { $0.namespaces = ["sh*"] }, matching: [request()],
            others: [request { $0.principal = "cluster.local/ns/bank/sa/web" }, request { $0.principal = "shop" }]),
        Case(
            testDescription: "serviceAccounts, alone in the policy's namespace",
            rule: from { $0.serviceAccounts = ["web", "bank/db"] },
            matching: [request(), request { $0.principal = "x/ns/bank/sa/db" }],
            others: [request { $0.principal = "cluster.local/ns/bank/sa/web" }]),
        Case(
            testDescription: "trustDomains", rule: from { $0.trustDomains = ["cluster.*"] }, matching: [request()],
            others: [request { $0.principal = "other/ns/shop/sa/web" }]),
        Case(
            testDescription: "ipBlocks are about the peer",
            rule: from { $0.ipBlocks = [PolicyFixture.cidr("10.0.0.0/24")] }, matching: [request()],
            others: [request { $0.source = PolicyFixture.address("10.0.1.1") }]),
        Case(
            testDescription: "remoteIpBlocks are about the client behind it",
            rule: from { $0.remoteIpBlocks = ["8.8.8.0/24"] },
            matching: [request { $0.remote = PolicyFixture.address("8.8.8.8") }], others: [request()]),
        Case(
            testDescription: "an empty source matches nothing", rule: Rule(from: [.init()]), matching: [],
            others: [request()]),
    ]

    static let conditions: [Case] = [
        Case(
            testDescription: "a header field, its name in any case", rule: when("request.headers[X-A]", ["1"]),
            matching: headers([[("x-a", "1")], [("b", "2"), ("X-A", "1")]]), others: headers([[], [("x-a", "2")]])),
        Case(
            testDescription: "lines of one name are one value",
            rule: when("request.headers[x-a]", ["1,22", "3*", "*4"]),
            matching: headers([
                [("x-a", "1"), ("x-a", "22")], [("x-a", "3"), ("x-a", "1")], [("x-a", "1"), ("x-b", ""), ("x-a", "4")],
            ]),
            others: headers([
                [("x-a", "22"), ("x-a", "1")], [("x-a", "1"), ("x-a", "22"), ("x-a", "")], [("x-a", "1")],
            ])),
        Case(
            testDescription: "presence of an empty field", rule: when("request.headers[x-a]", ["*"]),
            matching: headers([[("x-a", "")], [("x-a", ""), ("x-a", "")]]), others: headers([[]])),
        Case(
            testDescription: "notValues holds without the field", rule: when("request.headers[x-a]", [], not: ["1"]),
            matching: headers([[], [("x-a", "2")], [("x-a", "1"), ("x-a", "1")]]), others: headers([[("x-a", "1")]])),
        Case(
            testDescription: "Host is the authority", rule: when("request.headers[Host]", ["web"]),
            matching: [request()],
            others: hosts([nil, "WEB"])),
        Case(
            testDescription: "source.ip and remote.ip",
            rule: Rule(when: [
                .init(key: "source.ip", values: ["10.0.0.1"]), .init(key: "remote.ip", notValues: ["9.9.9.9"]),
            ]), matching: [request()], others: [request { $0.remote = PolicyFixture.address("9.9.9.9") }]),
        Case(
            testDescription: "destination.ip and destination.port",
            rule: Rule(when: [
                .init(key: "destination.ip", values: ["10.0.0.0/30"]), .init(key: "destination.port", values: ["80"]),
            ]), matching: [request()],
            others: [request { $0.port = 81 }, request { $0.destination = PolicyFixture.address("10.0.0.4") }]),
        Case(
            testDescription: "source.namespace, serviceAccount, principal, trustDomain",
            rule: Rule(when: [
                .init(key: "source.namespace", values: ["shop"]), .init(key: "source.serviceAccount", values: ["web"]),
                .init(key: "source.principal", values: [web]), .init(key: "source.trustDomain", values: ["*"]),
            ]), matching: [request()], others: [request { $0.principal = nil }]),
        Case(
            testDescription: "a condition without values matches nothing", rule: when("source.ip", []), matching: [],
            others: [request()]),
    ]

    /// As the only rule of an ALLOW policy and of a DENY policy; alone and among hundreds that match nothing.
    @Test(arguments: operations + sources + conditions)
    func rule(_ item: Case) {
        let crowd = (0..<300).map { number in
            Self.policy(number % 2 == 0 ? .deny : .allow, [Self.to { $0.paths = ["/crowd/\(number)"] }])
        }
        for others in [[], crowd] {
            let allow = RequestAuthorizer(others + [Self.policy(.allow, [item.rule])])
            let deny = RequestAuthorizer(others.filter { $0.action == .deny } + [Self.policy(.deny, [item.rule])])
            for request in item.matching {
                #expect(allow.decide(request)?.isAllowed == true, "\(request)")
                #expect(deny.decide(request)?.isAllowed == false, "\(request)")
            }
            for request in item.others {
                #expect(allow.decide(request)?.isAllowed == false, "\(request)")
                // A doubtful path is denied if one reading of it is; no request above has one that differs.
                #expect(deny.decide(request)?.isAllowed == true, "\(request)")
            }
        }
    }

    @Test(arguments: [
        from { $0.requestPrincipals = ["*"] }, from { $0.notRequestPrincipals = ["x"] },
        when("request.auth.claims[iss]", ["x"]), when("request.auth.principal", [], not: ["x"]),
        when("connection.sni", ["x"]), when("experimental.envoy.filters.a[b]", ["x"]),
        when("request.headers[:path]", ["/"]), to { $0.paths = ["/{*}x"] },
    ])
    func whatCannotBeEvaluatedIsNeverAllowedOnAndAlwaysDeniedOn(_ rule: Rule) {
        #expect(RequestAuthorizer([Self.policy(.allow, [rule])]).decide(Self.request())?.isAllowed == false)
        #expect(RequestAuthorizer([Self.policy(.deny, [rule])]).decide(Self.request())?.isAllowed == false)
        // The rest of the rule still counts.
        var narrow = rule
        narrow.to = [PolicyFixture.operation { $0.ports = [81] }]
        #expect(RequestAuthorizer([Self.policy(.deny, [narrow])]).decide(Self.request())?.isAllowed == true)
    }

    @Test func order() {
        let all = Self.policy(.allow, [Rule()], name: "all")
        let nothing = Self.policy(.allow, [], name: "nothing")
        let get = Self.policy(.deny, [Self.to { $0.methods = ["GET"] }], name: "get")
        let cases: [([AuthorizationPolicy], Bool, Int?)] = [
            ([], true, nil), ([nothing], false, nil), ([all], true, 0), ([all, get], false, 1), ([get, all], false, 0),
            ([Self.policy(.deny, [])], true, nil), ([Self.policy(.audit, [Rule()])], true, nil),
            ([nothing, all], true, 0),
        ]
        for (policies, isAllowed, rule) in cases {
            let decision = RequestAuthorizer(policies).decide(Self.request())
            #expect(decision?.isAllowed == isAllowed && decision?.rule == rule, "\(policies)")
            #expect(decision?.dryRunDiffers == false)
        }
    }

    @Test func dryRun() {
        let get = Self.policy(.deny, [Self.to { $0.methods = ["GET"] }], name: "get", isDryRun: true)
        let allow = Self.policy(.allow, [Self.to { $0.methods = ["PUT"] }], name: "put", isDryRun: true)
        let put = Self.request { $0.method = "PUT" }
        #expect(RequestAuthorizer([get]).decide(Self.request())?.dryRunDiffers == true)
        #expect(RequestAuthorizer([get]).decide(Self.request())?.isAllowed == true)
        #expect(RequestAuthorizer([get]).decide(put)?.dryRunDiffers == false)
        #expect(RequestAuthorizer([allow]).decide(put)?.dryRunDiffers == false)
        #expect(RequestAuthorizer([allow]).decide(Self.request())?.dryRunIsAllowed == false)
        // An ALLOW rule in a dry run beside an ALLOW policy that denies.
        let decision = RequestAuthorizer([Self.policy(.allow, []), allow]).decide(put)
        #expect(decision?.isAllowed == false && decision?.dryRunIsAllowed == true)
    }

    /// Spellings by which policies of proxies have been evaded.
    @Test(arguments: [
        "/admin", "/%61dmin", "/%61%64%6d%69%6e", "//admin", "/./admin", "/x/../admin", "/%2e/admin", "/x/%2e%2e/admin",
        "/admin;x", "/admin;/", "/;/admin", "/;x=1/admin", "/admin%2f", "/%2fadmin", "/admin/", "/admin//", "/admin/x",
        "/admin/../admin", "/admin/..%2fpublic", "/public/..;/admin", "/public%2f..%2fadmin", "/public/..\\admin",
        "/public/..%5cadmin", "/public/%252e%252e/admin", "/%c0%afadmin", "/admin%00", "/admin%09", "/admin%0a",
        "\\admin", "/public/%c0%ae%c0%ae/admin", "/admin?x", "/admin/../public", "/admin%2f..%2fpublic",
        "/admin;/../public", "/public/.;/../admin", "/%u0061dmin", "http://x/admin", "admin", "/admin\u{0}",
    ])
    func spellingsOfAdminAreDenied(_ path: String) {
        let deny = Self.policy(.deny, [Self.to { $0.paths = ["/admin", "/admin/*"] }])
        let allow = Self.policy(.allow, [Self.to { $0.paths = ["/public", "/public/*"] }])
        let request = Self.request { $0.path = path }
        #expect(RequestAuthorizer([deny]).decide(request)?.isAllowed != true, "DENY, \(path)")
        #expect(RequestAuthorizer([allow]).decide(request)?.isAllowed != true, "ALLOW, \(path)")
    }

    @Test func explanation() {
        let policies = [
            Self.policy(.allow, [Self.to { $0.paths = ["/public*"] }], name: "open"),
            Self.policy(
                .deny, [Rule(when: [.init(key: "source.ip", values: ["9.9.9.9"])]), Self.to { $0.methods = ["PUT"] }],
                name: "read-only"),
        ]
        let authorizer = RequestAuthorizer(policies)
        func explain(_ set: (inout Request) -> Void) -> RequestExplanation? {
            Self.request(set).borrowed { authorizer.explain($0, headers: $1) }
        }
        let allowed = explain { $0.path = "/public/x" }
        #expect(allowed?.isAllowed == true && allowed?.stage == .authorizationAllow && allowed?.rule == 0)
        #expect(allowed?.sentence == "AuthorizationPolicy shop/open, rules[0], allows the request")
        let denied = explain { ($0.path, $0.method) = ("/public/x", "PUT") }
        #expect(denied?.sentence == "AuthorizationPolicy shop/read-only, rules[1], denies the request")
        #expect(denied?.stage == .authorizationDeny && denied?.policies.map(\.name) == ["read-only"])
        let unmatched = explain { $0.path = "/x" }
        #expect(
            unmatched?.sentence
                == "AuthorizationPolicy shop/open allows only what its rules say, and none matches the request")
        #expect(explain { $0.path = "/public/../x" }?.path == "/x")
        #expect(explain { $0.path = "/x/../public" }?.path == "/x/../public")
        #expect(explain { $0.path = "//public" }?.path == "//public")
        let none = Self.request().borrowed { RequestAuthorizer([]).explain($0, headers: $1) }
        #expect(none?.sentence == "no policy decides about requests" && none?.stage == nil)
    }
}

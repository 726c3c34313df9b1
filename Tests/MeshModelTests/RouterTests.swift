// SPDX-License-Identifier: Apache-2.0

import MeshModel
import TestSupport
import Testing

/// Matching by the examples of the specification, each a table of its own.
@Suite struct RouterTests {
    static let service = Service(
        metadata: ObjectMetadata(name: "web", namespace: "shop"),
        ports: [.init(name: "http", port: 80), .init(name: "alt", port: 8080)])

    static func http(
        _ matches: [HTTPRouteMatch]..., name: String = "r", namespace: String = "shop", created: String? = nil,
        parent: RouteParentReference = .init(namespace: "shop", name: "web")
    ) -> MeshRoute {
        .http(
            HTTPRoute(
                metadata: ObjectMetadata(name: name, namespace: namespace, creationTimestamp: created),
                parentRefs: [parent], rules: matches.map { .init(matches: $0) }))
    }

    static func table(_ routes: MeshRoute...) -> RouteTable {
        RouteTable(RouteObjects(routes: routes, services: [service]))
    }

    /// The name of the route and the rule that a request meets.
    static func rule(
        _ table: RouteTable, _ path: String, method: String = "GET", query: String? = nil,
        _ headers: [(name: String, value: String)] = [], port: UInt16 = 80, from client: String = "shop"
    ) -> String {
        guard let router = table.router(for: service.namespacedName, port: port, clientNamespace: client) else {
            return "none"
        }
        let request = RouteOracle.Request(method: method, path: path, query: query, headers: headers)
        guard let match = router.match(request) else { return "404" }
        let rule = router.rules[match.rule]
        return "\(rule.route.name).\(rule.index)"
    }

    /// https://gateway-api.sigs.k8s.io: "matches based on a URL path prefix split by /".
    @Test(arguments: [
        ("/abc", true), ("/abc/", true), ("/abc/def", true), ("/abcd", false), ("/ab", false), ("/Abc", false),
        ("/x/abc", false), ("/%61bc", true), ("/abc%2fdef", false), ("/x/../abc", true), ("//abc", false),
    ])
    func prefixesAreOfElements(_ path: String, _ isMatch: Bool) {
        for prefix in ["/abc", "/abc/", "/%61bc"] {
            let table = Self.table(Self.http([HTTPRouteMatch(path: .prefix(prefix))]))
            #expect(Self.rule(table, path) == (isMatch ? "r.0" : "404"), "prefix \(prefix)")
        }
    }

    @Test(arguments: [("/abc", true), ("/abc/", false), ("/Abc", false), ("/abcd", false), ("/abc?x", false)])
    func exactIsExact(_ path: String, _ isMatch: Bool) {
        let table = Self.table(Self.http([HTTPRouteMatch(path: .exact("/abc"))]))
        #expect(Self.rule(table, path) == (isMatch ? "r.0" : "404"))
    }

    /// "Across all rules specified on applicable Routes, precedence must be given to the match having".
    @Test func precedenceOfOneRoute() {
        let table = Self.table(
            Self.http(
                [HTTPRouteMatch()],
                [HTTPRouteMatch(headers: [FieldMatch("a", "1")])],
                [HTTPRouteMatch(headers: [FieldMatch("a", "1"), FieldMatch("b", "1")])],
                [HTTPRouteMatch(queryParams: [FieldMatch("q", "1")])],
                [HTTPRouteMatch(method: "PUT")],
                [HTTPRouteMatch(path: .regularExpression("/x.*"), headers: [FieldMatch("a", "1")])],
                [HTTPRouteMatch(path: .prefix("/x"))],
                [HTTPRouteMatch(path: .prefix("/x/y"))],
                [HTTPRouteMatch(path: .exact("/x/y"))]))
        #expect(Self.rule(table, "/") == "r.0")
        #expect(Self.rule(table, "/", [("A", "1")]) == "r.1")
        #expect(Self.rule(table, "/", [("A", "1"), ("B", "1")]) == "r.2")
        #expect(Self.rule(table, "/", query: "q=1") == "r.3")
        #expect(Self.rule(table, "/", query: "q=1", [("a", "1")]) == "r.1")
        #expect(Self.rule(table, "/", method: "PUT", [("a", "1"), ("b", "1")]) == "r.4")
        #expect(Self.rule(table, "/x", [("a", "1"), ("b", "1")]) == "r.6")
        #expect(Self.rule(table, "/xy", method: "PUT", [("a", "1")]) == "r.5")
        #expect(Self.rule(table, "/x/y", method: "PUT") == "r.8")
        #expect(Self.rule(table, "/x/y/z") == "r.7")
        #expect(Self.rule(table, "*", method: "OPTIONS") == "r.0")
    }

    /// A longer prefix whose other conditions fail gives way to a shorter one.
    @Test func shorterPrefixesAreTriedNext() {
        let table = Self.table(
            Self.http(
                [HTTPRouteMatch(path: .prefix("/a"))],
                [HTTPRouteMatch(path: .prefix("/a/b/c"), method: "PUT")],
                [HTTPRouteMatch(path: .prefix("/a/b"), headers: [FieldMatch("h", "1")])]))
        #expect(Self.rule(table, "/a/b/c/d", method: "PUT") == "r.1")
        #expect(Self.rule(table, "/a/b/c/d", [("h", "1")]) == "r.2")
        #expect(Self.rule(table, "/a/b/c/d") == "r.0")
        #expect(Self.rule(table, "/b") == "404")
    }

    @Test func olderRoutesThenNames() {
        let match = [HTTPRouteMatch()]
        let old = "2024-01-01T00:00:00Z"
        let new = "2025-01-01T00:00:00Z"
        #expect(
            Self.rule(
                Self.table(Self.http(match, name: "b", created: old), Self.http(match, name: "a", created: new)), "/")
                == "b.0")
        #expect(
            Self.rule(
                Self.table(Self.http(match, name: "b", created: old), Self.http(match, name: "a", created: old)), "/")
                == "a.0")
        #expect(
            Self.rule(Self.table(Self.http(match, name: "b", created: old), Self.http(match, name: "a")), "/") == "b.0")
        #expect(Self.rule(Self.table(Self.http(match, match, name: "a")), "/") == "a.0")
    }

    @Test func headerAndQueryRules() {
        let table = Self.table(
            Self.http(
                [HTTPRouteMatch(headers: [FieldMatch("X-A", "1,2"), FieldMatch("x-a", "ignored")])],
                [HTTPRouteMatch(headers: [FieldMatch(name: "v", value: .regularExpression("1,?2"))])],
                [HTTPRouteMatch(queryParams: [FieldMatch("name", "a b")])]))
        #expect(Self.rule(table, "/", [("x-a", "1,2")]) == "r.0")
        #expect(Self.rule(table, "/", [("x-A", "1"), ("other", "3"), ("X-a", "2")]) == "r.0")
        #expect(Self.rule(table, "/", [("x-a", "1"), ("x-a", "2"), ("x-a", "3")]) == "404")
        #expect(Self.rule(table, "/", [("v", "1"), ("v", "2")]) == "r.1")
        #expect(Self.rule(table, "/", [("v", "1"), ("v", "3")]) == "404")
        for query in ["name=a+b", "x=1&name=a%20b", "n%61me=a+b&name=c", "&&name=a b"] {
            #expect(Self.rule(table, "/", query: query) == "r.2", "\(query)")
        }
        for query in ["name=c&name=a+b", "Name=a+b", "name", "", "name=a%2Bb", "xname=a+b"] {
            #expect(Self.rule(table, "/", query: query) == "404", "\(query)")
        }
    }

    /// Producer routes are for everybody, consumer routes take their place for the clients of their namespace.
    @Test func producersAndConsumers() {
        let table = Self.table(
            Self.http([HTTPRouteMatch(path: .prefix("/p"))], [HTTPRouteMatch()], name: "producer"),
            Self.http([HTTPRouteMatch(path: .prefix("/c"))], name: "consumer", namespace: "bank"))
        #expect(Self.rule(table, "/p", from: "shop") == "producer.0")
        #expect(Self.rule(table, "/c", from: "other") == "producer.1")
        #expect(Self.rule(table, "/c", from: "bank") == "consumer.0")
        // Not merged.
        #expect(Self.rule(table, "/p", from: "bank") == "404")
    }

    @Test func ports() {
        let one = Self.table(Self.http([HTTPRouteMatch()], parent: .init(namespace: "shop", name: "web", port: 8080)))
        #expect(Self.rule(one, "/") == "none")
        #expect(Self.rule(one, "/", port: 8080) == "r.0")
        let named = Self.table(Self.http([HTTPRouteMatch()], parent: .init(name: "web", sectionName: "http")))
        #expect(Self.rule(named, "/") == "r.0")
        #expect(Self.rule(named, "/", port: 8080) == "none")
    }

    @Test func grpc() {
        func match(_ service: String?, _ method: String?) -> GRPCRouteMatch {
            GRPCRouteMatch(method: .init(service: service, method: method))
        }
        let route = GRPCRoute(
            metadata: ObjectMetadata(name: "g", namespace: "shop"), parentRefs: [.init(name: "web")],
            rules: [
                .init(matches: [match(nil, "Get")]), .init(matches: [match("a.S", nil)]),
                .init(matches: [match("a.S", "Get")]),
                .init(matches: [GRPCRouteMatch(headers: [FieldMatch("h", "1")])]),
                .init(matches: [
                    GRPCRouteMatch(method: .init(kind: .regularExpression, service: ".*T", method: "Put"))
                ]),
            ])
        let table = Self.table(.grpc(route), Self.http([HTTPRouteMatch()]))
        #expect(Self.rule(table, "/a.S/Get") == "g.2")
        #expect(Self.rule(table, "/a.S/Put") == "g.1")
        #expect(Self.rule(table, "/b.S/Get", [("h", "1")]) == "g.0")
        #expect(Self.rule(table, "/b.S/Put", [("h", "1")]) == "g.3")
        #expect(Self.rule(table, "/b.T/Put", [("h", "1")]) == "g.4")
        // Of the two kinds only one is served.
        #expect(Self.rule(table, "/b.S/Put") == "404")
        for path in ["/a.S/Get/x", "/a.S", "/a.S/", "a.S/Get", "//Get", "/a.S//Get"] {
            #expect(Self.rule(table, path) == "404", "\(path)")
        }
    }
}

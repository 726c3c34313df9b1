// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Testing

@testable import MeshManifests

/// What follows `parentRefs` in a spec, and what must be said about it.
struct RouteCase: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let messages: [String]

    init(_ spec: String, _ messages: String...) {
        testDescription = spec
        self.messages = messages
    }
}

/// Each constraint of the API, broken.
@Suite struct RouteValidationTests {
    private static func onePath(_ value: String, _ type: String = "Exact") -> String {
        "rules: [{matches: [{path: {type: \(type), value: \"\(value)\"}}]}]"
    }

    private static let field = "spec.rules[0].matches[0].path.value: "

    @Test(arguments: [
        RouteCase(onePath("a"), field + "\"a\" is not an absolute path (begin with /)"),
        RouteCase(onePath(""), field + "\"\" is not an absolute path (begin with /)"),
        RouteCase(onePath("/a//b", "PathPrefix"), field + "\"/a//b\" has an empty element (write one / instead of //)"),
        RouteCase(onePath("/a/./b"), field + "\"/a/./b\" has the element . or .. (write the path that it leads to)"),
        RouteCase(onePath("/a/.."), field + "\"/a/..\" has the element . or .. (write the path that it leads to)"),
        RouteCase(onePath("/a%2Fb"), field + "\"/a%2Fb\" has an escaped / (use a regular expression)"),
        RouteCase(onePath("/a#b"), field + "\"/a#b\" has a character that is not allowed in a path (escape it with %)"),
        RouteCase(
            onePath("/a?b"),
            field + "\"/a?b\" has a character that is not allowed in a path (a query is matched by queryParams)"
        ),
        RouteCase(onePath("/a%2"), field + "\"/a%2\" has a % without two hexadecimal digits (write %25 for a %)"),
        RouteCase(onePath("/" + String(repeating: "a", count: 1024)), field + "has 1025 characters; the limit is 1024"),
        RouteCase(
            onePath("a(", "RegularExpression"),
            field + "the regular expression \"a(\" is not supported: a ( without its ), at character 2 "
                + "(docs/routing.md has the syntax)"),
        RouteCase(
            onePath("/a", "Prefix"),
            "spec.rules[0].matches[0].path.type: \"Prefix\" is not a known value "
                + "(known here: Exact, PathPrefix, RegularExpression)"),
    ])
    func paths(_ test: RouteCase) {
        #expect(RouteDecoding.messages(test.testDescription) == test.messages)
    }

    @Test(arguments: [
        RouteCase(
            "rules: [{matches: [{method: get}]}]",
            "spec.rules[0].matches[0].method: \"get\" is not a known value (did you mean \"GET\"?)"),
        RouteCase(
            "rules: [{matches: [{headers: [{name: \":method\", value: a}]}]}]",
            "spec.rules[0].matches[0].headers[0].name: \":method\" is not a name: use letters, digits and !#$%&'*+-.^_`|~"
        ),
        RouteCase(
            "rules: [{matches: [{headers: [{name: a, value: b}, {name: A, value: c}]}]}]",
            "spec.rules[0].matches[0].headers[1].name: \"A\" is there twice; only the first would count"),
        RouteCase(
            "rules: [{matches: [{queryParams: [{name: a, value: \"\"}]}]}]",
            "spec.rules[0].matches[0].queryParams[0].value: must not be empty"),
        RouteCase(
            "rules: [{matches: [{queryParams: [{name: a}]}]}]",
            "spec.rules[0].matches[0].queryParams[0].value: is required"),
        RouteCase(
            "rules: []",
            "spec.rules: must have at least one rule (remove the field for one rule that matches everything)"),
        RouteCase(
            "rules: [{name: a}, {name: a}]",
            "spec.rules[1]: the name \"a\" is given to two rules (rename one of the two)"),
        RouteCase(
            "rules: [\(Array(repeating: "{}", count: 17).joined(separator: ","))]",
            "spec.rules: has 17 elements; the limit is 16"),
        RouteCase(
            "rules: [{matches: [\(Array(repeating: "{}", count: 65).joined(separator: ","))]}]",
            "spec.rules[0].matches: has 65 elements; the limit is 64"),
        RouteCase(
            "rules: [\(Array(repeating: "{matches: [\(Array(repeating: "{}", count: 43).joined(separator: ","))]}", count: 3).joined(separator: ","))]",
            "spec.rules: has 129 matches in all; the limit is 128 (split the route in two)"),
        RouteCase(
            "rules: [{sessionPersistence: {}}]",
            "spec.rules[0].sessionPersistence: session persistence is not supported (remove it)"),
        RouteCase(
            "hostnames: [a.example.com]",
            "warning: spec.hostnames: has no effect on a Service: a mesh matches by the Service's address (GEP-1294) (remove it)"
        ),
        RouteCase(
            "rules: [{timeouts: {request: 1s, backendRequest: 2s}}]",
            "spec.rules[0].timeouts.backendRequest: 2s is longer than the whole request's 1s"),
        RouteCase(
            "rules: [{timeouts: {request: 1.5s}}]",
            "spec.rules[0].timeouts.request: \"1.5s\" is not a duration (write it like 10s, 500ms or 1h30m, without fractions)"
        ),
        RouteCase("rules: [{timeouts: {request: 0s, backendRequest: 2s}}]"),
        RouteCase(
            "rules: [{retry: {codes: [399]}}]", "spec.rules[0].retry.codes[0]: must be between 400 and 599, but is 399"),
    ])
    func rules(_ test: RouteCase) {
        #expect(RouteDecoding.messages(test.testDescription) == test.messages)
    }

    private static func oneRule(_ filters: String, _ more: String = "") -> String {
        "rules: [{filters: [\(filters)]\(more)}]"
    }

    @Test(arguments: [
        RouteCase(
            oneRule("{type: CORS, urlRewrite: {hostname: a}, cors: {allowOrigins: [\"*\"]}}"),
            "spec.rules[0].filters[0].urlRewrite: does not belong to a filter of the type CORS "
                + "(write a filter of its own, with type: URLRewrite)"),
        RouteCase(oneRule("{type: CORS}"), "spec.rules[0].filters[0].cors: is required"),
        RouteCase(
            oneRule("{type: URLRewrite, urlRewrite: {}}, {type: URLRewrite, urlRewrite: {}}"),
            "spec.rules[0].filters[1]: a second filter of the type URLRewrite (keep one of them)"),
        RouteCase(
            oneRule("{type: URLRewrite, urlRewrite: {}}, {type: RequestRedirect, requestRedirect: {}}"),
            "spec.rules[0].filters[1]: RequestRedirect and URLRewrite cannot be together (keep one of them)"),
        RouteCase(
            oneRule("{type: RequestRedirect, requestRedirect: {}}", ", backendRefs: [{name: a, port: 80}]"),
            "spec.rules[0].backendRefs: cannot be together with a RequestRedirect filter, which answers the request (remove one)"
        ),
        RouteCase(
            oneRule(
                "{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /a}}}",
                ", matches: [{path: {type: Exact, value: /}}]"),
            "spec.rules[0].filters[0].urlRewrite.path.replacePrefixMatch: needs a rule with exactly one match, of the path "
                + "type PathPrefix (write a rule for each prefix)"),
        RouteCase(
            oneRule(
                "{type: RequestRedirect, requestRedirect: {path: {type: ReplacePrefixMatch, replacePrefixMatch: \"\"}}}",
                ", matches: [{}, {}]"),
            "spec.rules[0].filters[0].requestRedirect.path.replacePrefixMatch: needs a rule with exactly one match, of the "
                + "path type PathPrefix (write a rule for each prefix)"),
        RouteCase(
            oneRule("{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: \"/a b\"}}}"),
            "spec.rules[0].filters[0].urlRewrite.path.replaceFullPath: \"/a b\" has a character that is not allowed in a "
                + "path (escape it with %)"),
        RouteCase(
            oneRule("{type: URLRewrite, urlRewrite: {hostname: 10.0.0.1}}"),
            "spec.rules[0].filters[0].urlRewrite.hostname: \"10.0.0.1\" is an address, not a host name"),
        RouteCase(
            oneRule("{type: RequestRedirect, requestRedirect: {statusCode: 304}}"),
            "spec.rules[0].filters[0].requestRedirect.statusCode: must be 301, 302, 303, 307 or 308, but is 304"),
        RouteCase(
            oneRule("{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: a, value: b}], remove: [A]}}"),
            "spec.rules[0].filters[0].requestHeaderModifier.remove[0]: \"A\" has more than one action (keep one of them)"
        ),
        RouteCase(
            oneRule(
                "{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: Transfer-Encoding, value: chunked}]}}"
            ),
            "spec.rules[0].filters[0].requestHeaderModifier.set[0].name: the header Transfer-Encoding belongs to the "
                + "connection and cannot be changed by a route (remove it)"),
        RouteCase(
            oneRule("{type: RequestHeaderModifier, requestHeaderModifier: {add: [{name: a, value: \"b\\r\\nc: d\"}]}}"),
            "spec.rules[0].filters[0].requestHeaderModifier.add[0].value: \"b\u{FFFD}\u{FFFD}c: d\" has a character that is "
                + "not printable ASCII"),
        RouteCase(
            oneRule("{type: RequestMirror, requestMirror: {backendRef: {name: a, port: 80}, percent: 101}}"),
            "spec.rules[0].filters[0].requestMirror.percent: must be between 0 and 100, but is 101"),
        RouteCase(
            oneRule(
                "{type: RequestMirror, requestMirror: {backendRef: {name: a, port: 80}, fraction: {numerator: 101}}}"),
            "spec.rules[0].filters[0].requestMirror.fraction: must not be more than 1, but is 101/100"),
        RouteCase(
            oneRule("{type: RequestMirror, requestMirror: {backendRef: {name: a}}}"),
            "spec.rules[0].filters[0].requestMirror.backendRef.port: is required (write the port of the Service)"),
        RouteCase(
            oneRule("{type: CORS, cors: {allowOrigins: [\"*\", \"http://a\"]}}"),
            "spec.rules[0].filters[0].cors.allowOrigins: \"*\" cannot be together with others (keep only \"*\", or remove it)"
        ),
        RouteCase(
            oneRule("{type: CORS, cors: {allowOrigins: [\"ftp://a\"]}}"),
            "spec.rules[0].filters[0].cors.allowOrigins[0]: \"ftp://a\" is not an origin like https://example.com, "
                + "https://*.example.com:8443 or *"),
        RouteCase(
            oneRule("{type: ExternalAuth, externalAuth: {}}"),
            "spec.rules[0].filters[0].externalAuth: filters of the type ExternalAuth are not supported (remove the filter)"
        ),
        RouteCase(
            "rules: [{backendRefs: [{name: a, port: 80, filters: [{type: RequestRedirect, requestRedirect: {}}]}]}]",
            "spec.rules[0].backendRefs[0].filters[0].requestRedirect: a RequestRedirect filter is not supported on a backend "
                + "(move it to the rule)"),
        RouteCase(
            "rules: [{backendRefs: [{name: a, port: 80, weight: 1000001}]}]",
            "spec.rules[0].backendRefs[0].weight: must be between 0 and 1000000, but is 1000001"),
    ])
    func filters(_ test: RouteCase) {
        #expect(RouteDecoding.messages(test.testDescription) == test.messages)
    }

    @Test(arguments: [
        RouteCase(
            "{kind: Service, name: a}",
            "spec.parentRefs[0]: a Service is not of the group gateway.networking.k8s.io, which is the default (write group: \"\")"
        ),
        RouteCase(
            "{name: a}",
            "warning: spec.parentRefs[0]: Gateway is no parent in a mesh; this reference has no effect here "
                + "(for a Service write group: \"\" and kind: Service)"),
        RouteCase(
            "{group: \"\", kind: Service, name: a}, {group: \"\", kind: Service, name: a}",
            "spec.parentRefs[1]: the same parent twice (give each a sectionName or a port of its own)"),
        RouteCase(
            "{group: \"\", kind: Service, name: a}, {group: \"\", kind: Service, name: a, port: 80}",
            "spec.parentRefs[1]: sectionName and port must be in all references to one parent, or in none (write them in each)"
        ),
        RouteCase("{group: \"\", kind: Service, name: a, port: 81}, {group: \"\", kind: Service, name: a, port: 80}"),
    ])
    func parents(_ test: RouteCase) {
        let text =
            "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: r}, "
            + "spec: {parentRefs: [\(test.testDescription)]}}"
        let manifest = RouteDecoding.manifest(text)
        let messages = (manifest.errors + manifest.warnings).map { error in
            "\(error.severity == .warning ? "warning: " : "")\(error.field): \(error.reason)"
                + (error.remedy.isEmpty ? "" : " (\(error.remedy))")
        }
        #expect(messages == test.messages)
    }

    @Test(arguments: [
        RouteCase(
            "rules: [{matches: [{method: {}}]}]",
            "spec.rules[0].matches[0].method: needs a service, a method or both (remove method to match every request)"),
        RouteCase(
            "rules: [{matches: [{method: {service: a/b}}]}]",
            "spec.rules[0].matches[0].method.service: \"a/b\" is not the name of a service, like helloworld.Greeter"),
        RouteCase(
            "rules: [{matches: [{method: {method: 1a}}]}]",
            "spec.rules[0].matches[0].method.method: \"1a\" is not the name of a method, like SayHello"),
        RouteCase(
            "rules: [{timeouts: {request: 1s}}]",
            "spec.rules[0].timeouts: unknown field (known here: name, matches, filters, backendRefs, sessionPersistence)"
        ),
        RouteCase(
            "rules: [{filters: [{type: URLRewrite}]}]",
            "spec.rules[0].filters[0].type: \"URLRewrite\" is not a known value "
                + "(known here: RequestHeaderModifier, ResponseHeaderModifier, RequestMirror, ExtensionRef)"),
    ])
    func grpc(_ test: RouteCase) {
        #expect(RouteDecoding.messages(test.testDescription, kind: "GRPCRoute") == test.messages)
    }

    @Test func grpcFields() throws {
        let text = RouteDecoding.document(
            "rules: [{name: a, matches: [{method: {service: a.S, method: Get}, headers: [{name: h, value: v}]}, "
                + "{method: {type: RegularExpression, method: \"Get.*\"}}, {}], backendRefs: [{name: b, port: 1}]}]",
            kind: "GRPCRoute")
        guard case .route(.route(.grpc(let route)))? = RouteDecoding.manifest(text).objects.first?.object else {
            throw RouteDecoding.Mismatch()
        }
        #expect(
            route.rules.first?.matches == [
                GRPCRouteMatch(method: .init(service: "a.S", method: "Get"), headers: [FieldMatch("h", "v")]),
                GRPCRouteMatch(method: .init(kind: .regularExpression, method: "Get.*")), GRPCRouteMatch(),
            ])
        #expect(route.rules.first?.backends.count == 1)
    }

    @Test func grants() throws {
        let text = """
            {apiVersion: gateway.networking.k8s.io/v1beta1, kind: ReferenceGrant, metadata: {name: g, namespace: bank},
             spec: {from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: shop}],
             to: [{group: "", kind: Service, name: a}, {group: "", kind: Service}]}}
            """
        guard case .route(.referenceGrant(let grant))? = RouteDecoding.manifest(text).objects.first?.object else {
            throw RouteDecoding.Mismatch()
        }
        #expect(grant.from == [.init(kind: "HTTPRoute", namespace: "shop")])
        #expect(grant.to == [.init(name: "a"), .init()])
        let empty =
            "{apiVersion: gateway.networking.k8s.io/v1, kind: ReferenceGrant, metadata: {name: g}, spec: {from: []}}"
        #expect(
            RouteDecoding.manifest(empty).errors.map { "\($0.field): \($0.reason)" } == [
                "spec.to: is required", "spec.from: must have at least one element",
            ])
    }
}

// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Testing

@testable import MeshManifests

/// Routes are read only by a decoder that is told to.
enum RouteDecoding {
    static func manifest(
        _ text: String, unsupportedValues: ManifestDecoder.UnsupportedValues = .refuse
    ) -> DecodedManifest {
        ManifestDecoder(
            unknownKinds: .refuse, kinds: Set(ObjectKind.allCases), unsupportedValues: unsupportedValues
        ).decode(Array(text.utf8), file: "f.yaml")
    }

    /// All messages about a route whose spec is `spec`, without the parts that they share.
    static func messages(_ spec: String, kind: String = "HTTPRoute") -> [String] {
        let manifest = manifest(document(spec, kind: kind))
        return (manifest.errors + manifest.warnings).sorted().map { error in
            let severity = error.severity == .warning ? "warning: " : ""
            return "\(severity)\(error.field): \(error.reason)\(error.remedy.isEmpty ? "" : " (\(error.remedy))")"
        }
    }

    static func document(_ spec: String, kind: String = "HTTPRoute") -> String {
        "{apiVersion: gateway.networking.k8s.io/v1, kind: \(kind), metadata: {name: r, namespace: shop}, "
            + "spec: {parentRefs: [{group: \"\", kind: Service, name: web}], \(spec)}}"
    }

    static func http(_ text: String) throws -> HTTPRoute {
        let manifest = manifest(text)
        try #require(manifest.errors.isEmpty, "\(manifest.errors)")
        guard case .route(.route(.http(let route)))? = manifest.objects.first?.object else {
            throw Mismatch()
        }
        return route
    }

    struct Mismatch: Error {}
}

@Suite struct HTTPRouteTests {
    static let complete = """
        apiVersion: gateway.networking.k8s.io/v1
        kind: HTTPRoute
        metadata: {name: web, namespace: shop, generation: 3, creationTimestamp: "2025-01-01T00:00:00Z"}
        spec:
          parentRefs:
          - {group: "", kind: Service, name: web, namespace: shop, sectionName: http, port: 80}
          rules:
          - name: main
            matches:
            - path: {type: Exact, value: /a}
              method: GET
              headers: [{name: X-A, value: b}, {type: RegularExpression, name: v, value: "v[12]"}]
              queryParams: [{name: q, value: a b}]
            - path: {value: /p}
            - path: {type: RegularExpression, value: "/v[0-9]+/.*"}
            filters:
            - type: RequestHeaderModifier
              requestHeaderModifier:
                set: [{name: a, value: "1"}]
                add: [{name: b, value: "2, 3"}]
                remove: [c]
            - type: ResponseHeaderModifier
              responseHeaderModifier: {remove: [server]}
            - type: RequestMirror
              requestMirror: {backendRef: {name: m, port: 80}, percent: 5}
            - type: RequestMirror
              requestMirror: {backendRef: {name: mm, port: 80}, fraction: {numerator: 1, denominator: 3}}
            - type: CORS
              cors:
                allowOrigins: ["https://*.example.com:8443", "http://a"]
                allowCredentials: true
                allowMethods: [GET, PUT]
                allowHeaders: [x-a]
                exposeHeaders: ["*", x-b]
                maxAge: 60
            backendRefs:
            - {name: v1, port: 80, weight: 90}
            - name: v2
              namespace: other
              port: 8080
              weight: 0
              filters:
              - type: RequestHeaderModifier
                requestHeaderModifier: {set: [{name: canary, value: "yes"}]}
            timeouts: {request: 10s, backendRequest: 500ms}
            retry: {codes: [502, 503], attempts: 2, backoff: 100ms}
          - matches: [{path: {value: /old}}]
            filters:
            - type: RequestRedirect
              requestRedirect:
                scheme: https
                hostname: a.example.com
                path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}
                port: 8443
                statusCode: 308
          - filters:
            - type: URLRewrite
              urlRewrite: {hostname: b.example.com, path: {type: ReplaceFullPath, replaceFullPath: /x}}
        """

    @Test func everyFieldIsRead() throws {
        let route = try RouteDecoding.http(Self.complete)
        #expect(route.generation == 3)
        #expect(
            route.parentRefs == [
                RouteParentReference(namespace: "shop", name: "web", sectionName: "http", port: 80)
            ])
        let rule = try #require(route.rules.first)
        #expect(rule.name == "main")
        #expect(
            rule.matches == [
                HTTPRouteMatch(
                    path: .exact("/a"), method: "GET",
                    headers: [FieldMatch("X-A", "b"), FieldMatch(name: "v", value: .regularExpression("v[12]"))],
                    queryParams: [FieldMatch("q", "a b")]),
                HTTPRouteMatch(path: .prefix("/p")), HTTPRouteMatch(path: .regularExpression("/v[0-9]+/.*")),
            ])
        #expect(
            rule.filters == [
                .requestHeaderModifier(
                    .init(set: [.init("a", "1")], add: [.init("b", "2, 3")], remove: ["c"])),
                .responseHeaderModifier(.init(remove: ["server"])),
                .requestMirror(.init(backend: .init(name: "m", port: 80), numerator: 5)),
                .requestMirror(.init(backend: .init(name: "mm", port: 80), numerator: 1, denominator: 3)),
                .cors(
                    .init(
                        allowOrigins: ["https://*.example.com:8443", "http://a"], allowCredentials: true,
                        allowMethods: ["GET", "PUT"], allowHeaders: ["x-a"], exposeHeaders: ["*", "x-b"], maxAge: 60)),
            ])
        #expect(
            rule.backends == [
                .init(reference: .init(name: "v1", port: 80), weight: 90),
                .init(
                    reference: .init(namespace: "other", name: "v2", port: 8080), weight: 0,
                    filters: [.requestHeaderModifier(.init(set: [.init("canary", "yes")]))]),
            ])
        #expect(rule.timeouts.request?.milliseconds == 10_000 && rule.timeouts.backendRequest?.milliseconds == 500)
        #expect(
            rule.retry == RouteRetry(codes: [502, 503], attempts: 2, backoff: GatewayDuration(milliseconds: 100)))
        #expect(
            route.rules[1].filters == [
                .requestRedirect(
                    .init(
                        scheme: .https, hostname: "a.example.com", path: .replacePrefixMatch("/new"), port: 8443,
                        statusCode: 308))
            ])
        #expect(route.rules[2].filters == [.urlRewrite(.init(hostname: "b.example.com", path: .replaceFullPath("/x")))])
        // The API's defaults.
        #expect(route.rules[2].matches == [HTTPRouteMatch(path: .prefix("/"))])
        let empty = try RouteDecoding.http(RouteDecoding.document(""))
        #expect(empty.rules == [.init(matches: [HTTPRouteMatch()])])
    }

    /// Only where a node proxy runs.
    @Test func routesAreNotAcceptedByDefault() {
        for (kind, name) in [
            ("HTTPRoute", "HTTPRoute"), ("GRPCRoute", "GRPCRoute"), ("ReferenceGrant", "ReferenceGrant"),
        ] {
            let text = RouteDecoding.document("", kind: kind)
            let refused = Decoding.manifest(text)
            #expect(refused.objects.isEmpty)
            #expect(refused.errors.map(\.reason) == ["the kind \"\(name)\" is not read: routes need the node proxy"])
            #expect(refused.errors.first?.remedy == "start mesh-agent with its proxy: see --proxy")
            let ignored = Decoding.manifest(text, unknownKinds: .warn)
            #expect(ignored.objects.isEmpty && ignored.errors.isEmpty)
            #expect(ignored.warnings.map(\.reason) == ["the kind \"\(name)\" is not read: routes need the node proxy"])
        }
        #expect(ObjectKind(argument: "httproutes") == nil && ObjectKind(argument: "pods") == .pod)
    }

    /// With a path and a line for each mistake.
    @Test func placesAreExact() {
        let text = """
            apiVersion: gateway.networking.k8s.io/v1
            kind: HTTPRoute
            metadata: {name: web}
            spec:
              parentRefs: [{group: "", kind: Service, name: web}]
              rules:
              - matches:
                - path: {type: Exact, value: a}
                backendRef: []
            """
        let manifest = RouteDecoding.manifest(text)
        #expect(
            manifest.errors.map(\.description) == [
                "f.yaml:8:34: HTTPRoute default/web: spec.rules[0].matches[0].path.value: \"a\" is not an absolute path "
                    + "(begin with /)",
                "f.yaml:9:5: HTTPRoute default/web: spec.rules[0].backendRef: unknown field "
                    + "(did you mean \"backendRefs\"?)",
            ])
    }

    @Test func unsupportedValuesAreRecordedForTheStatus() throws {
        let text = RouteDecoding.document(
            """
            rules: [{matches: [{path: {type: RegularExpression, value: "(a)\\\\1"}}]}, \
            {filters: [{type: ExtensionRef, extensionRef: {group: g, kind: K, name: n}}]}, {}]
            """)
        #expect(RouteDecoding.manifest(text).errors.count == 2)
        let manifest = RouteDecoding.manifest(text, unsupportedValues: .record)
        #expect(manifest.errors.isEmpty && manifest.warnings.count == 2)
        guard case .route(.route(.http(let route)))? = manifest.objects.first?.object else {
            Issue.record("not an HTTPRoute")
            return
        }
        #expect(route.rules.map { $0.unsupported.map(\.part) } == [[.match], [.action], []])
        #expect(route.rules[1].unsupported.first?.field == "spec.rules[1].filters[0].extensionRef")
    }
}

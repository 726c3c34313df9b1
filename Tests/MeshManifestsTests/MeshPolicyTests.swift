// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Testing

@testable import MeshManifests

/// A MeshPolicy is read only by a decoder that is told to.
@Suite struct MeshPolicyTests {
    static func document(_ spec: String) -> String {
        "{apiVersion: sockmesh.io/v1alpha1, kind: MeshPolicy, metadata: {name: p, namespace: shop}, spec: {\(spec)}}"
    }

    static func manifest(_ text: String) -> DecodedManifest {
        ManifestDecoder(unknownKinds: .refuse, kinds: [.meshPolicy]).decode(Array(text.utf8), file: "f.yaml")
    }

    /// All messages, without the parts that they share.
    static func messages(_ spec: String) -> [String] {
        let manifest = manifest(document(spec))
        return (manifest.errors + manifest.warnings).sorted().map { error in
            let severity = error.severity == .warning ? "warning: " : ""
            return "\(severity)\(error.field): \(error.reason)\(error.remedy.isEmpty ? "" : " (\(error.remedy))")"
        }
    }

    private struct NoPolicy: Error {}

    static func policy(_ text: String) throws -> MeshPolicy {
        let manifest = manifest(text)
        try #require(manifest.errors.isEmpty && manifest.warnings.isEmpty, "\(manifest.errors + manifest.warnings)")
        guard case .meshPolicy(let policy)? = manifest.objects.first?.object else { throw NoPolicy() }
        return policy
    }

    @Test func everyField() throws {
        let policy = try Self.policy(
            """
            apiVersion: sockmesh.io/v1alpha1
            kind: MeshPolicy
            metadata:
              name: p
              namespace: shop
            spec:
              targetRefs:
                - {group: "", kind: Service, name: web, sectionName: http}
                - {kind: Service, name: db}
                - {kind: Namespace, name: shop}
                - {kind: Pod, selector: {matchLabels: {app: web}}}
              connection:
                maxConnections: 100
                maxPending: 0
                connectTimeout: 2s
                idleTimeout: 0s
                poolPerClient: true
                http: {maxRequestHeadersKb: 64, maxConcurrentStreams: 200}
              resilience:
                timeouts: {request: 10s, backendRequest: 3s}
                retryBudget: {percent: 30, interval: 20s, minRetryRate: {count: 5, interval: 2s}}
                outlierDetection:
                  consecutive5xxErrors: 7
                  consecutiveGatewayErrors: 0
                  consecutiveConnectFailures: 2
                  interval: 5s
                  baseEjectionTime: 10s
                  maxEjectionTime: 1m
                  maxEjectionPercent: 20
                  minHealthPercent: 40
                loadBalancing: {algorithm: Maglev, hash: {key: Header, header: X-User}}
              rateLimit:
                - {key: Route, requestsPerSecond: 100}
                - {key: SourceIdentity, requestsPerSecond: 10, burst: 20, dryRun: true}
                - {key: Header, header: X-Tenant, requestsPerSecond: 5, burst: 1}
              fault: {delay: 50ms, abort: {grpcStatus: 14}, percent: 5}
              protocol: {detect: Auto, appProtocolOverrides: {8080: gRPC, "25": TCP}, detectTimeout: 3s}
            """)
        #expect(
            policy.targets == [
                .service("web", port: "http"), .service("db", port: nil), .namespace,
                .pods(LabelSelector(matchLabels: ["app": "web"])),
            ])
        let settings = policy.settings
        #expect(settings.maxConnections == 100 && settings.maxPending == 0)
        #expect(settings.connectTimeout?.milliseconds == 2000 && settings.idleTimeout?.milliseconds == 0)
        #expect(settings.poolPerClient == true)
        #expect(settings.maxRequestHeadersKb == 64 && settings.maxConcurrentStreams == 200)
        #expect(settings.requestTimeout?.milliseconds == 10_000 && settings.backendRequestTimeout?.milliseconds == 3000)
        let budget = try #require(settings.retryBudget)
        #expect(budget.percent == 30 && budget.interval.milliseconds == 20_000)
        #expect(budget.minimumCount == 5 && budget.minimumInterval.milliseconds == 2000)
        let outliers = try #require(settings.outlierDetection)
        #expect(outliers.consecutiveServerErrors == 7 && outliers.consecutiveGatewayErrors == 0)
        #expect(outliers.consecutiveConnectFailures == 2 && outliers.interval.milliseconds == 5000)
        #expect(outliers.baseEjectionTime.milliseconds == 10_000 && outliers.maxEjectionTime.milliseconds == 60_000)
        #expect(outliers.maxEjectionPercent == 20 && outliers.minHealthPercent == 40)
        #expect(settings.algorithm == .maglev(.header("x-user")) && settings.locality == nil)
        #expect(
            settings.rateLimits == [
                .init(key: .route, requestsPerSecond: 100, burst: 100),
                .init(key: .sourceIdentity, requestsPerSecond: 10, burst: 20, isDryRun: true),
                .init(key: .header("x-tenant"), requestsPerSecond: 5, burst: 1),
            ])
        #expect(settings.fault == .init(delay: .init(milliseconds: 50), abort: .grpcStatus(14), percent: 5))
        #expect(settings.detect == .auto && settings.detectTimeout?.milliseconds == 3000)
        #expect(settings.protocolOverrides == [8080: .grpc, 25: .tcp])
    }

    @Test func theRestOfTheAlgorithms() throws {
        for (text, expected) in [
            ("RoundRobin, locality: PreferSameNode", .roundRobin), ("LeastRequest, locality: None", .leastRequest),
            ("Maglev, hash: {key: SourceAddress}", .maglev(.sourceAddress)),
        ] as [(String, MeshPolicySettings.Algorithm)] {
            let spec = "targetRefs: [{kind: Namespace}], resilience: {loadBalancing: {algorithm: \(text)}}"
            #expect(try Self.policy(Self.document(spec)).settings.algorithm == expected)
        }
    }

    @Test func onlyTheNodeProxyActsOnIt() {
        #expect(!ObjectKind.enforced.contains(.meshPolicy))
        let manifest = ManifestDecoder(unknownKinds: .refuse).decode(
            Array(Self.document("targetRefs: [{kind: Namespace}]").utf8), file: "f.yaml")
        #expect(
            manifest.objects.isEmpty
                && manifest.errors.first?.reason == "the kind \"MeshPolicy\" is not read: it needs the node proxy")
    }

    @Test func twoOfOneName() {
        let one = Self.document("targetRefs: [{kind: Namespace}], fault: {delay: 1s}")
        let manifest = Self.manifest(one + "\n---\n" + one)
        #expect(manifest.objects.count == 1)
        #expect(manifest.errors.map(\.description).contains { $0.hasPrefix("f.yaml:3") })
    }

    @Test func whereAnErrorIs() {
        let text = """
            apiVersion: sockmesh.io/v1alpha1
            kind: MeshPolicy
            metadata: {name: p, namespace: shop}
            spec:
              targetRefs: [{kind: Namespace}]
              connection:
                maxConections: 5
            """
        let errors = Self.manifest(text).errors
        #expect(errors.map(\.line) == [7] && errors.map(\.field) == ["spec.connection.maxConections"])
        #expect(errors.first?.remedy == "did you mean \"maxConnections\"?")
    }

    @Test(arguments: [
        RouteCase(
            "targetRefs: []",
            "spec.targetRefs: must have at least one target (write - kind: Namespace for the whole namespace)"),
        RouteCase("fault: {delay: 1s}", "spec.targetRefs: is required (name what the policy is for)"),
        RouteCase(
            "targetRefs: [{kind: Namespace}]",
            "warning: spec: sets nothing (add connection, resilience, rateLimit, fault or protocol)"),
        RouteCase(
            "targetRefs: [{kind: Service}]", "spec.targetRefs[0].name: is required"),
        RouteCase(
            "targetRefs: [{kind: Service, name: web, selector: {}}]",
            "spec.targetRefs[0].selector: does not belong to a target of the kind Service (remove it)"),
        RouteCase(
            "targetRefs: [{kind: Namespace, name: bank}]",
            "spec.targetRefs[0].name: a policy cannot target another namespace than its own, shop "
                + "(remove it, or put the policy there)"),
        RouteCase(
            "targetRefs: [{kind: Pod, name: web-1}]",
            "spec.targetRefs[0].name: does not belong to a target of the kind Pod (remove it)",
            "spec.targetRefs[0].selector: is required (a pod's name changes; select it by its labels)"),
        RouteCase(
            "targetRefs: [{kind: Pod, selector: {}}]",
            "spec.targetRefs[0].selector: selects every pod (use a target of the kind Namespace)"),
        RouteCase(
            "targetRefs: [{kind: Namespace}, {kind: Namespace}]",
            "spec.targetRefs[1]: is there twice (remove one of the two)"),
        RouteCase(
            "targetRefs: [{group: apps, kind: Service, name: web}]",
            "spec.targetRefs[0].group: \"apps\" has no kind that can be a target (remove it, or write \"\")"),
        RouteCase(
            "targetRefs: [{kind: Deployment, name: web}]",
            "spec.targetRefs[0].kind: \"Deployment\" is not a known value (known here: Service, Namespace, Pod)"),
    ])
    func targets(_ test: RouteCase) { #expect(Set(Self.messages(test.testDescription)) == Set(test.messages)) }

    @Test(arguments: [
        RouteCase(
            "security: {}",
            "spec.security: unknown field (known here: targetRefs, connection, resilience, rateLimit, fault, protocol)"),
        RouteCase(
            "connection: {maxConnections: 0}", "spec.connection.maxConnections: must be between 1 and 1000000, but is 0"
        ),
        RouteCase(
            "connection: {maxConnections: \"5\"}",
            "spec.connection.maxConnections: must be an integer, but is the string \"5\" (remove the quotes)"),
        RouteCase(
            "connection: {connectTimeout: 0s}",
            "spec.connection.connectTimeout: must be longer than nothing (remove it for the default)"),
        RouteCase(
            "connection: {connectTimeout: 1.5s}",
            "spec.connection.connectTimeout: \"1.5s\" is not a duration (write it like 10s, 500ms or 1h30m, without fractions)"
        ),
        RouteCase(
            "connection: {http: {maxRequestHeadersKb: 9000}}",
            "spec.connection.http.maxRequestHeadersKb: must be between 1 and 8192, but is 9000"),
        RouteCase(
            "resilience: {timeouts: {request: 1s, backendRequest: 2s}}",
            "spec.resilience.timeouts.backendRequest: 2s is longer than the whole request's 1s"),
        RouteCase(
            "resilience: {retryBudget: {percent: 101}}",
            "spec.resilience.retryBudget.percent: must be between 0 and 100, but is 101"),
        RouteCase(
            "resilience: {outlierDetection: {maxEjectionTime: 1s}}",
            "spec.resilience.outlierDetection.maxEjectionTime: the longest ejection, 1s, is shorter than the first, 30s"
        ),
        RouteCase(
            "resilience: {loadBalancing: {algorithm: Maglev}}",
            "spec.resilience.loadBalancing.hash: is required (say by what requests are kept together)"),
        RouteCase(
            "resilience: {loadBalancing: {algorithm: RoundRobin, hash: {key: SourceAddress}}}",
            "spec.resilience.loadBalancing.hash: belongs to the algorithm Maglev only (remove it, or write algorithm: Maglev)"
        ),
        RouteCase(
            "resilience: {loadBalancing: {algorithm: Maglev, hash: {key: Header}}}",
            "spec.resilience.loadBalancing.hash.header: is required"),
        RouteCase(
            "resilience: {loadBalancing: {algorithm: Maglev, hash: {key: SourceAddress, header: a}}}",
            "spec.resilience.loadBalancing.hash.header: belongs to the key Header only (remove it)"),
        RouteCase(
            "resilience: {loadBalancing: {algorithm: Maglev, hash: {key: SourceAddress}, locality: PreferSameZone}}",
            "spec.resilience.loadBalancing.locality: has no effect with Maglev: a key leads to one endpoint wherever that is "
                + "(remove one of the two)"),
        RouteCase(
            "rateLimit: [{key: Route}]", "spec.rateLimit[0].requestsPerSecond: is required"),
        RouteCase(
            "rateLimit: [{key: Header, requestsPerSecond: 1}]", "spec.rateLimit[0].header: is required"),
        RouteCase(
            "rateLimit: [{key: Route, requestsPerSecond: 1}, {key: Route, requestsPerSecond: 2}]",
            "spec.rateLimit[1]: has the key of another limit (keep the lower of the two)"),
        RouteCase(
            "rateLimit: [{key: Route, requestsPerSecond: 1, dryRun: maybe}]",
            "spec.rateLimit[0].dryRun: must be a boolean, but is the string \"maybe\" (write true or false, without quotes)"
        ),
        RouteCase("fault: {}", "spec.fault: must have delay or abort"),
        RouteCase("fault: {abort: {}}", "spec.fault.abort: must have one of httpStatus and grpcStatus"),
        RouteCase(
            "fault: {abort: {httpStatus: 503, grpcStatus: 1}}",
            "spec.fault.abort: must have one of httpStatus and grpcStatus"),
        RouteCase("fault: {abort: {grpcStatus: 0}}", "spec.fault.abort.grpcStatus: must be between 1 and 16, but is 0"),
        RouteCase(
            "fault: {abort: {httpStatus: 101}}", "spec.fault.abort.httpStatus: must be between 200 and 599, but is 101"),
        RouteCase(
            "protocol: {detect: HTTP2, detectTimeout: 1s}",
            "spec.protocol.detectTimeout: has no effect: nothing is detected if the protocol is HTTP2 (remove it)"),
        RouteCase(
            "protocol: {detect: HTTP3}",
            "spec.protocol.detect: \"HTTP3\" is not a known value (did you mean \"HTTP1\"?)"),
        RouteCase(
            "protocol: {appProtocolOverrides: {0: TCP, web: TCP, 25: SMTP}}",
            "spec.protocol.appProtocolOverrides.0: the key must be a port between 1 and 65535",
            "spec.protocol.appProtocolOverrides.web: the key must be a port between 1 and 65535",
            "spec.protocol.appProtocolOverrides.25: \"SMTP\" is not a known value "
                + "(known here: Auto, HTTP1, HTTP2, gRPC, TCP, TLS)"),
        RouteCase("protocol: {detect: TCP, appProtocolOverrides: {80: Auto}, detectTimeout: 1s}"),
    ])
    func fields(_ test: RouteCase) {
        #expect(Self.messages("targetRefs: [{kind: Namespace}], " + test.testDescription) == test.messages)
    }
}

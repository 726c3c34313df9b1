// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Testing

@testable import MeshManifests

@Suite struct AuthorizationPolicyTests {
    static let complete = """
        apiVersion: security.istio.io/v1beta1
        kind: AuthorizationPolicy
        metadata: {name: web, namespace: shop, annotations: {istio.io/dry-run: "true"}}
        spec:
          selector: {matchLabels: {app: web}}
          action: DENY
          rules:
          - from:
            - source:
                principals: ["cluster.local/ns/a/sa/b", "*"]
                notPrincipals: ["cluster.local/ns/a/*"]
                namespaces: [a, b-*]
                notNamespaces: ["*-c"]
                ipBlocks: [10.0.0.0/8, 10.1.2.3]
                notIpBlocks: ["fd00::/8"]
                trustDomains: [td]
                notTrustDomains: [td2]
                requestPrincipals: ["*"]
                remoteIpBlocks: [1.2.3.4]
            - source: {serviceAccounts: [ns/sa, sa], notServiceAccounts: [other]}
            to:
            - operation:
                ports: ["80", "443"]
                notPorts: ["81"]
                hosts: [example.com]
                methods: [GET]
                paths: ["/a/*", "/b/{*}/c", "*.txt"]
            when:
            - {key: source.ip, values: [10.0.0.0/8]}
            - {key: destination.port, notValues: ["8080"]}
            - {key: "request.headers[x-a]", values: [b]}
          - {}
        """

    @Test func everyFieldIsRead() throws {
        guard case .authorizationPolicy(let policy) = try Decoding.object(Self.complete) else {
            Issue.record("not an AuthorizationPolicy")
            return
        }
        #expect(policy.apiVersion == "security.istio.io/v1")
        #expect(policy.selector == LabelSelector(matchLabels: ["app": "web"]))
        #expect(policy.action == .deny)
        #expect(policy.isDryRun)
        let rule = try #require(policy.rules.first)
        let source = try #require(rule.from.first)
        #expect(source.principals == ["cluster.local/ns/a/sa/b", "*"])
        #expect(source.notPrincipals == ["cluster.local/ns/a/*"])
        #expect(source.namespaces == ["a", "b-*"])
        #expect(source.notNamespaces == ["*-c"])
        #expect(source.ipBlocks.map(\.description) == ["10.0.0.0/8", "10.1.2.3/32"])
        #expect(source.notIpBlocks.map(\.description) == ["fd00::/8"])
        #expect(source.trustDomains == ["td"])
        #expect(source.notTrustDomains == ["td2"])
        #expect(source.hasL7Fields)
        #expect(rule.from[1].serviceAccounts == ["ns/sa", "sa"])
        #expect(rule.from[1].notServiceAccounts == ["other"])
        #expect(rule.to[0].ports == [80, 443])
        #expect(rule.to[0].notPorts == [81])
        #expect(rule.to[0].paths == ["/a/*", "/b/{*}/c", "*.txt"])
        #expect(rule.when.map(\.key) == ["source.ip", "destination.port", "request.headers[x-a]"])
        #expect(rule.when[0].values == ["10.0.0.0/8"])
        #expect(rule.when[1].notValues == ["8080"])
        #expect(policy.rules[1] == .init())
    }

    @Test func anEmptySpecAllowsNothing() throws {
        let text = "{apiVersion: sockmesh.io/v1alpha1, kind: AuthorizationPolicy, metadata: {name: a}, spec: {}}"
        guard case .authorizationPolicy(let policy) = try Decoding.object(text) else { return }
        #expect(policy.action == .allow && policy.rules.isEmpty && policy.selector == nil)
        #expect(policy.apiVersion == "sockmesh.io/v1alpha1")
    }

    static func policy(_ spec: String) -> String {
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: web, namespace: shop}\nspec:\n"
            + spec
    }

    static func source(_ fields: String) -> String {
        policy("  rules:\n  - from:\n    - source: \(fields)\n")
    }

    static let name = "AuthorizationPolicy shop/web"
    static let place = "AuthorizationPolicy shop/web: spec.rules[0].from[0].source"

    static let bad: [BadManifest] = [
        .init(
            "CUSTOM", policy("  action: CUSTOM\n  provider: {name: x}\n"),
            "f.yaml:5:11: \(name): spec.action: the action CUSTOM is not supported: there is no external authorizer "
                + "(use ALLOW, DENY or AUDIT)"),
        .init(
            "provider without CUSTOM", policy("  provider: {name: x}\n"),
            "f.yaml:5:13: \(name): spec.provider: belongs to the action CUSTOM only (remove it)"),
        .init(
            "action", policy("  action: Allow\n"),
            "f.yaml:5:11: \(name): spec.action: \"Allow\" is not a known value (did you mean \"ALLOW\"?)"),
        .init(
            "expressions", policy("  selector: {matchExpressions: [{key: a, operator: Exists}]}\n"),
            "f.yaml:5:32: \(name): spec.selector.matchExpressions: is not part of this API: its selector has only "
                + "matchLabels (use matchLabels, or one policy for each value)"),
        .init(
            "selector and targets",
            policy("  selector: {}\n  targetRefs: [{kind: Service, name: a}]\n"),
            "f.yaml:6:15: \(name): spec.targetRefs: cannot be together with selector (remove one of the two)"),
        .init(
            "empty lists", policy("  rules: [{from: [], to: [], when: []}]\n"),
            "f.yaml:5:18: \(name): spec.rules[0].from: must have at least one element "
                + "(remove the field to leave it open)",
            "f.yaml:5:26: \(name): spec.rules[0].to: must have at least one element "
                + "(remove the field to leave it open)",
            "f.yaml:5:36: \(name): spec.rules[0].when: must have at least one element "
                + "(remove the field to leave it open)"),
        .init(
            "empty source", source("{}"), "f.yaml:7:15: \(place): must have at least one field"),
        .init(
            "source without source", policy("  rules:\n  - from:\n    - principals: [a]\n"),
            "f.yaml:7:7: \(name): spec.rules[0].from[0].principals: unknown field (known here: source)",
            "f.yaml:7:7: \(name): spec.rules[0].from[0].source: is required"),
        .init(
            "scheme", source("{principals: [\"spiffe://td/ns/a/sa/b\"]}"),
            "f.yaml:7:29: \(place).principals[0]: principals are written without the scheme (write td/ns/a/sa/b)"),
        .init(
            "wildcards", source("{principals: [\"a*b\", \"*a*\", \"\"], namespaces: []}"),
            "f.yaml:7:29: \(place).principals[0]: \"a*b\" has a * in the middle "
                + "(a * may be the first or the last character)",
            "f.yaml:7:36: \(place).principals[1]: \"*a*\" has a * at both ends (only one end can be left open)",
            "f.yaml:7:43: \(place).principals[2]: must not be empty (write \"*\" for any value)",
            "f.yaml:7:60: \(place).namespaces: must have at least one value (remove the field to leave it open)"),
        .init(
            "service accounts", source("{serviceAccounts: [\"a/*\", a/b/c, A/b], namespaces: [x], notPrincipals: [p]}"),
            "f.yaml:7:33: \(place).serviceAccounts: cannot be together with notPrincipals and namespaces in one source "
                + "(a service account names the namespace already)",
            "f.yaml:7:34: \(place).serviceAccounts[0]: \"a/*\" has a wildcard, which service accounts cannot have "
                + "(use namespaces or principals)",
            "f.yaml:7:41: \(place).serviceAccounts[1]: \"a/b/c\" is not of the form namespace/name or name",
            "f.yaml:7:48: \(place).serviceAccounts[2]: \"A\" is not a valid name: use lower-case letters, digits and "
                + "-, and begin and end with a letter or digit "
                + "(write namespace/name, or the name alone for the policy's namespace)"),
        .init(
            "blocks", source("{ipBlocks: [10.0.0.1/24, x], notIPBlocks: [1.2.3.4]}"),
            "f.yaml:7:27: \(place).ipBlocks[0]: \"10.0.0.1/24\" has bits set after the prefix (write 10.0.0.0/24)",
            "f.yaml:7:40: \(place).ipBlocks[1]: \"x\" is not a prefix like 10.0.0.0/8 or fd00::/8",
            "f.yaml:7:44: \(place).notIPBlocks: unknown field (did you mean \"notIpBlocks\"?)"),
        .init(
            "ports", policy("  rules:\n  - to:\n    - operation: {ports: [\"0\", 80, \"080\", \"http\"]}\n"),
            "f.yaml:7:27: \(name): spec.rules[0].to[0].operation.ports[0]: \"0\" is not a port between 1 and 65535",
            "f.yaml:7:32: \(name): spec.rules[0].to[0].operation.ports[1]: must be a string, but is the number 80 "
                + "(put it in quotes: \"80\")",
            "f.yaml:7:36: \(name): spec.rules[0].to[0].operation.ports[2]: \"080\" is not a port between 1 and 65535",
            "f.yaml:7:43: \(name): spec.rules[0].to[0].operation.ports[3]: \"http\" is not a port between 1 and 65535"),
        .init(
            "conditions",
            policy(
                """
                  rules:
                  - when:
                    - {key: source.namespaces, values: [a]}
                    - {key: source.ip}
                    - {key: source.ip, values: [a]}
                    - {key: "request.headers[", values: [a]}
                    - {values: [a]}
                """),
            "f.yaml:7:13: \(name): spec.rules[0].when[0].key: \"source.namespaces\" is not a known attribute "
                + "(did you mean \"source.namespace\"?)",
            "f.yaml:8:7: \(name): spec.rules[0].when[1]: must have values or notValues",
            "f.yaml:9:33: \(name): spec.rules[0].when[2].values[0]: \"a\" is not a prefix like 10.0.0.0/8 or fd00::/8",
            "f.yaml:10:13: \(name): spec.rules[0].when[3].key: \"request.headers[\" must end with a name in brackets "
                + "(write request.headers[name])",
            "f.yaml:11:7: \(name): spec.rules[0].when[4].key: is required"),
        .init(
            "too many rules", policy("  rules: [\(Array(repeating: "{}", count: 513).joined(separator: ","))]\n"),
            "f.yaml:5:10: \(name): spec.rules: has 513 elements; the limit is 512"),
    ]

    @Test(arguments: bad)
    func refuses(_ manifest: BadManifest) {
        #expect(Decoding.messages(manifest.text) == manifest.messages)
        #expect(Decoding.manifest(manifest.text).objects.isEmpty)
    }

    @Test func aDenyWithoutRulesIsAWarning() {
        let manifest = Decoding.manifest(Self.policy("  action: DENY\n"))
        #expect(manifest.objects.count == 1)
        #expect(
            manifest.warnings.map(\.description) == [
                "f.yaml:5:3: warning: \(Self.name): spec.rules: a DENY policy without rules denies nothing "
                    + "(write rules: [{}] to deny everything)"
            ])
    }

    @Test func auditIsAccepted() throws {
        guard case .authorizationPolicy(let policy) = try Decoding.object(Self.policy("  action: AUDIT\n")) else {
            return
        }
        #expect(policy.action == .audit)
    }
}

@Suite struct PeerAuthenticationTests {
    static let complete = """
        apiVersion: security.istio.io/v1
        kind: PeerAuthentication
        metadata: {name: web, namespace: shop}
        spec:
          selector: {matchLabels: {app: web}}
          mtls: {mode: STRICT}
          portLevelMtls:
            8080: {mode: PERMISSIVE}
            "9090": {mode: DISABLE}
        """

    @Test func everyFieldIsRead() throws {
        guard case .peerAuthentication(let policy) = try Decoding.object(Self.complete) else {
            Issue.record("not a PeerAuthentication")
            return
        }
        #expect(policy.selector == LabelSelector(matchLabels: ["app": "web"]))
        #expect(policy.mode == .strict)
        #expect(policy.portLevelMtls == [8080: .permissive, 9090: .disable])
    }

    static func policy(_ spec: String) -> String {
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: web}\nspec:\n" + spec
    }

    static let name = "PeerAuthentication default/web"

    static let bad: [BadManifest] = [
        .init(
            "mode", policy("  mtls: {mode: strict}\n"),
            "f.yaml:5:16: \(name): spec.mtls.mode: \"strict\" is not a known value (did you mean \"STRICT\"?)"),
        .init(
            "mode of its own", policy("  mtls: STRICT\n"),
            "f.yaml:5:9: \(name): spec.mtls: must be a mapping, but is the string \"STRICT\""),
        .init(
            "ports without a selector", policy("  portLevelMtls: {80: {mode: STRICT}}\n"),
            "f.yaml:5:18: \(name): spec.portLevelMtls: needs a selector: ports differ from workload to workload "
                + "(add spec.selector.matchLabels)"),
        .init(
            "ports", policy("  selector: {matchLabels: {a: b}}\n  portLevelMtls: {http: {mode: STRICT}, 0: {}}\n"),
            "f.yaml:6:19: \(name): spec.portLevelMtls.http: the key must be a port between 1 and 65535",
            "f.yaml:6:41: \(name): spec.portLevelMtls.0: the key must be a port between 1 and 65535"),
    ]

    @Test(arguments: bad)
    func refuses(_ manifest: BadManifest) {
        #expect(Decoding.messages(manifest.text) == manifest.messages)
    }
}

// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Testing

@Suite struct ExplanationTests {
    typealias Fixture = PolicyFixture

    private func explain(
        _ policies: [MeshObject], _ source: String, _ destination: String, _ port: UInt16 = 80
    ) throws -> PolicyExplanation {
        try PolicyFixture(policies).explain(Fixture.address(named: source), Fixture.address(named: destination), port)
    }

    @Test func namesThePolicyThatIsolates() throws {
        let explanation = try explain([Fixture.network("deny-all", types: [.ingress])], "teller", "web")
        #expect(explanation.verdict == .deny)
        #expect(explanation.deciding.direction == .ingress)
        #expect(explanation.deciding.stage == .networkPolicy)
        #expect(explanation.deciding.policies.map(\.description) == ["NetworkPolicy shop/deny-all"])
        #expect(explanation.deciding.rule == nil)
        #expect(explanation.deciding.sentence.hasPrefix("NetworkPolicy shop/deny-all restricts ingress of 10.0.0.1"))
    }

    @Test func namesTheRuleThatAllows() throws {
        let rules: [NetworkPolicy.Rule] = [
            .init(ports: [.init(port: .number(1))]), .init(ports: [.init(port: .number(80))]),
        ]
        let explanation = try explain(
            [Fixture.network("a", types: [.ingress]), Fixture.network("b", ingress: rules)], "teller", "web")
        #expect(explanation.verdict == .allow)
        #expect(explanation.deciding.policies.map(\.name) == ["b"])
        #expect(explanation.deciding.rule == 1)
    }

    @Test func egressDecidesFirst() throws {
        let explanation = try explain(
            [
                Fixture.network("out", on: Fixture.app("web"), types: [.egress]),
                Fixture.network("in", on: Fixture.app("db"), types: [.ingress]),
            ],
            "web", "db")
        #expect(explanation.deciding.direction == .egress)
        #expect(explanation.deciding.policies.map(\.name) == ["out"])
        #expect(explanation.ingress.verdict == .deny)
    }

    @Test func namesTheDenyingRule() throws {
        let rule = AuthorizationPolicy.Rule(to: [Fixture.operation { $0.ports = [80] }])
        let explanation = try explain(
            [Fixture.authorization(.deny, [.init(to: [Fixture.operation { $0.ports = [1] }]), rule], name: "d")], "db",
            "web")
        #expect(explanation.deciding.stage == .authorizationDeny)
        #expect(explanation.deciding.rule == 1)
        #expect(explanation.deciding.sentence.contains("AuthorizationPolicy shop/d, rules[1], denies"))
    }

    @Test func namesThePoliciesThatAllowOthersOnly() throws {
        let explanation = try explain(
            [Fixture.authorization(.allow, [], name: "a"), Fixture.authorization(.allow, [], name: "b")], "db", "web")
        #expect(explanation.deciding.stage == .authorizationAllow)
        #expect(explanation.deciding.policies.map(\.name) == ["a", "b"])
    }

    @Test func namesTheStrictPolicy() throws {
        let explanation = try explain(
            [
                Fixture.peerAuthentication(.strict, name: "mesh", namespace: "root"),
                Fixture.authorization(.allow, [.init()]),
            ], "job", "web")
        #expect(explanation.deciding.stage == .peerAuthentication)
        #expect(explanation.deciding.policies.map(\.name) == ["mesh"])
    }

    @Test func saysWhereNothingIsDecided() throws {
        let explanation = try explain([Fixture.network(types: [.ingress])], "web", "remote")
        #expect(explanation.verdict == .allow)
        #expect(!explanation.ingress.isEnforced && explanation.egress.isEnforced)
        #expect(explanation.ingress.sentence.contains("not an enrolled pod of this node"))
    }

    @Test func podsByName() throws {
        let fixture = PolicyFixture([Fixture.network(types: [.ingress])])
        let question = PolicyQuestion(
            source: .pod(Fixture.teller.namespacedName), destination: .pod(Fixture.web.namespacedName), port: 80)
        #expect(try fixture.compiler.explain(question).ingress.sentence.contains("shop/web"))
        let unknown = NamespacedName(namespace: "shop", name: "nobody")
        #expect(throws: UnknownPodError(pod: unknown)) {
            try fixture.compiler.explain(
                PolicyQuestion(source: .pod(unknown), destination: question.destination, port: 1))
        }
        let host = PolicyQuestion(
            source: .pod(Fixture.agent.namespacedName), destination: question.destination, port: 1)
        #expect(try fixture.compiler.explain(host).sourceIdentity == .host)
    }
}

@Suite struct FindingTests {
    typealias Fixture = PolicyFixture

    private func reasons(_ policies: [MeshObject], extra: [MeshObject] = []) -> [String] {
        PolicyFixture(policies, extra: extra).compiler.findings().map {
            [$0.reason.rawValue, $0.pod?.name, $0.path].compactMap { $0 }.joined(separator: " ")
        }
    }

    @Test func podsThatAreNotEnforced() {
        #expect(reasons([Fixture.network()]).sorted() == ["hostNetwork agent", "notEnrolled job"])
        #expect(reasons([Fixture.network(namespace: "bank")]).isEmpty, "a pod of another node is no finding")
        #expect(reasons([Fixture.network(on: Fixture.app("web"))]).isEmpty)
    }

    @Test func rulesThatAreNotEnforced() {
        let on = Fixture.app("web")
        let sctp = NetworkPolicy.Rule(ports: [.init(port: .number(1)), .init(transport: .sctp)])
        #expect(reasons([Fixture.network(on: on, ingress: [.init(), sctp])]) == ["sctp spec.ingress[1].ports[1]"])
        #expect(reasons([Fixture.authorization(.audit, [], on: on)]) == ["audit spec.action"])
        #expect(
            reasons([Fixture.peerAuthentication(.strict, namespace: "other", ports: [1: .strict])])
                == ["noTunnels spec.mtls.mode", "portLevelWithoutSelector spec.portLevelMtls"])
        #expect(
            reasons([Fixture.peerAuthentication(.disable, on: on, ports: [1: .strict, 2: .disable])]) == [
                "notSupported spec.mtls.mode", "noTunnels spec.portLevelMtls[1].mode",
                "notSupported spec.portLevelMtls[2].mode",
            ])
        let http = AuthorizationPolicy.Rule(
            from: [Fixture.source { $0.requestPrincipals = ["*"] }, AuthorizationPolicy.Source()],
            to: [Fixture.operation { $0.methods = ["GET"] }, AuthorizationPolicy.Operation()],
            when: [.init(key: "request.headers[x]", values: ["y"])])
        #expect(
            reasons([Fixture.authorization(.allow, [http], on: on)]) == [
                "needsProxy spec.rules[0].from[0].source", "matchesNothing spec.rules[0].from[1].source",
                "needsProxy spec.rules[0].to[0].operation", "matchesNothing spec.rules[0].to[1].operation",
                "needsProxy spec.rules[0].when[0]",
            ])
    }

    /// Of two PeerAuthentications of one level the older counts.
    @Test func policiesInWhosePlaceAnOlderOneIs() {
        let on = Fixture.app("web")
        let found = PolicyFixture([
            Fixture.peerAuthentication(.permissive, name: "a", on: on, created: "2025-01-01T00:00:00Z"),
            Fixture.peerAuthentication(.permissive, name: "b", on: on, created: "2024-01-01T00:00:00Z"),
            Fixture.peerAuthentication(.permissive, name: "c", namespace: "bank"),
        ]).compiler.findings()
        #expect(found.map(\.policy.name) == ["a"] && found.map(\.reason) == [.conflicted])
        #expect(
            found.first?.message
                == "has no effect on pod shop/web: PeerAuthentication shop/b of the same scope is older")
    }

    @Test func namesThatNoContainerHas() {
        let rule = NetworkPolicy.Rule(ports: [.init(port: .name("http")), .init(port: .name("nope"))])
        #expect(
            reasons([Fixture.network(on: Fixture.app("web"), ingress: [rule])]) == [
                "danglingPort web spec.ingress[0].ports"
            ])
        #expect(
            reasons([Fixture.network(on: Fixture.app("web"), egress: [rule])]) == ["danglingPort spec.egress[0].ports"])
    }

    @Test func settingsThatLetTrafficBy() {
        var raw = Fixture.web
        raw.mesh.allowRawSockets = true
        raw.mesh.skipInboundPorts = [22]
        raw.mesh.skipOutboundPorts = [25]
        let on = Fixture.app("web")
        #expect(reasons([Fixture.network(on: on)], extra: [.pod(raw)]) == ["skippedPorts web"])
        #expect(
            reasons([Fixture.network(on: on, types: [.egress])], extra: [.pod(raw)]).sorted()
                == ["rawSockets web", "skippedPorts web"])
    }

    @Test func onlyThePoliciesAskedFor() {
        let fixture = PolicyFixture([Fixture.network("a"), Fixture.network("b")])
        let one = fixture.compiler.findings(for: [Fixture.network("a").reference])
        #expect(Set(one.map(\.policy.name)) == ["a"])
        #expect(
            one.first?.description.contains("annotate it or its namespace with sockmesh.io/mesh: enabled") == true
                || one.count == 2)
    }
}

// SPDX-License-Identifier: Apache-2.0

import MeshModel
import TestSupport
import Testing

/// What the kernel is told where a node proxy decides about requests.
@Suite struct L7VerdictTests {
    typealias Fixture = PolicyFixture

    private static func compiler(_ objects: [MeshObject], _ l7: L7Enforcement) -> MeshCompiler {
        var compiler = MeshCompiler(
            configuration: .init(
                nodeName: "here", nodeAddresses: [Fixture.node], rootNamespace: "root", l7: l7))
        let pods = Fixture.everyone.map { MeshObject.pod($0) }
        let enrolled = Set([Fixture.web, Fixture.db, Fixture.teller].map(\.namespacedName))
        _ = compiler.update(MeshChange(changed: pods + objects, enrolled: enrolled))
        return compiler
    }

    private static func verdict(
        _ compiler: MeshCompiler, from source: IPAddress, to pod: Pod, _ port: UInt16, _ transport: TransportProtocol,
        _ lookup: KernelLookup? = nil
    ) -> PolicyVerdict? {
        guard let workload = compiler.mesh.workloads[pod.namespacedName] else { return nil }
        let lookup = lookup ?? KernelLookup(compiler.mesh)
        let raw = lookup.verdict(
            set: workload.policySet.rawValue, .ingress, identity: lookup.identity(of: source), port: port, transport)
        return PolicyVerdict(rawValue: raw)
    }

    private static let sources: [(address: String, principal: String?)] = [
        ("10.0.0.2", "cluster.local/ns/shop/sa/db"), ("10.1.0.1", "cluster.local/ns/bank/sa/web"), ("10.0.0.3", nil),
        ("10.1.0.9", nil), ("8.8.8.8", nil),
    ]

    /// The kernel allows or denies only where every request gets that answer, and asks the proxy about the rest.
    @Test func verdictsLeaveOpenWhatRequestsDecide() throws {
        var open = 0
        var trulyOpen = 0
        var closed = 0
        for seed: UInt64 in 0..<40 {
            var generator = RequestGenerator(seed: seed)
            var policies = (0..<generator.random.pick([1, 1, 2])).map { generator.policy("p\($0)") }
            for index in policies.indices { policies[index].metadata.namespace = "shop" }
            let objects = policies.map { MeshObject.authorizationPolicy($0) }
            let compiler = Self.compiler(objects, .enforced)
            let absent = Self.compiler(objects, .absent)
            let oracle = RequestOracle(policies)
            let lookup = KernelLookup(compiler.mesh)
            let absentLookup = KernelLookup(absent.mesh)
            for (text, principal) in Self.sources {
                let source = Fixture.address(text)
                for port: UInt16 in [80, 8080] {
                    let verdict = try #require(
                        Self.verdict(compiler, from: source, to: Fixture.web, port, .tcp, lookup))
                    var answers: Set<Bool> = []
                    for _ in 0..<30 {
                        var request = generator.request()
                        request.principal = principal
                        request.source = source
                        request.destination = Fixture.web.podIPs[0]
                        request.port = port
                        if let answer = oracle.allows(request) { answers.insert(answer) }
                    }
                    let context = "seed \(seed), from \(text) on \(port): \(verdict), answers \(answers)"
                    switch verdict {
                    case .allow: #expect(answers == [true], "\(context)")
                    case .deny: #expect(answers == [false], "\(context)")
                    case .needsProxy:
                        open += 1
                        trulyOpen += answers.count == 2 ? 1 : 0
                    }
                    if verdict != .needsProxy { closed += 1 }
                    let explained = try compiler.explain(
                        PolicyQuestion(
                            source: .address(source), destination: .address(Fixture.web.podIPs[0]), port: port))
                    #expect(explained.verdict == verdict, "\(context): \(explained.deciding.sentence)")
                    // Datagrams have no proxy.
                    let udp = Self.verdict(compiler, from: source, to: Fixture.web, port, .udp, lookup)
                    let today = Self.verdict(absent, from: source, to: Fixture.web, port, .udp, absentLookup)
                    #expect(udp == today, "\(context)")
                }
            }
        }
        #expect(closed > 50 && open > 50, "\(open) open, \(closed) closed")
        #expect(trulyOpen * 3 > open, "only \(trulyOpen) of \(open) open verdicts had both answers")
    }

    @Test func verdicts() throws {
        let get = AuthorizationPolicy.Rule(to: [Fixture.operation { $0.methods = ["GET"] }])
        let fromDB = AuthorizationPolicy.Rule(from: [Fixture.source { $0.serviceAccounts = ["db"] }])
        var getFromDB = fromDB
        getFromDB.to = get.to
        let port = AuthorizationPolicy.Rule(to: [Fixture.operation { $0.ports = [80] }])
        let token = AuthorizationPolicy.Rule(from: [Fixture.source { $0.requestPrincipals = ["*"] }])
        let cases: [(String, [MeshObject], PolicyVerdict, PolicyVerdict)] = [
            ("none", [], .allow, .allow),
            ("ALLOW", [Fixture.authorization(.allow, [get])], .needsProxy, .needsProxy),
            ("DENY", [Fixture.authorization(.deny, [get])], .needsProxy, .needsProxy),
            ("of one source", [Fixture.authorization(.allow, [getFromDB])], .needsProxy, .deny),
            ("DENY of one source", [Fixture.authorization(.deny, [getFromDB])], .needsProxy, .allow),
            ("beside what suffices", [Fixture.authorization(.allow, [get, fromDB])], .allow, .needsProxy),
            ("a certain DENY", [Fixture.authorization(.deny, [get, port])], .deny, .deny),
            (
                "denied anyway",
                [Fixture.authorization(.deny, [get]), Fixture.authorization(.allow, [fromDB], name: "allow")],
                .needsProxy, .deny
            ),
            ("tokens", [Fixture.authorization(.allow, [token])], .deny, .deny),
            ("tokens in DENY", [Fixture.authorization(.deny, [token])], .deny, .deny),
            ("a dry run changes nothing", [Fixture.authorization(.deny, [get], isDryRun: true)], .allow, .allow),
        ]
        for (name, policies, fromDB, fromTeller) in cases {
            let compiler = Self.compiler(policies, .enforced)
            for (source, expected) in [(Fixture.db, fromDB), (Fixture.teller, fromTeller)] {
                let verdict = Self.verdict(compiler, from: source.podIPs[0], to: Fixture.web, 80, .tcp)
                #expect(verdict == expected, "\(name), from \(source.metadata.name)")
            }
        }
    }

    @Test func explanationSaysWhichRuleDecidesPerRequest() throws {
        let get = AuthorizationPolicy.Rule(to: [Fixture.operation { $0.methods = ["GET"] }])
        let compiler = Self.compiler([Fixture.authorization(.deny, [get])], .enforced)
        let explanation = try compiler.explain(
            PolicyQuestion(
                source: .pod(Fixture.db.namespacedName), destination: .pod(Fixture.web.namespacedName), port: 1))
        #expect(explanation.verdict == .needsProxy && explanation.deciding.direction == .ingress)
        #expect(
            explanation.deciding.sentence
                == "AuthorizationPolicy shop/ap, rules[0], decides for each request to 10.0.0.1 from 10.0.0.2 on TCP 1"
                || explanation.deciding.sentence
                    == "AuthorizationPolicy shop/ap, rules[0], decides for each request to shop/web from shop/db on TCP 1"
        )
    }

    // MARK: Authorizers of workloads

    @Test func workloadsWithEqualPoliciesShareAnAuthorizer() {
        let deny = AuthorizationPolicy.Rule(to: [Fixture.operation { $0.methods = ["GET"] }])
        var compiler = Self.compiler([Fixture.authorization(.deny, [deny])], .enforced)
        let first = compiler.requestAuthorizers()
        #expect(Set(first.keys.map(\.name)) == ["web", "db"])
        let web = first[Fixture.web.namespacedName]
        #expect(web === first[Fixture.db.namespacedName])

        _ = compiler.update(
            MeshChange(changed: [Fixture.authorization(.allow, [], name: "db", on: Fixture.app("db"))]))
        let second = compiler.requestAuthorizers()
        #expect(second[Fixture.web.namespacedName] === web, "what a change does not select stays")
        #expect(second[Fixture.db.namespacedName]?.policies.map(\.metadata.name) == ["ap", "db"])

        _ = compiler.update(MeshChange(changed: [Fixture.authorization(.deny, [deny], name: "all", namespace: "root")]))
        #expect(Set(compiler.requestAuthorizers().keys.map(\.name)) == ["web", "db", "teller"])
    }

    @Test func aServiceAsTargetSelectsItsPods() {
        let reference = ObjectReference(apiVersion: "v1", kind: "Service", namespace: "shop", name: "front")
        var policy = AuthorizationPolicy(
            metadata: ObjectMetadata(name: "ap", namespace: "shop"), targetRefs: ["Service/front"], action: .allow)
        var service = Service(metadata: ObjectMetadata(name: "front", namespace: "shop"), ports: [.init(port: 80)])
        service.selector = ["app": "web"]
        func names(_ compiler: inout MeshCompiler) -> Set<String> {
            let names = Set(compiler.requestAuthorizers().keys.map(\.name))
            for pod in [Fixture.web, Fixture.db] {
                let verdict = Self.verdict(compiler, from: Fixture.teller.podIPs[0], to: pod, 80, .tcp)
                #expect(verdict == (names.contains(pod.metadata.name) ? .deny : .allow))
            }
            return names
        }
        var compiler = Self.compiler([.authorizationPolicy(policy)], .enforced)
        #expect(names(&compiler).isEmpty, "the Service does not exist")
        _ = compiler.update(MeshChange(changed: [.service(service)]))
        #expect(names(&compiler) == ["web"])
        service.selector = ["app": "db"]
        _ = compiler.update(MeshChange(changed: [.service(service)]))
        #expect(names(&compiler) == ["db"])
        service.selector = [:]
        _ = compiler.update(MeshChange(changed: [.service(service)]))
        #expect(names(&compiler).isEmpty, "a Service without a selector")
        service.selector = ["app": "db"]
        _ = compiler.update(MeshChange(changed: [.service(service)]))
        _ = compiler.update(MeshChange(removed: [reference]))
        #expect(names(&compiler).isEmpty)
        policy.targetRefs = ["Gateway/g"]
        var gateway = Self.compiler([.authorizationPolicy(policy)], .enforced)
        #expect(names(&gateway).isEmpty)
        #expect(gateway.findings().map(\.reason) == [.targetRefs])
    }

    @Test func findingsWithAProxy() {
        let rule = AuthorizationPolicy.Rule(
            from: [
                Fixture.source { $0.requestPrincipals = ["*"] }, Fixture.source { $0.remoteIpBlocks = ["1.2.3.4"] },
            ],
            to: [Fixture.operation { $0.methods = ["GET"] }],
            when: [.init(key: "request.headers[x]", values: ["y"]), .init(key: "connection.sni", values: ["z"])])
        let compiler = Self.compiler([Fixture.authorization(.deny, [rule], on: Fixture.app("web"))], .enforced)
        #expect(
            compiler.findings().compactMap(\.path) == ["spec.rules[0].from[0].source", "spec.rules[0].when[1]"])
    }
}

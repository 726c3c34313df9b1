// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Testing

@Suite struct PeerAuthenticationTests {
    typealias Fixture = PolicyFixture

    struct Case: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let policies: [MeshObject]
        /// Ports of `web` on which the unproved pod `job` is refused, of 80, 81 and 8086.
        let strict: Set<UInt16>
    }

    static let cases: [Case] = [
        Case(testDescription: "none", policies: [], strict: []),
        Case(
            testDescription: "mesh", policies: [Fixture.peerAuthentication(.strict, namespace: "root")],
            strict: [80, 81, 8086]),
        Case(
            testDescription: "namespace", policies: [Fixture.peerAuthentication(.strict)], strict: [80, 81, 8086]),
        Case(
            testDescription: "another namespace", policies: [Fixture.peerAuthentication(.strict, namespace: "bank")],
            strict: []),
        Case(
            testDescription: "namespace over mesh",
            policies: [
                Fixture.peerAuthentication(.strict, namespace: "root"), Fixture.peerAuthentication(.permissive),
            ],
            strict: []),
        Case(
            testDescription: "workload over namespace",
            policies: [
                Fixture.peerAuthentication(.strict),
                Fixture.peerAuthentication(.disable, name: "web", on: Fixture.app("web")),
            ],
            strict: []),
        Case(
            testDescription: "UNSET defers, level by level",
            policies: [
                Fixture.peerAuthentication(.strict, namespace: "root"), Fixture.peerAuthentication(.unset),
                Fixture.peerAuthentication(.unset, name: "web", on: Fixture.app("web")),
            ],
            strict: [80, 81, 8086]),
        Case(
            testDescription: "a port over its workload",
            policies: [
                Fixture.peerAuthentication(.strict, on: Fixture.app("web"), ports: [80: .permissive, 81: .unset])
            ],
            strict: [81, 8086]),
        Case(
            testDescription: "a strict port, the rest from the namespace",
            policies: [
                Fixture.peerAuthentication(.permissive),
                Fixture.peerAuthentication(.unset, name: "web", on: Fixture.app("web"), ports: [81: .strict]),
            ],
            strict: [81]),
        Case(
            testDescription: "ports without a selector have no effect",
            policies: [Fixture.peerAuthentication(.permissive, ports: [80: .strict])], strict: []),
        Case(
            testDescription: "a selector in the root namespace: that workload, wherever it is",
            policies: [
                Fixture.peerAuthentication(.permissive),
                Fixture.peerAuthentication(.strict, name: "root", namespace: "root", on: Fixture.app("web")),
            ],
            strict: [80, 81, 8086]),
        Case(
            testDescription: "the mesh's switch, and a namespace that stays open",
            policies: [
                Fixture.peerAuthentication(.strict, namespace: "root"),
                Fixture.peerAuthentication(.permissive, namespace: "shop"),
                Fixture.peerAuthentication(.strict, namespace: "bank"),
            ],
            strict: []),
        Case(
            testDescription: "DISABLE of a port is PERMISSIVE",
            policies: [
                Fixture.peerAuthentication(.strict, namespace: "root"),
                Fixture.peerAuthentication(.unset, name: "web", on: Fixture.app("web"), ports: [80: .disable]),
            ],
            strict: [81, 8086]),
        Case(
            testDescription: "UNSET of a port defers to its workload, and that to the namespace",
            policies: [
                Fixture.peerAuthentication(.strict),
                Fixture.peerAuthentication(
                    .unset, name: "web", on: Fixture.app("web"), ports: [80: .unset, 81: .permissive]),
            ],
            strict: [80, 8086]),
        Case(
            testDescription: "ports of the oldest object of a workload only",
            policies: [
                Fixture.peerAuthentication(
                    .unset, name: "a", on: Fixture.app("web"), ports: [80: .strict], created: "2025-01-01T00:00:00Z"),
                Fixture.peerAuthentication(
                    .unset, name: "b", on: Fixture.app("web"), ports: [81: .strict], created: "2024-01-01T00:00:00Z"),
            ],
            strict: [81]),
        Case(
            testDescription: "the oldest of two",
            policies: [
                Fixture.peerAuthentication(.permissive, name: "a", created: "2025-01-01T00:00:00Z"),
                Fixture.peerAuthentication(.strict, name: "b", created: "2024-01-01T00:00:00Z"),
            ],
            strict: [80, 81, 8086]),
        Case(
            testDescription: "without times the first by name",
            policies: [
                Fixture.peerAuthentication(.strict, name: "b"), Fixture.peerAuthentication(.permissive, name: "a"),
            ],
            strict: []),
    ]

    @Test(arguments: cases)
    func precedence(_ testCase: Case) throws {
        let fixture = PolicyFixture(testCase.policies)
        for port in [80, 81, 8086] as [UInt16] {
            let isStrict = testCase.strict.contains(port)
            let demand = try #require(fixture.compiler.peerAuthentication(of: Fixture.web.namespacedName, port: port))
            #expect((demand.mode == .strict) == isStrict && demand.mode != .unset, "\(demand)")
            #expect(try fixture.allows("job", "web", port) == !isStrict, "unproved pod, port \(port)")
            #expect(try fixture.allows("8.8.8.8", "web", port, .udp) == !isStrict, "world, port \(port)")
            #expect(try fixture.allows("remote", "web", port) == !isStrict, "pod of another node, port \(port)")
            #expect(try fixture.allows("teller", "web", port), "proved pod, port \(port)")
            // The kubelet is exempt where the pod declares a probe, with TCP.
            #expect(try fixture.allows("host", "web", port) == (!isStrict || port == 8086), "node, port \(port)")
            #expect(try fixture.allows("host", "web", port, .udp) == !isStrict, "node, UDP, port \(port)")
        }
    }

    @Test func sayWhoDemandsWhat() throws {
        let fixture = PolicyFixture([
            Fixture.peerAuthentication(.strict, name: "all", namespace: "root"),
            Fixture.peerAuthentication(.unset, name: "web", on: Fixture.app("web"), ports: [80: .permissive]),
        ])
        func text(_ pod: Pod, _ port: UInt16) -> String? {
            fixture.compiler.peerAuthentication(of: pod.namespacedName, port: port)?.description
        }
        #expect(text(Fixture.web, 80) == "PERMISSIVE by PeerAuthentication shop/web, its portLevelMtls")
        #expect(text(Fixture.web, 81) == "STRICT by PeerAuthentication root/all")
        #expect(text(Fixture.db, 80) == "STRICT by PeerAuthentication root/all")
        #expect(text(Fixture.job, 80) == nil && text(Fixture.remote, 80) == nil, "not enrolled here")
        let none = PolicyFixture([]).compiler.peerAuthentication(of: Fixture.web.namespacedName, port: 80)
        #expect(none?.description == "PERMISSIVE, as no PeerAuthentication says otherwise")
    }

    @Test func aDryRunDemandsNothing() throws {
        guard case .peerAuthentication(var policy) = Fixture.peerAuthentication(.strict) else { return }
        policy.isDryRun = true
        let fixture = PolicyFixture([.peerAuthentication(policy)])
        #expect(try fixture.allows("job", "web", 80))
        #expect(try !fixture.allows("job", "web", 80, withDryRun: true))
        #expect(fixture.compiler.peerAuthentication(of: Fixture.web.namespacedName, port: 80)?.mode == .permissive)
    }

    @Test func namedProbesAreOfTheirContainer() {
        var pod = Fixture.web
        pod.containers = [
            Pod.Container(name: "a", ports: [.init(name: "health", port: 1)], probes: [.name("health"), .number(5)]),
            Pod.Container(
                name: "b", ports: [.init(name: "health", port: 2), .init(name: "u", port: 3, transport: .udp)],
                probes: [.name("u")]),
        ]
        #expect(pod.probePorts == [1, 5])
    }

    @Test func aRemovedExemptionIsAnotherSet() throws {
        var fixture = PolicyFixture([Fixture.peerAuthentication(.strict)])
        #expect(try fixture.allows("host", "web", 8086))
        var pod = Fixture.web
        pod.containers[0].probes = []
        fixture.objects[0] = .pod(pod)
        let changes = fixture.compiler.update(MeshChange(changed: [.pod(pod)]))
        #expect(changes.workloads == [pod.namespacedName])
        #expect(try !fixture.allows("host", "web", 8086))
    }
}

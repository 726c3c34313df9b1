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
            #expect(try fixture.allows("job", "web", port) == !isStrict, "unproved pod, port \(port)")
            #expect(try fixture.allows("8.8.8.8", "web", port, .udp) == !isStrict, "world, port \(port)")
            #expect(try fixture.allows("remote", "web", port) == !isStrict, "pod of another node, port \(port)")
            #expect(try fixture.allows("teller", "web", port), "proved pod, port \(port)")
            // The kubelet is exempt where the pod declares a probe, with TCP.
            #expect(try fixture.allows("host", "web", port) == (!isStrict || port == 8086), "node, port \(port)")
            #expect(try fixture.allows("host", "web", port, .udp) == !isStrict, "node, UDP, port \(port)")
        }
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

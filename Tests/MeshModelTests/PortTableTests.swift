// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Testing

@Suite struct PortTableTests {
    typealias Fixture = PolicyFixture

    private func set(_ policies: [MeshObject]) throws -> PolicySet {
        let mesh = PolicyFixture(policies).compiler.mesh
        let workload = try #require(mesh.workloads[Fixture.web.namespacedName])
        return try #require(mesh.policySets[workload.policySet])
    }

    @Test func segmentsAreMergedByClass() throws {
        let db = NetworkPolicy.Peer.pods(pods: Fixture.app("db"), namespaces: nil)
        let table = try set([
            Fixture.network(
                on: Fixture.app("web"),
                ingress: [
                    .init(peers: [db], ports: [.init(port: .number(80), endPort: 89)]),
                    .init(peers: [db], ports: [.init(port: .number(90))]),
                    .init(peers: [db], ports: [.init(port: .number(443))]),
                    .init(ports: [.init(port: .number(53))]),
                ])
        ]).ingressTCP
        #expect(table.segments.map(\.firstPort) == [0, 53, 54, 80, 91, 443, 444])
        #expect(table.segments.map(\.portClass) == [0, 1, 0, 2, 0, 2, 0])
        #expect(table.segments.map(\.verdict) == [.deny, .allow, .deny, .deny, .deny, .deny, .deny])
        #expect(table.exceptions.count == 3)
    }

    @Test func entriesAreClassAndVerdict() throws {
        let table = try set([
            Fixture.network(
                on: Fixture.app("web"),
                ingress: [.init(ports: [.init(port: .number(255), endPort: 256), .init(port: .number(65535))])])
        ]).ingressTCP
        let encoded = table.encoded()
        #expect(encoded.pageIndexes.count == 256)
        #expect(encoded.pages.count == 3, "the first is like the last, the second, and one for all others")
        let entry = { (port: Int) in encoded.pages[Int(encoded.pageIndexes[port >> 8])][port & 255] }
        for port in 0...65535 {
            let segment = table.segment(of: UInt16(port))
            let expected = segment.portClass << 2 | UInt16(segment.verdict.rawValue)
            guard entry(port) == expected else {
                Issue.record("port \(port): entry \(entry(port)), expected \(expected)")
                return
            }
        }
        #expect([254, 255, 256, 257, 65534, 65535].map { entry($0) & 3 } == [0, 1, 1, 0, 0, 1])
        #expect(Set(encoded.pageIndexes[2..<255]).count == 1)
    }

    @Test func everyPortDifferentFits() throws {
        // One rule for each of 1000 ports, alternating between two peers: pages are full, classes are few.
        let rules = (1...1000).map { port in
            NetworkPolicy.Rule(
                peers: [.pods(pods: Fixture.app(port % 2 == 0 ? "db" : "job"), namespaces: nil)],
                ports: [.init(port: .number(UInt16(port)))])
        }
        let table = try set([Fixture.network(on: Fixture.app("web"), ingress: rules)]).ingressTCP
        #expect(table.segments.count == 1002)
        #expect(table.exceptions.count == 3)
        #expect(table.encoded().pages.count == 4, "the first, two alike, the fourth, and one for all others")
    }

    @Test func allowAllIsOneSegment() {
        let encoded = PortTable.allowAll.encoded()
        #expect(encoded.pages == [[UInt16](repeating: 1, count: 256)])
        #expect(encoded.pageIndexes == [UInt8](repeating: 0, count: 256))
        #expect(PortTable.allowAll.verdict(of: .world, port: 1) == .allow)
        #expect(PolicySet.allowAll.verdict(.ingress, .tcp, peer: .unknown, port: 1) == .deny)
    }

    @Test func exceptionsAreFoundByIdentity() throws {
        let set = try set([
            Fixture.authorization(.deny, [.init(from: [Fixture.source { $0.namespaces = ["shop"] }])])
        ])
        let identities = set.ingressTCP.exceptions[0].map(\.identity)
        #expect(identities == identities.sorted())
        #expect(identities.count == 2, "web and db; job has no proved identity")
        for identity in identities { #expect(set.verdict(.ingress, .udp, peer: identity, port: 7) == .deny) }
        #expect(set.verdict(.ingress, .tcp, peer: .host, port: 7) == .allow)
        #expect(set.verdict(.ingress, .tcp, peer: IdentityNumber(rawValue: 99_999), port: 7) == .allow)
        #expect(set.exceptionCount == 4, "TCP and UDP")
    }
}

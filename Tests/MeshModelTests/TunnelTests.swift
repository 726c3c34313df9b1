// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing

@testable import MeshModel

/// What the kernel is told where TCP between nodes goes through tunnels.
@Suite struct TunnelTests {
    typealias Fixture = PolicyFixture

    private static let far = enrolled("bank", "far", ["10.2.0.1", "fd02::1"])
    private static let other = enrolled("shop", "other", ["10.2.0.2"])
    /// Of another node, and not in the mesh.
    private static let bare = Fixture.pod("shop", "bare", ["10.2.0.3"], node: "there")
    private static let local = [Fixture.web, Fixture.db]

    private static func enrolled(_ namespace: String, _ name: String, _ addresses: [String]) -> Pod {
        var pod = Fixture.pod(namespace, name, addresses, node: "there")
        pod.mesh.membership = .enabled
        return pod
    }

    private static func compiler(_ objects: [MeshObject] = [], hasTunnels: Bool = true) -> MeshCompiler {
        var compiler = MeshCompiler(
            configuration: .init(
                nodeName: "here", nodeAddresses: [Fixture.node], rootNamespace: "root", l7: .enforced, hasProxy: true,
                hasTunnels: hasTunnels))
        let pods = (local + [far, other, bare]).map { MeshObject.pod($0) }
        _ = compiler.update(
            MeshChange(changed: pods + objects, enrolled: Set(local.map(\.namespacedName))))
        return compiler
    }

    private static func verdict(
        _ compiler: MeshCompiler, _ direction: PolicyDirection, of pod: Pod, _ peer: IdentityNumber, _ port: UInt16,
        _ transport: TransportProtocol = .tcp
    ) throws -> PolicyVerdict {
        let workload = try #require(compiler.mesh.workloads[pod.namespacedName])
        guard workload.policySet != .none else { return .allow }
        let set = try #require(compiler.mesh.policySets[workload.policySet])
        return set.verdict(direction, transport, peer: peer, port: port)
    }

    private static func egress(
        _ compiler: MeshCompiler, to address: String, _ port: UInt16, _ transport: TransportProtocol = .tcp,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> PolicyVerdict {
        let address = Fixture.address(address)
        let identity = compiler.mesh.addresses[address]?.identity ?? .world
        let verdict = try verdict(compiler, .egress, of: Fixture.web, identity, port, transport)
        let explained = try compiler.explain(
            PolicyQuestion(
                source: .pod(Fixture.web.namespacedName), destination: .address(address), port: port,
                transport: transport))
        #expect(explained.egress.verdict == verdict, "\(explained.egress)", sourceLocation: sourceLocation)
        return verdict
    }

    @Test func whoIsEnrolledElsewhereIsReachedThroughTheProxy() throws {
        let compiler = Self.compiler()
        for port: UInt16 in [0, 80, 15007, 15008, 15009, 65535] {
            #expect(try Self.egress(compiler, to: "10.2.0.1", port) == .needsProxy)
            #expect(try Self.egress(compiler, to: "fd02::1", port) == .needsProxy)
            #expect(try Self.egress(compiler, to: "10.2.0.1", port, .udp) == .allow)
            for address in ["10.0.0.2", "10.2.0.3", "8.8.8.8", "192.168.0.1"] {
                #expect(try Self.egress(compiler, to: address, port) == .allow, "\(address)")
            }
        }
        #expect(Set(compiler.mesh.remotePods.keys) == [Self.far.namespacedName, Self.other.namespacedName])
        let sentence = try compiler.explain(
            PolicyQuestion(
                source: .pod(Fixture.web.namespacedName), destination: .pod(Self.far.namespacedName), port: 80,
                transport: .tcp)
        ).egress.sentence
        #expect(sentence == "no policy restricts egress of shop/web, through a tunnel with mutual TLS")
    }

    @Test func withoutTunnelsNothingDiffers() throws {
        let compiler = Self.compiler(hasTunnels: false)
        #expect(compiler.mesh.remotePods.isEmpty && compiler.mesh.policySets.isEmpty)
        #expect(try Self.egress(compiler, to: "10.2.0.1", 80) == .allow)
    }

    @Test func egressPolicyStillDenies() throws {
        let to = NetworkPolicy.Rule(
            peers: [.pods(pods: nil, namespaces: LabelSelector(matchLabels: ["kubernetes.io/metadata.name": "bank"]))],
            ports: [.init(port: .number(80))])
        let compiler = Self.compiler([
            Fixture.network(on: Fixture.app("web"), types: [.egress], egress: [to])
        ])
        #expect(try Self.egress(compiler, to: "10.2.0.1", 80) == .needsProxy)
        #expect(try Self.egress(compiler, to: "10.2.0.1", 81) == .deny)
        #expect(try Self.egress(compiler, to: "10.2.0.2", 80) == .deny)
        // By the port of tunnels the proxy reaches whom policy lets the pod reach by some other.
        #expect(try Self.egress(compiler, to: "10.2.0.2", 15008) == .needsProxy)
        #expect(try Self.egress(compiler, to: "10.0.0.2", 15008) == .deny)
        #expect(try Self.egress(compiler, to: "8.8.8.8", 15008) == .deny)
    }

    @Test func everybodyMayKnockAtThePortOfTunnels() throws {
        let compiler = Self.compiler([
            Fixture.network(on: Fixture.app("web"), types: [.ingress]),
            Fixture.peerAuthentication(.strict),
        ])
        for number in compiler.mesh.identities.keys {
            #expect(try Self.verdict(compiler, .ingress, of: Fixture.web, number, 15008) == .needsProxy)
            #expect(try Self.verdict(compiler, .ingress, of: Fixture.web, number, 15007) == .deny)
        }
        #expect(try Self.verdict(compiler, .ingress, of: Fixture.web, .world, 15008, .udp) == .deny)
        #expect(try Self.verdict(compiler, .ingress, of: Fixture.web, .unknown, 15008) == .deny)
    }

    @Test func onlyACertificateProvesWhoComesFromElsewhere() throws {
        let compiler = Self.compiler([
            Fixture.authorization(
                .allow,
                [.init(from: [Fixture.source { $0.principals = ["cluster.local/ns/bank/sa/far"] }])],
                on: Fixture.app("web"))
        ])
        let far = try #require(compiler.mesh.remotePods[Self.far.namespacedName])
        let other = try #require(compiler.mesh.remotePods[Self.other.namespacedName])
        let verdict = { try Self.verdict(compiler, .ingress, of: Fixture.web, $0, 8080) }
        #expect(try verdict(far.proven.ipv4) == .allow)
        #expect(try verdict(far.identity.ipv4) == .deny)
        #expect(try verdict(other.proven.ipv4) == .deny)
        #expect(compiler.mesh.identities[far.proven.ipv4]?.principal == "cluster.local/ns/bank/sa/far")
        let explained = try compiler.explain(
            PolicyQuestion(
                source: .pod(Self.far.namespacedName), destination: .pod(Fixture.web.namespacedName), port: 8080,
                transport: .tcp))
        #expect(explained.ingress.verdict == .allow)
    }

    /// STRICT is about who comes in clear: whoever comes through a tunnel has proved who it is.
    @Test func aTunnelSatisfiesStrict() throws {
        let compiler = Self.compiler([
            Fixture.peerAuthentication(.strict, namespace: "root"),
            Fixture.peerAuthentication(.unset, name: "web", on: Fixture.app("web"), ports: [81: .permissive]),
        ])
        let far = try #require(compiler.mesh.remotePods[Self.far.namespacedName])
        func verdict(
            _ peer: IdentityNumber, _ port: UInt16, _ transport: TransportProtocol = .tcp
        ) throws
            -> PolicyVerdict
        {
            try Self.verdict(compiler, .ingress, of: Fixture.web, peer, port, transport)
        }
        for port: UInt16 in [80, 81] {
            #expect(try verdict(far.proven.ipv4, port) == .allow && verdict(far.proven.ipv6, port) == .allow)
            #expect(try verdict(far.identity.ipv4, port) == (port == 81 ? .allow : .deny))
            #expect(try verdict(.world, port) == (port == 81 ? .allow : .deny))
            // Which tunnels do not carry.
            #expect(try verdict(far.identity.ipv4, port, .udp) == (port == 81 ? .allow : .deny))
        }
        func explained(_ transport: TransportProtocol = .tcp, isInClear: Bool = false) throws -> PolicyExplanation.Side
        {
            try compiler.explain(
                PolicyQuestion(
                    source: .pod(Self.far.namespacedName), destination: .pod(Fixture.web.namespacedName), port: 80,
                    transport: transport, isInClear: isInClear)
            ).ingress
        }
        let side = try explained()
        #expect(side.verdict == .allow && side.sentence.hasSuffix(", through a tunnel with mutual TLS"))
        for refused in [try explained(isInClear: true), try explained(.udp)] {
            #expect(refused.verdict == .deny && refused.stage == .peerAuthentication)
            #expect(refused.policies.map(\.name) == ["pa"] && !refused.sentence.contains("tunnel"))
        }
        #expect(compiler.findings().isEmpty, "with tunnels STRICT shuts nobody out for good")
    }

    /// A pod of this node that says so takes tunnels from, and makes them to, all enrolled pods here.
    @Test func aPodThatEncryptsIsAnEndOfTunnelsOnItsOwnNode() throws {
        var compiler = Self.compiler([
            Fixture.authorization(
                .allow, [.init(from: [Fixture.source { $0.principals = ["cluster.local/ns/shop/sa/db"] }])],
                on: Fixture.app("web"))
        ])
        func reach(_ source: Pod, _ address: String, _ transport: TransportProtocol = .tcp) throws -> PolicyVerdict {
            let identity = compiler.mesh.addresses[Fixture.address(address)]?.identity ?? .world
            return try Self.verdict(compiler, .egress, of: source, identity, 8080, transport)
        }
        #expect(try reach(Fixture.db, "10.0.0.1") == .allow && reach(Fixture.web, "10.0.0.2") == .allow)
        #expect(compiler.mesh.remotePods.keys.allSatisfy { $0.namespace == "bank" || $0.name == "other" })
        var db = Fixture.db
        db.mesh.encrypts = true
        let ends = Set(Self.local.map(\.namespacedName))
        #expect(compiler.update(MeshChange(changed: [.pod(db)])).remotePods == ends)
        for (source, address) in [(db, "10.0.0.1"), (Fixture.web, "10.0.0.2"), (Fixture.web, "fd00::2")] {
            #expect(try reach(source, address) == .needsProxy && reach(source, address, .udp) == .allow)
        }
        for outside in ["10.2.0.3", "8.8.8.8", "192.168.0.1"] { #expect(try reach(db, outside) == .allow) }
        // It is who it was.
        let proven = try #require(compiler.mesh.remotePods[db.namespacedName]?.proven.ipv4)
        #expect(proven == compiler.mesh.addresses[Fixture.address("10.0.0.2")]?.identity)
        #expect(try Self.verdict(compiler, .ingress, of: Fixture.web, proven, 8080) == .allow)
        #expect(compiler.update(MeshChange(changed: [.pod(Fixture.db)])).remotePods == ends)
        #expect(try reach(Fixture.db, "10.0.0.1") == .allow && reach(Fixture.web, "10.0.0.2") == .allow)
        #expect(ends.allSatisfy { compiler.mesh.remotePods[$0] == nil })
    }

    @Test func whoLeavesTheMeshOrComesToThisNodeTakesNoTunnelAnyMore() throws {
        var compiler = Self.compiler()
        var pod = Self.far
        pod.mesh.membership = nil
        let name = pod.namespacedName
        #expect(compiler.update(MeshChange(changed: [.pod(pod)])).remotePods == [name])
        #expect(try Self.egress(compiler, to: "10.2.0.1", 80) == .allow)
        // By its namespace.
        let namespace = { (mesh: MeshMembership?) in
            MeshObject.namespace(Namespace(metadata: ObjectMetadata(name: "bank"), mesh: mesh))
        }
        #expect(compiler.update(MeshChange(changed: [namespace(.enabled)])).remotePods == [name])
        #expect(try Self.egress(compiler, to: "10.2.0.1", 80) == .needsProxy)
        #expect(compiler.update(MeshChange(changed: [namespace(.disabled)])).remotePods == [name])
        #expect(try Self.egress(compiler, to: "10.2.0.1", 80) == .allow)
        _ = compiler.update(MeshChange(changed: [.pod(Self.far)]))
        #expect(try Self.egress(compiler, to: "10.2.0.1", 80) == .needsProxy)
        // Another pod claims the address: nobody is reached by it, and nobody comes from it.
        let thief = Self.enrolled("shop", "thief", ["10.2.0.1"])
        _ = compiler.update(MeshChange(changed: [.pod(thief)]))
        #expect(compiler.mesh.remotePods[name]?.addresses == [Fixture.address("fd02::1")])
        #expect(compiler.mesh.remotePods[thief.namespacedName]?.addresses == [])
        _ = compiler.update(MeshChange(removed: [MeshObject.pod(thief).reference, MeshObject.pod(Self.far).reference]))
        #expect(compiler.mesh.remotePods[name] == nil)
        #expect(try Self.egress(compiler, to: "10.2.0.1", 80) == .allow)
        #expect(!compiler.mesh.identities.values.contains { $0.takesTunnels && $0.namespace == "bank" })
    }

    /// Whatever the policies: the same as without tunnels, but for the proxy's part in what passes between nodes.
    @Test func verdictsAreThoseOfThePoliciesOtherwise() throws {
        var led = 0
        for seed: UInt64 in 0..<30 {
            let cluster = RandomCluster(seed: seed)
            var compilers: [MeshCompiler] = []
            for hasTunnels in [false, true] {
                var configuration = RandomCluster.configuration
                configuration = .init(
                    nodeName: configuration.nodeName, nodeAddresses: configuration.nodeAddresses,
                    rootNamespace: configuration.rootNamespace, hasTunnels: hasTunnels)
                var compiler = MeshCompiler(configuration: configuration)
                let objects = cluster.objects.map { object -> MeshObject in
                    guard case .pod(var pod) = object else { return object }
                    pod.mesh.membership = .enabled
                    return .pod(pod)
                }
                _ = compiler.update(MeshChange(changed: objects, enrolled: cluster.enrolled))
                compilers.append(compiler)
            }
            let (plain, tunnelled) = (compilers[0], compilers[1])
            let remote = Set(tunnelled.mesh.remotePods.values.flatMap(\.addresses))
            for name in plain.mesh.workloads.keys.sorted() {
                for (address, row) in plain.mesh.addresses where row.workload != name {
                    for port: UInt16 in [53, 80, 8080, 15008] {
                        for transport in [TransportProtocol.tcp, .udp] {
                            let ask = { (compiler: MeshCompiler, direction: PolicyDirection) -> PolicyVerdict in
                                guard let workload = compiler.mesh.workloads[name],
                                    let set = compiler.mesh.policySets[workload.policySet]
                                else { return .allow }
                                return set.verdict(
                                    direction, transport, peer: compiler.mesh.addresses[address]?.identity ?? .world,
                                    port: port)
                            }
                            let isTunnel = transport == .tcp && remote.contains(address)
                            var expected = ask(plain, .egress)
                            if isTunnel, expected != .deny || port == 15008, row.identity != .unknown {
                                expected = .needsProxy
                                led += 1
                            }
                            if row.identity != .unknown {
                                #expect(
                                    ask(tunnelled, .egress) == expected, "seed \(seed), \(name) to \(address):\(port)")
                            }
                            guard transport == .udp || port != 15008, row.identity != .unknown else { continue }
                            #expect(
                                ask(tunnelled, .ingress) == ask(plain, .ingress),
                                "seed \(seed), \(address) to \(name):\(port)")
                        }
                    }
                }
            }
        }
        #expect(led > 500, "only \(led) verdicts were about tunnels")
    }
}

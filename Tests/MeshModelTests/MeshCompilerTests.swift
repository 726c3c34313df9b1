// SPDX-License-Identifier: Apache-2.0

import MeshModel
import TestSupport
import Testing

@Suite struct MeshCompilerTests {
    typealias Fixture = PolicyFixture

    @Test func nothingIsStillSomething() {
        let mesh = MeshCompiler(configuration: .init(nodeName: "here", nodeAddresses: [Fixture.node])).mesh
        #expect(mesh.cidrs == [.allIPv4: .world, .allIPv6: .world])
        #expect(mesh.addresses == [Fixture.node: CompiledAddress(identity: .host, isNode: true)])
        #expect(Set(mesh.identities.keys) == [.world, .host])
    }

    @Test func addressesSayWhoTheyAre() throws {
        let mesh = PolicyFixture([]).compiler.mesh
        let web = try #require(mesh.addresses[Fixture.web.podIPs[0]])
        #expect(web.isLocal && web.needsRecord && web.workload == Fixture.web.namespacedName)
        #expect(mesh.workloads[Fixture.web.namespacedName]?.identity == PerFamily(both: web.identity))
        let job = try #require(mesh.addresses[Fixture.job.podIPs[0]])
        #expect(!job.isLocal && job.workload == Fixture.job.namespacedName && job.identity >= .first)
        #expect(mesh.addresses[Fixture.node] == CompiledAddress(identity: .host, isNode: true))
        let db = Fixture.db.podIPs.map { mesh.addresses[$0]?.identity }
        #expect(db[0] == db[1], "no policy names a prefix: one pod, one identity")
        #expect(mesh.identities[web.identity]?.principal == "cluster.local/ns/shop/sa/web")
        #expect(mesh.identities[job.identity]?.principal == nil)
    }

    @Test func aDualStackPodIsWhatTheAddressOfTheConnectionIs() throws {
        let range = Fixture.network(
            on: Fixture.app("web"),
            ingress: [.init(peers: [.ipBlock(cidr: Fixture.cidr("10.0.0.0/24"), except: [])])])
        let web = Fixture.pod("shop", "web", ["10.0.0.1", "fd00::1"])
        let dual = Fixture.pod("shop", "dual", ["10.0.0.9", "fd00::9"], node: "far")
        var fixture = PolicyFixture([range], extra: [.pod(dual)])
        _ = fixture.compiler.update(MeshChange(changed: [.pod(web)]))
        fixture.objects.removeAll { $0.reference == MeshObject.pod(web).reference }
        fixture.objects.append(.pod(web))
        let own = try #require(fixture.compiler.mesh.workloads[Fixture.db.namespacedName]?.identity)
        #expect(own.ipv4 != own.ipv6, "one is in the range, the other is not")
        for (address, identity) in zip(Fixture.db.podIPs, [own.ipv4, own.ipv6]) {
            #expect(fixture.compiler.mesh.addresses[address]?.identity == identity)
        }
        for source in ["10.0.0.2", "10.0.0.9"] { #expect(try fixture.allows(source, "web", 8080)) }
        for source in ["fd00::2", "fd00::9"] {
            #expect(try !fixture.allows(source, "fd00::1", 8080), "the range has only the IPv4 address")
        }
        _ = fixture.compiler.update(MeshChange(removed: [range.reference]))
        let after = try #require(fixture.compiler.mesh.workloads[Fixture.db.namespacedName]?.identity)
        #expect(after.ipv4 == after.ipv6)
    }

    @Test func podsThatNobodyCanTellApartShareAnIdentity() throws {
        let twin = Fixture.pod("shop", "twin", ["10.0.0.77"], app: "other", account: "web", node: "far")
        let triplet = Fixture.pod("shop", "triplet", ["10.0.0.78"], app: "web", account: "web", node: "far")
        var fixture = PolicyFixture([], extra: [.pod(twin), .pod(triplet)])
        let identity = { (pod: Pod) in fixture.compiler.mesh.addresses[pod.podIPs[0]]?.identity }
        #expect(identity(twin) == identity(triplet))
        let policy = Fixture.network(ingress: [.init(peers: [.pods(pods: Fixture.app("web"), namespaces: nil)])])
        _ = fixture.compiler.update(MeshChange(changed: [policy]))
        #expect(identity(twin) != identity(triplet), "a policy asks for the label now")
        _ = fixture.compiler.update(MeshChange(removed: [policy.reference]))
        #expect(identity(twin) == identity(triplet))
    }

    @Test func workloadsWithEqualPoliciesShareASet() throws {
        let fixture = PolicyFixture([
            Fixture.network("a", types: [.ingress]), Fixture.network("b", namespace: "bank", types: [.ingress]),
        ])
        let sets = Set(fixture.compiler.mesh.workloads.values.map(\.policySet))
        #expect(sets.count == 1)
        #expect(fixture.compiler.mesh.policySets.count == 1)
    }

    @Test func aChangeReportsOnlyWhatDiffers() throws {
        var fixture = PolicyFixture([Fixture.network("a", types: [.ingress])])
        #expect(fixture.compiler.update(MeshChange(changed: fixture.objects)).isEmpty, "the same again")
        let policy = Fixture.network("b", on: Fixture.app("web"), ingress: [.init(ports: [.init(port: .number(80))])])
        let changes = fixture.compiler.update(MeshChange(changed: [policy]))
        #expect(changes.workloads == [Fixture.web.namespacedName])
        #expect(changes.policySets.count == 1)
        #expect(changes.addresses.isEmpty && changes.identities.isEmpty && changes.cidrs.isEmpty)
        let back = fixture.compiler.update(MeshChange(removed: [policy.reference]))
        #expect(back.workloads == changes.workloads && back.policySets == changes.policySets)
    }

    /// An identity that comes later is no exception to the rules that already hold.
    @Test func aNewIdentityIsJudgedLikeTheOthers() throws {
        let rule = AuthorizationPolicy.Rule(from: [Fixture.source { $0.notNamespaces = ["shop"] }])
        var fixture = PolicyFixture([Fixture.authorization(.allow, [rule], namespace: "bank")])
        let ask = { (fixture: PolicyFixture) in
            KernelLookup(fixture.compiler.mesh).allows(
                from: Fixture.job.podIPs[0], to: Fixture.teller.podIPs[0], port: 80, transport: .tcp)
        }
        #expect(ask(fixture), "job is not proved to be of shop")
        let changes = fixture.compiler.update(
            MeshChange(enrolled: fixture.enrolled.union([Fixture.job.namespacedName])))
        #expect(changes.workloads.contains(Fixture.teller.namespacedName))
        #expect(!ask(fixture), "now it is")
        _ = fixture.compiler.update(MeshChange(enrolled: fixture.enrolled))
        #expect(ask(fixture))
    }

    /// The rule allows the world and not the newcomer, of whom it has never heard.
    @Test func aNewcomerIsNotTakenForTheWorld() throws {
        let rule = AuthorizationPolicy.Rule(from: [Fixture.source { $0.notNamespaces = ["shop"] }])
        var fixture = PolicyFixture([Fixture.authorization(.allow, [rule], namespace: "bank")])
        let late = Fixture.pod("shop", "late", ["10.0.0.60"])
        _ = fixture.compiler.update(
            MeshChange(changed: [.pod(late)], enrolled: fixture.enrolled.union([late.namespacedName])))
        let lookup = KernelLookup(fixture.compiler.mesh)
        #expect(!lookup.allows(from: late.podIPs[0], to: Fixture.teller.podIPs[0], port: 80, transport: .tcp))
    }

    @Test func labelsOfANamespaceDecideAtOnce() throws {
        let selector = LabelSelector(matchLabels: ["team": "blue"])
        var fixture = PolicyFixture([
            Fixture.network(namespace: "bank", ingress: [.init(peers: [.pods(pods: nil, namespaces: selector)])])
        ])
        #expect(try !fixture.allows("web", "teller", 80))
        let namespace = MeshObject.namespace(
            Namespace(metadata: ObjectMetadata(name: "shop", labels: ["team": "blue"])))
        fixture.objects.removeAll { $0.reference == namespace.reference }
        fixture.objects.append(namespace)
        #expect(fixture.compiler.update(MeshChange(changed: [namespace])).workloads == [Fixture.teller.namespacedName])
        #expect(try fixture.allows("web", "teller", 80))
    }

    @Test func namedPrefixesDivideTheWorld() throws {
        let block = NetworkPolicy.Peer.ipBlock(cidr: Fixture.cidr("8.0.0.0/8"), except: [Fixture.cidr("8.8.0.0/16")])
        var fixture = PolicyFixture([Fixture.network(ingress: [.init(peers: [block])])])
        let cidrs = fixture.compiler.mesh.cidrs
        #expect(Set(cidrs.keys) == [.allIPv4, .allIPv6, Fixture.cidr("8.0.0.0/8"), Fixture.cidr("8.8.0.0/16")])
        #expect(Set(cidrs.values).count == 3)
        #expect(try fixture.allows("8.1.1.1", "web", 1) && !fixture.allows("8.8.1.1", "web", 1))
        _ = fixture.compiler.update(MeshChange(removed: [Fixture.network().reference]))
        #expect(fixture.compiler.mesh.cidrs == [.allIPv4: .world, .allIPv6: .world])
    }

    @Test func aPolicyThatSelectsNoWorkloadOfTheNodeCostsNothing() throws {
        var fixture = PolicyFixture([])
        let block = NetworkPolicy.Peer.ipBlock(cidr: Fixture.cidr("8.0.0.0/8"), except: [])
        let policy = Fixture.network(on: Fixture.app("nobody"), ingress: [.init(peers: [block])])
        #expect(fixture.compiler.update(MeshChange(changed: [policy])).isEmpty)
    }

    // MARK: Addresses that move

    @Test func aPodThatIsGoingHasLostItsAddress() throws {
        var old = Fixture.pod("shop", "old", ["10.0.0.50"], node: "far")
        let new = Fixture.pod("bank", "new", ["10.0.0.50"], node: "far")
        old.isTerminating = true
        let mesh = PolicyFixture([], extra: [.pod(old), .pod(new)]).compiler.mesh
        #expect(mesh.addresses[old.podIPs[0]]?.workload == new.namespacedName)
    }

    @Test func anAddressOfTwoPodsIsUnknown() throws {
        let a = Fixture.pod("shop", "a", ["10.0.0.50"], node: "far")
        let b = Fixture.pod("bank", "b", ["10.0.0.50"], node: "far")
        let fixture = PolicyFixture([Fixture.network(ingress: [.init()])], extra: [.pod(a), .pod(b)])
        let address = try #require(fixture.compiler.mesh.addresses[a.podIPs[0]])
        #expect(address.identity == .unknown && address.workload == nil)
        let lookup = KernelLookup(fixture.compiler.mesh)
        #expect(!lookup.allows(from: a.podIPs[0], to: Fixture.web.podIPs[0], port: 1, transport: .tcp))
        #expect(try fixture.explain(a.podIPs[0], Fixture.web.podIPs[0], 1).verdict == .deny)
        #expect(try fixture.explain(a.podIPs[0], Fixture.teller.podIPs[0], 1).verdict == .allow, "no policy asks")
    }

    @Test func anEnrolledPodIsProvedToHaveItsAddress() throws {
        let thief = Fixture.pod("bank", "thief", ["10.0.0.1"], node: "far")
        let mesh = PolicyFixture([], extra: [.pod(thief)]).compiler.mesh
        #expect(mesh.addresses[Fixture.web.podIPs[0]]?.workload == Fixture.web.namespacedName)
    }

    @Test func addressesOfTheNodeCanChange() throws {
        var fixture = PolicyFixture([])
        let new = Fixture.address("192.168.0.7")
        let changes = fixture.compiler.setNodeAddresses([new])
        #expect(changes.addresses == [Fixture.node, new])
        #expect(fixture.compiler.mesh.addresses[new]?.identity == .host)
        #expect(fixture.compiler.mesh.addresses[Fixture.node] == nil)
    }

    // MARK: Numbers

    @Test func aRestartGivesTheSameNumbers() throws {
        var cluster = RandomCluster(seed: 42)
        var compiler = MeshCompiler(configuration: RandomCluster.configuration)
        _ = compiler.update(MeshChange(changed: cluster.objects, enrolled: cluster.enrolled))
        for _ in 0..<30 { _ = compiler.update(cluster.mutate()) }
        let numbers = compiler.identityNumbers
        var restarted = MeshCompiler(
            configuration: RandomCluster.configuration,
            identityNumbers: NumberRegistry(entries: numbers.entries, nextNumber: numbers.nextNumber))
        _ = restarted.update(MeshChange(changed: cluster.objects.reversed(), enrolled: cluster.enrolled))
        #expect(restarted.mesh.identities == compiler.mesh.identities)
        #expect(restarted.mesh.addresses == compiler.mesh.addresses)
        #expect(restarted.mesh.cidrs == compiler.mesh.cidrs)
        for (name, workload) in compiler.mesh.workloads {
            let other = try #require(restarted.mesh.workloads[name])
            #expect(restarted.mesh.policySets[other.policySet] == compiler.mesh.policySets[workload.policySet])
        }
    }

    /// What a validator should refuse must still not make two peers one.
    @Test func oddLabelsAreToldApart() throws {
        var one = Fixture.pod("shop", "one", ["10.0.0.50"], account: "x", node: "far")
        var two = Fixture.pod("shop", "two", ["10.0.0.51"], account: "x", node: "far")
        one.metadata.labels = ["app": "a,tier=b"]
        two.metadata.labels = ["app": "a", "tier": "b"]
        let selector = LabelSelector(matchExpressions: [.exists(key: "app"), .exists(key: "tier")])
        let policy = Fixture.network(ingress: [.init(peers: [.pods(pods: selector, namespaces: nil)])])
        let mesh = PolicyFixture([policy], extra: [.pod(one), .pod(two)]).compiler.mesh
        #expect(mesh.addresses[one.podIPs[0]]?.identity != mesh.addresses[two.podIPs[0]]?.identity)
        #expect(Set(mesh.identities.values.map(\.description)).count == mesh.identities.count)
    }

    @Test func withoutNumbersPeersAreUnknown() throws {
        var compiler = MeshCompiler(
            configuration: .init(nodeName: "here"), identityNumbers: NumberRegistry(first: 256, limit: 256))
        let policy = Fixture.network(ingress: [.init()])
        _ = compiler.update(
            MeshChange(changed: [.pod(Fixture.web), .pod(Fixture.job), policy], enrolled: [Fixture.web.namespacedName]))
        let numbers = [Fixture.web, Fixture.job].map { compiler.mesh.addresses[$0.podIPs[0]]?.identity }
        #expect(Set(numbers) == [.unknown, .first])
        #expect(
            compiler.mesh.policySets.values.allSatisfy {
                $0.ingressTCP.exceptions.joined().allSatisfy { $0.identity != .unknown }
            })
    }

    @Test func aCopyIsATrial() throws {
        let fixture = PolicyFixture([])
        var trial = fixture
        _ = trial.compiler.update(MeshChange(changed: [Fixture.network(types: [.ingress])]))
        #expect(trial.compiler.mesh.policySets.count == 1)
        #expect(fixture.compiler.mesh.policySets.isEmpty)
    }
}

// SPDX-License-Identifier: Apache-2.0
import MeshModel
import ProxyProtocol
import Testing

@testable import MeshAgent

/// Which policies the proxy has while the kernel goes from one generation to the next.
@Suite struct PolicyRecordsTests {
    private struct Node {
        var compiler: MeshCompiler
        var records = ProxyRecords()
        var told = ConfigurationState()
        var enrolled: Set<NamespacedName> = []

        init(hasTunnels: Bool = false) {
            compiler = MeshCompiler(
                configuration: .init(nodeName: "here", l7: .enforced, hasProxy: true, hasTunnels: hasTunnels))
        }

        /// What the proxy has when the kernel flips, and after that.
        mutating func change(
            _ changed: [MeshObject] = [], removed: [ObjectReference] = [], enrolled: Set<NamespacedName>? = nil
        ) throws -> (before: ProxyConfiguration, after: ProxyConfiguration) {
            self.enrolled = enrolled ?? self.enrolled
            let changes = compiler.update(
                MeshChange(changed: changed, removed: removed, enrolled: self.enrolled))
            told.apply(ConfigurationChange(of: told, records.updatePolicies(changes, compiler)))
            let before = try ProxyConfiguration(told)
            told.apply(ConfigurationChange(of: told, records.update(changes, compiler)))
            var fresh = ProxyRecords()
            let whole = ConfigurationChange(of: ConfigurationState(), fresh.start(compiler)).records
            #expect(told.records.mapValues { $0 } == whole.filter { $0.key.kind != .node }, "all is told in the end")
            return (before, try ProxyConfiguration(told))
        }
    }

    private static func pod(_ name: String, _ addresses: UInt32...) -> MeshObject {
        .pod(
            Pod(
                metadata: ObjectMetadata(name: name, namespace: "shop", labels: ["app": name]), nodeName: "here",
                podIPs: addresses.map { IPAddress(v4: 0x0a00_0000 + $0) }))
    }

    private static func name(_ name: String) -> NamespacedName { NamespacedName(namespace: "shop", name: name) }

    private static func policy(_ name: String, _ path: String, of app: String? = nil) -> AuthorizationPolicy {
        var operation = AuthorizationPolicy.Operation()
        operation.paths = [path]
        return AuthorizationPolicy(
            metadata: ObjectMetadata(name: name, namespace: "shop"),
            selector: app.map { LabelSelector(matchLabels: ["app": $0]) }, action: .deny,
            rules: [.init(to: [operation])])
    }

    private static let closed = MeshObject.authorizationPolicy(policy("closed", "/admin"))

    /// The policies of each address.
    private static func policies(_ configuration: ProxyConfiguration) -> [String: [String]] {
        var found: [String: [String]] = [:]
        let known = Set(configuration.authorizations.map(\.key.name))
        for destination in configuration.destinations {
            #expect(known.isSuperset(of: destination.policies), "a record names a policy that is not there")
            for address in destination.addresses {
                #expect(found["\(address)"] == nil, "two records for \(address)")
                found["\(address)"] = destination.policies.map { String($0.split(separator: "/").last ?? "") }
            }
        }
        return found
    }

    @Test func aPodIsKnownBeforeTheKernelHasIt() throws {
        var node = Node()
        _ = try node.change([Self.closed])
        let (before, after) = try node.change([Self.pod("a", 1)], enrolled: [Self.name("a")])
        #expect(Self.policies(before) == ["10.0.0.1": ["closed"]] && before.authorizations == after.authorizations)
    }

    @Test func aPolicyIsKnownBeforeTheKernelHasIt() throws {
        var node = Node()
        _ = try node.change([Self.pod("a", 1), Self.closed], enrolled: [Self.name("a")])
        let changed = Self.policy("closed", "/other")
        let (before, _) = try node.change([.authorizationPolicy(changed)])
        #expect(before.authorizations.map(\.policy) == [changed])
        // One that goes from a pod that stays has gone with the flip.
        let (without, _) = try node.change(removed: [Self.closed.reference])
        #expect(without.destinations.isEmpty && without.authorizations.isEmpty)
    }

    /// Until the flip the kernel leads requests to the pod, so its policies stay.
    @Test func aPodThatLeavesIsJudgedUntilTheKernelHasLetItGo() throws {
        var node = Node()
        _ = try node.change([Self.pod("a", 1), Self.closed], enrolled: [Self.name("a")])
        let (disabled, then) = try node.change(enrolled: [])
        #expect(Self.policies(disabled) == ["10.0.0.1": ["closed"]] && then.destinations.isEmpty)
        _ = try node.change(enrolled: [Self.name("a")])
        let (removed, after) = try node.change(removed: [Self.pod("a").reference, Self.closed.reference], enrolled: [])
        #expect(Self.policies(removed) == ["10.0.0.1": ["closed"]])
        #expect(after.destinations.isEmpty && after.authorizations.isEmpty)
    }

    /// Whoever has an address in the next generation is who is judged; the one before is not.
    @Test func anAddressThatChangesHandsIsTheNewPods() throws {
        var node = Node()
        let other = MeshObject.authorizationPolicy(Self.policy("of-b", "/b", of: "b"))
        _ = try node.change([Self.pod("a", 1), Self.closed, other], enrolled: [Self.name("a")])
        let (before, _) = try node.change(
            [Self.pod("b", 1)], removed: [Self.pod("a").reference], enrolled: [Self.name("b")])
        #expect(Self.policies(before) == ["10.0.0.1": ["closed", "of-b"]])
    }

    @Test func anAddressThatAPodLosesIsItsOwnUntilThen() throws {
        var node = Node()
        _ = try node.change([Self.pod("a", 1, 2), Self.closed], enrolled: [Self.name("a")])
        let (before, after) = try node.change([Self.pod("a", 2, 3)])
        #expect(Set(Self.policies(before).keys) == ["10.0.0.1", "10.0.0.2", "10.0.0.3"])
        #expect(Set(Self.policies(after).keys) == ["10.0.0.2", "10.0.0.3"])
    }

    // MARK: - Tunnels

    private static let far = MeshObject.pod(
        Pod(
            metadata: ObjectMetadata(name: "far", namespace: "shop", labels: ["app": "far", "tier": "x"]),
            serviceAccountName: "far", nodeName: "there", podIPs: [IPAddress(v4: 0x0a00_0909)],
            mesh: PodMeshSettings(membership: .enabled)))

    /// What the proxy judges tunnels by is whole at every moment: before the kernel flips, and after.
    @Test func theProxyHasTheVerdictsOfEachPodBeforeTheKernel() throws {
        var node = Node(hasTunnels: true)
        func check(_ configuration: ProxyConfiguration, _ pods: [String], remote: Int) throws {
            #expect(configuration.verdictUses.map(\.pod.name).sorted() == pods)
            #expect(Set(configuration.verdictUses.map(\.set)) == Set(configuration.verdicts.map(\.set)))
            #expect(configuration.remotePods.count == remote)
            guard let far = configuration.remotePods.first else { return }
            for verdicts in configuration.verdicts {
                #expect(verdicts.egress.verdict(of: far.identity.ipv4, port: 80) == .needsProxy)
                #expect(verdicts.ingress.verdict(of: .world, port: 15008) == .needsProxy)
            }
        }
        var states = try node.change([Self.pod("a", 1), Self.pod("b", 2), Self.far], enrolled: [Self.name("a")])
        try check(states.before, ["a"], remote: 1)
        #expect(states.before.remotePods[0].labels == ["app": "far"])
        states = try node.change(enrolled: [Self.name("a"), Self.name("b")])
        try check(states.before, ["a", "b"], remote: 1)
        let set = states.after.verdicts[0].set
        let closed = MeshObject.networkPolicy(
            NetworkPolicy(
                metadata: ObjectMetadata(name: "closed", namespace: "shop"),
                podSelector: LabelSelector(matchLabels: ["app": "a"]), policyTypes: [.ingress], ingress: [], egress: [])
        )
        states = try node.change([closed])
        try check(states.before, ["a", "b"], remote: 1)
        #expect(states.before.verdicts.count == 2 && states.before.verdicts.contains { $0.set == set })
        states = try node.change(removed: [closed.reference, Self.far.reference], enrolled: [Self.name("b")])
        try check(states.before, ["b"], remote: 0)
        try check(states.after, ["b"], remote: 0)
    }
}

// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Testing

@testable import MeshManifests

@Suite struct ObjectStoreTests {
    static func policy(_ name: String, port: String = "80") -> String {
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: \(name)}\n"
            + "spec: {podSelector: {}, ingress: [{ports: [{port: \(port)}]}]}\n"
    }

    static func reference(_ name: String) -> ObjectReference {
        ObjectReference(apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", namespace: "default", name: name)
    }

    static func snapshot(_ files: [String: String]) -> DirectorySnapshot {
        var snapshot = DirectorySnapshot()
        let decoder = ManifestDecoder(unknownKinds: .warn)
        snapshot.files = files.sorted { $0.key < $1.key }.map {
            .init(path: $0.key, manifest: decoder.decode(Array($0.value.utf8), file: $0.key))
        }
        return snapshot
    }

    static func port(_ store: ObjectStore, _ name: String) -> String? {
        guard case .networkPolicy(let policy)? = store.objects[reference(name)] else { return nil }
        return policy.ingress.first?.ports.first?.port?.description ?? "none"
    }

    private func objects(_ text: String, file: String = "apply.yaml") -> [ManifestObject] {
        ManifestDecoder(unknownKinds: .refuse).decode(Array(text.utf8), file: file).objects
    }

    // MARK: - The directory

    @Test func changesAreReported() {
        var store = ObjectStore()
        let first = store.update(Self.snapshot(["/a": Self.policy("a"), "/b": Self.policy("b")]))
        #expect(first.changed.map(\.reference) == [Self.reference("a"), Self.reference("b")])
        let second = store.update(Self.snapshot(["/a": Self.policy("a"), "/c": Self.policy("c")]))
        #expect(second.changed.map(\.reference) == [Self.reference("c")])
        #expect(second.removed == [Self.reference("b")])
        let third = store.update(Self.snapshot(["/a": "# moved\n" + Self.policy("a"), "/c": Self.policy("c")]))
        #expect(third.changed.isEmpty && third.removed.isEmpty)
    }

    @Test func anInvalidVersionKeepsTheLastGoodOne() throws {
        var store = ObjectStore()
        _ = store.update(Self.snapshot(["/a": Self.policy("a"), "/b": Self.policy("b")]))
        let change = store.update(Self.snapshot(["/a": Self.policy("a", port: "0"), "/b": Self.policy("b")]))
        #expect(change.changed.isEmpty && change.removed.isEmpty)
        #expect(Self.port(store, "a") == "80")
        guard case .lastGoodInForce(let errors) = try #require(store.status(Self.reference("a"))).state else {
            Issue.record("wrong state")
            return
        }
        #expect(errors.map(\.field) == ["spec.ingress[0].ports[0].port"])
        _ = store.update(Self.snapshot(["/a": Self.policy("a", port: "81"), "/b": Self.policy("b")]))
        #expect(Self.port(store, "a") == "81")
        #expect(store.status(Self.reference("a"))?.state == .inForce)
    }

    @Test(arguments: ["kind: [\n", "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {nam: a}\n"])
    func anUnreadableDocumentKeepsEverythingOfItsFile(_ damage: String) {
        var store = ObjectStore()
        _ = store.update(Self.snapshot(["/a": Self.policy("a") + "---\n" + Self.policy("b"), "/c": Self.policy("c")]))
        _ = store.update(Self.snapshot(["/a": Self.policy("a", port: "81") + "---\n" + damage]))
        #expect(Self.port(store, "a") == "81")
        #expect(Self.port(store, "b") == "80")
        #expect(Self.port(store, "c") == nil, "its file is gone")
        // A second unreadable version changes nothing, a readable one lets go.
        _ = store.update(Self.snapshot(["/a": damage]))
        #expect(Self.port(store, "b") == "80")
        _ = store.update(Self.snapshot(["/a": Self.policy("a")]))
        #expect(Self.port(store, "b") == nil)
    }

    @Test func aPolicyThatWasNeverGoodDenies() throws {
        var store = ObjectStore()
        let change = store.update(Self.snapshot(["/a": Self.policy("a", port: "0")]))
        #expect(change.changed.map(\.reference) == [Self.reference("a")])
        guard case .networkPolicy(let substitute)? = store.objects[Self.reference("a")] else {
            Issue.record("no substitute")
            return
        }
        #expect(substitute.policyTypes == [.ingress] && substitute.ingress.isEmpty)
        #expect(store.failClosed.map(\.reference) == [Self.reference("a")])
        guard case .rejected = try #require(store.status(Self.reference("a"))).state else {
            Issue.record("wrong state")
            return
        }
        // Gone with its file.
        let removal = store.update(Self.snapshot([:]))
        #expect(removal.removed == [Self.reference("a")])
    }

    @Test func anInvalidPodDeniesNothing() {
        var store = ObjectStore()
        _ = store.update(Self.snapshot(["/a": CoreObjectTests.pod("sockmesh.io/netns: x")]))
        #expect(store.objects.count == 0 && store.failClosed.isEmpty && store.statuses.count == 1)
    }

    @Test func theFirstFileOwnsAnObject() {
        var store = ObjectStore()
        _ = store.update(Self.snapshot(["/a": Self.policy("x", port: "1"), "/b": Self.policy("x", port: "2")]))
        #expect(Self.port(store, "x") == "1")
        #expect(
            store.findings.map(\.description) == [
                "/b:1:1: NetworkPolicy default/x: the same object is at /a:1 (remove one of the two)"
            ])
    }

    @Test func lastGoodVersionsOutliveARestart() {
        let good = objects(Self.policy("a"), file: "/a") + objects(Self.policy("b"), file: "/b")
        var store = ObjectStore(lastGood: good)
        _ = store.update(Self.snapshot(["/a": Self.policy("a", port: "0"), "/b": "kind: ["]))
        #expect(Self.port(store, "a") == "80" && Self.port(store, "b") == "80")
        // Files that went away while the agent was down are gone.
        var other = ObjectStore(lastGood: good)
        _ = other.update(Self.snapshot(["/b": "---\n"]))
        #expect(other.objects.count == 0)
        // An unreadable directory is no empty directory.
        var third = ObjectStore(lastGood: good)
        _ = third.directoryIsUnreadable(ManifestError(file: "/", reason: "gone"))
        #expect(third.objects.count == 2)
        _ = third.update(Self.snapshot([:]))
        #expect(third.objects.count == 0)
    }

    // MARK: - meshctl

    @Test func applyCreatesConfiguresAndDeletes() throws {
        var store = ObjectStore()
        let plan = try store.plan(apply: objects(Self.policy("a")))
        #expect(plan.changes.map(\.verb) == ["created"] && store.objects.count == 0)
        #expect(store.execute(plan).changed.count == 1)
        let same = try store.plan(apply: objects("# comment\n" + Self.policy("a")))
        #expect(same.changes.isEmpty && same.unchanged == [Self.reference("a")])
        let next = try store.plan(apply: objects(Self.policy("a", port: "81")))
        #expect(next.changes.map(\.verb) == ["configured"])
        #expect(next.changes[0].differences.map(\.description) == ["~ spec.ingress[0].ports[0].port: 80 -> 81"])
        _ = store.execute(next)
        #expect(Self.port(store, "a") == "81")
        let deletion = try store.plan(apply: [], delete: [Self.reference("a")])
        #expect(deletion.changes.map(\.verb) == ["deleted"])
        #expect(store.execute(deletion).removed == [Self.reference("a")])
        #expect(throws: ApplyRefusal(reasons: ["NetworkPolicy default/a: not found (see meshctl policy get)"])) {
            try store.plan(apply: [], delete: [Self.reference("a")])
        }
    }

    @Test func theDirectoryOwnsItsObjects() throws {
        var store = ObjectStore()
        _ = store.execute(try store.plan(apply: objects(Self.policy("a", port: "1"))))
        _ = store.update(Self.snapshot(["/etc/a.yaml": Self.policy("a", port: "2")]))
        #expect(Self.port(store, "a") == "2")
        #expect(store.statuses.map(\.isShadowed) == [true, false])
        let owned = "it is owned by the configuration directory, file /etc/a.yaml:1 (change it there)"
        #expect(throws: ApplyRefusal(reasons: ["NetworkPolicy default/a: cannot apply: \(owned)"])) {
            try store.plan(apply: objects(Self.policy("a", port: "3")))
        }
        #expect(throws: ApplyRefusal(reasons: ["NetworkPolicy default/a: cannot delete: \(owned)"])) {
            try store.plan(apply: [], delete: [Self.reference("a")])
        }
        // When the file goes, the applied one holds again.
        _ = store.update(Self.snapshot([:]))
        #expect(Self.port(store, "a") == "1")
    }

    // MARK: - Differences

    @Test(arguments: [
        ("a: 1", "a: 1", []), ("a: 1", "b: 1", ["- a: 1", "+ b: 1"]),
        ("a: [1, 2, 3]", "a: [1, 9, 2, 3]", ["+ a[1]: 9"]), ("a: [1, 2, 3]", "a: [1, 3]", ["- a[1]: 2"]),
        ("a: [{b: 1}, {c: 2}]", "a: [{b: 2}]", ["~ a[0].b: 1 -> 2", "- a[1]: {\"c\":2}"]),
        ("a: {b.c/d: x}", "a: {b.c/d: z}", ["~ a[\"b.c/d\"]: \"x\" -> \"z\""]),
        ("a: 1", "a: \"1\"", ["~ a: 1 -> \"1\""]),
        ("a: [1, 1]", "a: [1, 1, 1]", ["+ a[2]: 1"]), ("a: []", "a: {}", ["~ a: [] -> {}"]),
    ])
    func differences(_ old: String, _ new: String, _ expected: [String]) throws {
        let nodes = try [old, new].map { try #require(try YAMLReader.read(YAMLDocument(text: $0))) }
        #expect(FieldDifference.between(nodes[0], nodes[1]).map(\.description) == expected)
    }
}

@Suite struct FailClosedSelectorTests {
    private func selector(_ text: String) throws -> FailClosedSelector? {
        try #require(Decoding.manifest(text).rejected.first).failClosed
    }

    @Test(arguments: [
        ("  podSelector: {matchLabels: {a: b}}\n  ingress: 1\n", "a=b", 1),
        ("  podSelector: {matchLabels: [a]}\n", "<all>", 1),
        ("  podSelector: {}\n  egress: 1\n", "<all>", 2),
        ("  podSelector: {}\n  egres: []\n", "<all>", 2),
        ("  podSelector: {}\n  policyTypes: [Egress]\n  ingress: 1\n", "<all>", 1),
        ("  podSelector: {}\n  policyTypes: [Egres]\n", "<all>", 2),
        ("  [1]\n", "<all>", 2),
    ])
    func networkPolicies(_ spec: String, _ pods: String, _ directions: Int) throws {
        let selector = try #require(try selector(NetworkPolicyTests.policy(spec)))
        #expect(selector.selector.description == pods)
        #expect(selector.directions.count == directions)
        #expect(selector.reference.description == "NetworkPolicy shop/web")
        guard case .networkPolicy(let policy) = selector.substitute else { return }
        #expect(policy.effectivePolicyTypes == selector.directions && policy.ingress.isEmpty && policy.egress.isEmpty)
    }

    @Test func authorizationPolicies() throws {
        let action = { (text: String) in AuthorizationPolicyTests.policy("  \(text)\n  rules: 1\n") }
        guard case .authorizationPolicy(let allow)? = try selector(action("action: ALLOW"))?.substitute,
            case .authorizationPolicy(let deny)? = try selector(action("action: DENY"))?.substitute,
            case .authorizationPolicy(let unknown)? = try selector(action("action: CUSTOM"))?.substitute
        else {
            Issue.record("no substitute")
            return
        }
        #expect(allow.action == .allow && allow.rules.isEmpty)
        #expect(deny.action == .deny && deny.rules == [.init()])
        #expect(unknown.action == .deny && unknown.rules == [.init()])
        #expect(try selector(action("action: AUDIT")) == nil)
    }

    @Test func peerAuthenticationsBecomeStrict() throws {
        let text = PeerAuthenticationTests.policy("  selector: {matchLabels: {a: b}}\n  mtls: {mode: X}\n")
        guard case .peerAuthentication(let policy)? = try selector(text)?.substitute else {
            Issue.record("no substitute")
            return
        }
        #expect(policy.mode == .strict && policy.selector == LabelSelector(matchLabels: ["a": "b"]))
    }

    @Test func aDryRunDeniesNothing() throws {
        let text =
            "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, "
            + "metadata: {name: a, annotations: {sockmesh.io/dry-run: \"true\"}}, spec: {ingress: 1}}"
        #expect(try selector(text) == nil)
    }
}

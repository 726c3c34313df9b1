// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Testing

@testable import MeshManifests

@Suite struct ManifestDecoderTests {
    static let kinds =
        "Namespace, Node, Pod, Service, EndpointSlice, NetworkPolicy, AuthorizationPolicy, "
        + "PeerAuthentication"

    @Test func unknownKinds() {
        let text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n"
        #expect(
            Decoding.messages(text) == [
                "f.yaml:2:7: kind: the kind \"Deployment\" is not read (read are: \(Self.kinds))"
            ])
        #expect(
            Decoding.messages(text, unknownKinds: .warn) == [
                "f.yaml:2:7: warning: kind: the kind \"Deployment\" is not read (read are: \(Self.kinds))"
            ])
    }

    @Test(arguments: [ManifestDecoder.UnknownKinds.refuse, .warn])
    func aMisspeltKindIsAnErrorEverywhere(_ unknownKinds: ManifestDecoder.UnknownKinds) {
        let text = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolcy\nmetadata: {name: a}\n"
        #expect(
            Decoding.messages(text, unknownKinds: unknownKinds) == [
                "f.yaml:2:7: kind: the kind \"NetworkPolcy\" is not read "
                    + "(did you mean NetworkPolicy? read are: \(Self.kinds))"
            ])
        let version = "apiVersion: networking.k8s.io/v2\nkind: NetworkPolicy\nmetadata: {name: a}\n"
        #expect(
            Decoding.messages(version, unknownKinds: unknownKinds) == [
                "f.yaml:1:13: apiVersion: NetworkPolicy of networking.k8s.io/v2 is not read "
                    + "(its apiVersion is one of: networking.k8s.io/v1)"
            ])
    }

    @Test func kindsOfOtherGroupsAreSomebodyElses() {
        let text = "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: a}\n"
        #expect(
            Decoding.messages(text, unknownKinds: .warn) == [
                "f.yaml:1:13: warning: apiVersion: Service of serving.knative.dev/v1 is not read "
                    + "(its apiVersion is one of: v1)"
            ])
    }

    @Test func listsAreUnfolded() throws {
        let manifest = Decoding.manifest(
            """
            apiVersion: v1
            kind: List
            items:
            - apiVersion: v1
              kind: Namespace
              metadata: {name: a}
            - apiVersion: networking.k8s.io/v1
              kind: NetworkPolicy
              metadata: {name: b}
              spec: {podSelector: {}, ingres: []}
            - {apiVersion: v1, kind: NamespaceList, items: []}
            """)
        #expect(manifest.objects.map(\.reference.description) == ["Namespace a"])
        #expect(
            manifest.errors.map(\.description) == [
                "f.yaml:10:27: NetworkPolicy default/b: items[1].spec.ingres: unknown field (did you mean \"ingress\"?)",
                "f.yaml:11:3: items[2]: a NamespaceList inside a List (put its items into the outer List)",
            ])
        // The text of an element stands alone.
        let text = try #require(manifest.objects.first).text
        #expect(text == "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: a\n")
        #expect(Decoding.manifest(text).errors.isEmpty)
    }

    @Test func theTextIsWhatTheAuthorWrote() {
        let second = "---\n# why\napiVersion: v1\nkind: Namespace\nmetadata: {name: b}\n"
        let manifest = Decoding.manifest("apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n" + second)
        #expect(manifest.objects.map(\.text).last == second)
        #expect(manifest.objects.map(\.origin.line) == [1, 6])
        #expect(manifest.objects.map(\.origin.document) == [0, 1])
    }

    @Test func anObjectMayBeThereOnce() {
        let text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n"
        let manifest = Decoding.manifest(text + "---\n" + text)
        #expect(manifest.objects.count == 1)
        #expect(
            manifest.errors.map(\.description) == [
                "f.yaml:5:1: Namespace a: the same object is at f.yaml:1 (remove one of the two)"
            ])
    }

    @Test func versionsOfOneGroupAreOneObject() throws {
        let text = { (version: String) in
            "apiVersion: \(version)\nkind: PeerAuthentication\nmetadata: {name: a}\n"
        }
        let manifest = Decoding.manifest(
            ["security.istio.io/v1", "security.istio.io/v1beta1", "sockmesh.io/v1alpha1"].map(text)
                .joined(separator: "---\n"))
        #expect(manifest.objects.map(\.reference.apiVersion) == ["security.istio.io/v1", "sockmesh.io/v1alpha1"])
        #expect(manifest.rejected.count == 1)
    }

    static let badHeaders: [BadManifest] = [
        .init(
            "no metadata", "apiVersion: v1\nkind: Pod\n",
            "f.yaml:1:1: metadata: is required (every object has metadata with a name)"),
        .init("no name", "apiVersion: v1\nkind: Pod\nmetadata: {}\n", "f.yaml:3:11: metadata.name: is required"),
        .init(
            "generated name", "apiVersion: v1\nkind: Pod\nmetadata: {generateName: a-}\n",
            "f.yaml:3:11: metadata.name: is required (generateName needs an API server; write a name)"),
        .init(
            "names", "apiVersion: v1\nkind: Pod\nmetadata: {name: A_b, namespace: x.y}\n",
            "f.yaml:3:18: Pod x.y/A_b: metadata.name: \"A_b\" is not a valid name: use lower-case letters, digits, - "
                + "and ., and begin and end with a letter or digit",
            "f.yaml:3:34: metadata.namespace: \"x.y\" is not a valid name: use lower-case letters, "
                + "digits and -, and begin and end with a letter or digit"),
        .init(
            "name is a number", "apiVersion: v1\nkind: Pod\nmetadata: {name: 12}\n",
            "f.yaml:3:18: metadata.name: must be a string, but is the number 12 (put it in quotes: \"12\")"),
        .init(
            "namespace of a Node", "apiVersion: v1\nkind: Node\nmetadata: {name: a, namespace: x}\n",
            "f.yaml:3:32: metadata.namespace: a Node is not in a namespace (remove the field)"),
        .init(
            "service name", "apiVersion: v1\nkind: Service\nmetadata: {name: 1a}\nspec: {clusterIP: None}\n",
            "f.yaml:3:18: Service default/1a: metadata.name: \"1a\" is not a valid Service name: begin with a letter"),
        .init(
            "unknown metadata of a policy",
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: a, label: {}}\nSpec: {}\n",
            "f.yaml:3:21: metadata.label: unknown field (did you mean \"labels\"?)",
            "f.yaml:4:1: Spec: unknown field (did you mean \"spec\"?)"),
        .init(
            "labels", "apiVersion: v1\nkind: Namespace\nmetadata: {name: a, labels: {x: a b, y/z/w: c, v: true}}\n",
            "f.yaml:3:30: Namespace a: metadata.labels.x: \"a b\" is not a valid label value: use at most 63 letters, "
                + "digits, -, _ and ., and begin and end with a letter or digit",
            "f.yaml:3:38: Namespace a: metadata.labels[\"y/z/w\"]: \"y/z/w\" has more than one /",
            "f.yaml:3:51: Namespace a: metadata.labels.v: must be a string, but is the boolean true "
                + "(put it in quotes: \"true\")"),
    ]

    @Test(arguments: badHeaders)
    func refuses(_ manifest: BadManifest) {
        #expect(Decoding.messages(manifest.text) == manifest.messages)
    }

    @Test func problemsOfOneObjectAreBounded() {
        let rules = String(repeating: "  - {bad: 1}\n", count: 1000)
        let manifest = Decoding.manifest(NetworkPolicyTests.policy("  ingress:\n" + rules))
        #expect(manifest.errors.count == ProblemSink.limit)
    }
}

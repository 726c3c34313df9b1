// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Testing

@testable import MeshManifests

@Suite struct NetworkPolicyTests {
    static let complete = """
        apiVersion: networking.k8s.io/v1
        kind: NetworkPolicy
        metadata:
          name: web
          namespace: shop
          annotations: {sockmesh.io/dry-run: "true"}
        spec:
          podSelector:
            matchLabels: {app: web}
            matchExpressions:
              - {key: tier, operator: In, values: [front, back]}
              - {key: old, operator: DoesNotExist}
          policyTypes: [Ingress, Egress]
          ingress:
            - from:
                - podSelector: {}
                  namespaceSelector: {matchLabels: {team: a}}
                - ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}
              ports:
                - {port: 8000, endPort: 8080}
                - {protocol: UDP, port: dns}
          egress:
            - {}
        """

    @Test func everyFieldIsRead() throws {
        guard case .networkPolicy(let policy) = try Decoding.object(Self.complete) else {
            Issue.record("not a NetworkPolicy")
            return
        }
        #expect(policy.metadata.namespacedName == NamespacedName(namespace: "shop", name: "web"))
        #expect(policy.isDryRun)
        #expect(policy.podSelector.matchLabels == ["app": "web"])
        #expect(
            policy.podSelector.matchExpressions
                == [.isIn(key: "tier", values: ["front", "back"]), .doesNotExist(key: "old")])
        #expect(policy.policyTypes == [.ingress, .egress])
        let block = try NetworkPolicy.Peer.ipBlock(
            cidr: #require(CIDR("10.0.0.0/8")), except: [#require(CIDR("10.1.0.0/16"))])
        #expect(
            policy.ingress == [
                .init(
                    peers: [
                        .pods(pods: LabelSelector(), namespaces: LabelSelector(matchLabels: ["team": "a"])), block,
                    ],
                    ports: [
                        .init(port: .number(8000), endPort: 8080), .init(transport: .udp, port: .name("dns")),
                    ])
            ])
        #expect(policy.egress == [.init()])
    }

    @Test func namespaceIsDefaultIfAbsent() throws {
        let object = try Decoding.object(
            "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: a}, spec: {podSelector: {}}}")
        #expect(object.reference.description == "NetworkPolicy default/a")
    }

    static func policy(_ spec: String) -> String {
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: web, namespace: shop}\nspec:\n" + spec
    }

    static let bad: [BadManifest] = [
        .init(
            "unknown field, near a known one", policy("  podselector: {}\n"),
            "f.yaml:5:3: NetworkPolicy shop/web: spec.podselector: unknown field (did you mean \"podSelector\"?)"),
        .init(
            "unknown field, near nothing", policy("  xyzzy: 1\n"),
            "f.yaml:5:3: NetworkPolicy shop/web: spec.xyzzy: unknown field "
                + "(known here: podSelector, policyTypes, ingress, egress)"),
        .init(
            "host bits", policy("  ingress:\n  - from:\n    - ipBlock: {cidr: 10.1.2.3/8}\n"),
            "f.yaml:7:23: NetworkPolicy shop/web: spec.ingress[0].from[0].ipBlock.cidr: "
                + "\"10.1.2.3/8\" has bits set after the prefix (write 10.0.0.0/8)"),
        .init(
            "no length", policy("  egress:\n  - to:\n    - ipBlock: {cidr: 10.1.2.3}\n"),
            "f.yaml:7:23: NetworkPolicy shop/web: spec.egress[0].to[0].ipBlock.cidr: "
                + "\"10.1.2.3\" is not a prefix: the length is missing (write 10.1.2.3/32)"),
        .init(
            "length out of range, and except without cidr",
            policy("  egress:\n  - to:\n    - ipBlock: {cidr: 10.0.0.0/33, except: [10.0.0.0/40]}\n"),
            "f.yaml:7:23: NetworkPolicy shop/web: spec.egress[0].to[0].ipBlock.cidr: "
                + "\"10.0.0.0/33\" is not a prefix like 10.0.0.0/8 or fd00::/8",
            "f.yaml:7:45: NetworkPolicy shop/web: spec.egress[0].to[0].ipBlock.except[0]: "
                + "\"10.0.0.0/40\" is not a prefix like 10.0.0.0/8 or fd00::/8"),
        .init(
            "except outside", policy("  egress:\n  - to:\n    - ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/16]}\n"),
            "f.yaml:7:44: NetworkPolicy shop/web: spec.egress[0].to[0].ipBlock.except[0]: "
                + "11.0.0.0/16 is not a part of the cidr 10.0.0.0/8 (only parts of it can be excepted)"),
        .init(
            "except is all of it", policy("  egress:\n  - to:\n    - ipBlock: {cidr: fd00::/8, except: [fd00::/8]}\n"),
            "f.yaml:7:42: NetworkPolicy shop/web: spec.egress[0].to[0].ipBlock.except[0]: "
                + "fd00::/8 is not a part of the cidr fd00::/8 (only parts of it can be excepted)"),
        .init(
            "block beside a selector",
            policy("  ingress:\n  - from:\n    - podSelector: {}\n      ipBlock: {cidr: 10.0.0.0/8}\n"),
            "f.yaml:8:16: NetworkPolicy shop/web: spec.ingress[0].from[0].ipBlock: cannot be together with "
                + "podSelector or namespaceSelector in one peer (make it a peer of its own: begin it with \"- \")"),
        .init(
            "empty peer", policy("  ingress:\n  - from:\n    - {}\n"),
            "f.yaml:7:7: NetworkPolicy shop/web: spec.ingress[0].from[0]: a peer must have a podSelector, a "
                + "namespaceSelector or an ipBlock (write podSelector: {} for every pod of the namespace)"),
        .init(
            "empty element", policy("  ingress:\n  -\n"),
            "f.yaml:6:4: NetworkPolicy shop/web: spec.ingress[0]: is empty "
                + "(remove the dash, or write {} for an empty element)"),
        .init(
            "ports out of range",
            policy("  ingress:\n  - ports: [{port: 0}, {port: 65536}, {port: -1}, {port: 99999999999999999999}]\n"),
            "f.yaml:6:20: NetworkPolicy shop/web: spec.ingress[0].ports[0].port: must be between 1 and 65535, but is 0",
            "f.yaml:6:31: NetworkPolicy shop/web: spec.ingress[0].ports[1].port: "
                + "must be between 1 and 65535, but is 65536",
            "f.yaml:6:46: NetworkPolicy shop/web: spec.ingress[0].ports[2].port: "
                + "must be between 1 and 65535, but is -1",
            "f.yaml:6:58: NetworkPolicy shop/web: spec.ingress[0].ports[3].port: "
                + "must be a port number or a port name, but is the number 99999999999999999999"),
        .init(
            "port names",
            policy("  ingress:\n  - ports: [{port: \"80\"}, {port: HTTP}, {port: a--b}, {port: sixteen-letters-}]\n"),
            "f.yaml:6:20: NetworkPolicy shop/web: spec.ingress[0].ports[0].port: \"80\" in quotes is a port name, "
                + "and not a valid one (remove the quotes)",
            "f.yaml:6:34: NetworkPolicy shop/web: spec.ingress[0].ports[1].port: \"HTTP\" is not a port name: use "
                + "lower-case letters, digits and single -, with at least one letter",
            "f.yaml:6:48: NetworkPolicy shop/web: spec.ingress[0].ports[2].port: \"a--b\" is not a port name: use "
                + "lower-case letters, digits and single -, with at least one letter",
            "f.yaml:6:62: NetworkPolicy shop/web: spec.ingress[0].ports[3].port: "
                + "\"sixteen-letters-\" has more than the 15 characters of a port name"),
        .init(
            "end port",
            policy(
                """
                  egress:
                  - ports: [{port: 90, endPort: 80}, {port: http, endPort: 80}, {endPort: 80}]
                """),
            "f.yaml:6:33: NetworkPolicy shop/web: spec.egress[0].ports[0].endPort: is 80, which is less than port 90",
            "f.yaml:6:60: NetworkPolicy shop/web: spec.egress[0].ports[1].endPort: cannot be together with the named "
                + "port \"http\" (write the port as a number)",
            "f.yaml:6:75: NetworkPolicy shop/web: spec.egress[0].ports[2].endPort: "
                + "needs the field port, the first of the range"),
        .init(
            "protocol and policy type",
            policy("  policyTypes: [ingress]\n  egress:\n  - ports: [{protocol: tcp}, {protocol: ICMP}]\n"),
            "f.yaml:5:17: NetworkPolicy shop/web: spec.policyTypes[0]: \"ingress\" is not a known value "
                + "(did you mean \"Ingress\"?)",
            "f.yaml:7:24: NetworkPolicy shop/web: spec.egress[0].ports[0].protocol: \"tcp\" is not a known value "
                + "(did you mean \"TCP\"?)",
            "f.yaml:7:41: NetworkPolicy shop/web: spec.egress[0].ports[1].protocol: \"ICMP\" is not a known value "
                + "(known here: TCP, UDP, SCTP)"),
        .init(
            "selector",
            policy(
                """
                  podSelector:
                    matchLabels: {version: 1.10, -bad: x}
                    matchExpressions:
                    - {key: a, operator: In}
                    - {key: b, operator: Exists, values: [c]}
                    - {key: c, operator: Equals, values: [c]}
                    - {operator: Exists}
                """),
            "f.yaml:6:28: NetworkPolicy shop/web: spec.podSelector.matchLabels.version: must be a string, "
                + "but is the number 1.10 (put it in quotes: \"1.10\")",
            "f.yaml:6:34: NetworkPolicy shop/web: spec.podSelector.matchLabels[\"-bad\"]: \"-bad\" is not a valid key: "
                + "use at most 63 letters, digits, -, _ and ., and begin and end with a letter or digit",
            "f.yaml:8:7: NetworkPolicy shop/web: spec.podSelector.matchExpressions[0].values: "
                + "must have at least one value for the operator In",
            "f.yaml:9:42: NetworkPolicy shop/web: spec.podSelector.matchExpressions[1].values: "
                + "must be empty for the operator Exists (remove the values)",
            "f.yaml:10:26: NetworkPolicy shop/web: spec.podSelector.matchExpressions[2].operator: \"Equals\" is not a "
                + "known value (known here: In, NotIn, Exists, DoesNotExist)",
            "f.yaml:11:7: NetworkPolicy shop/web: spec.podSelector.matchExpressions[3].key: is required"),
        .init(
            "types", policy("  podSelector: []\n  ingress: {}\n  egress: all\n"),
            "f.yaml:5:16: NetworkPolicy shop/web: spec.podSelector: must be a mapping, but is a list",
            "f.yaml:6:12: NetworkPolicy shop/web: spec.ingress: must be a list, but is a mapping "
                + "(begin each element with \"- \")",
            "f.yaml:7:11: NetworkPolicy shop/web: spec.egress: must be a list, but is the string \"all\" "
                + "(begin each element with \"- \")"),
        .init(
            "dry run",
            """
            apiVersion: networking.k8s.io/v1
            kind: NetworkPolicy
            metadata: {name: web, annotations: {sockmesh.io/dry-run: "maybe"}}
            """,
            "f.yaml:3:37: NetworkPolicy default/web: metadata.annotations[\"sockmesh.io/dry-run\"]: "
                + "\"maybe\" is not valid; expected \"true\" or \"false\""),
    ]

    @Test(arguments: bad)
    func refuses(_ manifest: BadManifest) {
        #expect(Decoding.messages(manifest.text) == manifest.messages)
        #expect(Decoding.manifest(manifest.text).objects.isEmpty)
    }
}

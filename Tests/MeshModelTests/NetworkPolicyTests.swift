// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Testing

@Suite struct NetworkPolicyTests {
    typealias Fixture = PolicyFixture
    typealias Rule = NetworkPolicy.Rule

    struct Case: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let policies: [MeshObject]
        /// Source, destination, port, transport, expected.
        let flows: [(String, String, UInt16, TransportProtocol, Bool)]
    }

    static let anyPod = NetworkPolicy.Peer.pods(pods: LabelSelector(), namespaces: nil)

    static let isolation: [Case] = [
        Case(
            testDescription: "no policy: everything",
            policies: [], flows: [("teller", "web", 8080, .tcp, true), ("8.8.8.8", "web", 1, .udp, true)]),
        Case(
            testDescription: "no types, no rules: ingress only",
            policies: [Fixture.network(on: Fixture.app("web"))],
            flows: [
                ("db", "web", 8080, .tcp, false), ("web", "db", 9090, .tcp, true), ("web", "8.8.8.8", 53, .udp, true),
            ]),
        Case(
            testDescription: "no types, egress rules: both directions",
            policies: [Fixture.network(on: Fixture.app("web"), egress: [Rule(peers: [anyPod])])],
            flows: [
                ("db", "web", 8080, .tcp, false), ("web", "db", 9090, .tcp, true), ("web", "teller", 80, .tcp, false),
            ]),
        Case(
            testDescription: "only egress named: ingress rules do not count",
            policies: [Fixture.network(on: Fixture.app("web"), types: [.egress], ingress: [Rule()])],
            flows: [("db", "web", 8080, .tcp, true), ("web", "db", 9090, .tcp, false)]),
        Case(
            testDescription: "empty rule: all peers, all ports",
            policies: [Fixture.network(ingress: [Rule()])],
            flows: [("8.8.8.8", "web", 1, .tcp, true), ("remote", "db", 65535, .udp, true)]),
        Case(
            testDescription: "empty pod selector selects the namespace only",
            policies: [Fixture.network(types: [.ingress])],
            flows: [("teller", "web", 80, .tcp, false), ("web", "teller", 80, .tcp, true)]),
        Case(
            testDescription: "policies add up",
            policies: [
                Fixture.network("a", ingress: [Rule(peers: [.pods(pods: Fixture.app("db"), namespaces: nil)])]),
                Fixture.network("b", ingress: [Rule(ports: [.init(port: .number(443))])]),
            ],
            flows: [
                ("db", "web", 80, .tcp, true), ("teller", "web", 443, .tcp, true), ("teller", "web", 80, .tcp, false),
            ]),
        Case(
            testDescription: "the node reaches its pods, its pods need leave to reach it",
            policies: [Fixture.network(types: [.ingress, .egress])],
            flows: [("host", "web", 8080, .tcp, true), ("web", "host", 22, .tcp, false)]),
        Case(
            testDescription: "a pod on the node's network is the node",
            policies: [
                Fixture.network(
                    types: [.egress], egress: [Rule(peers: [.pods(pods: Fixture.app("agent"), namespaces: nil)])])
            ],
            flows: [("web", "agent", 22, .tcp, false)]),
        Case(
            testDescription: "a pod reaches itself",
            policies: [Fixture.network(types: [.ingress, .egress])], flows: [("web", "web", 8080, .tcp, true)]),
    ]

    static let peers: [Case] = [
        Case(
            testDescription: "pod selector: own namespace",
            policies: [
                Fixture.network(
                    on: Fixture.app("db"), ingress: [Rule(peers: [.pods(pods: Fixture.app("web"), namespaces: nil)])])
            ],
            flows: [("web", "db", 1, .tcp, true), ("teller", "db", 1, .tcp, false)]),
        Case(
            testDescription: "namespace selector: all its pods",
            policies: [
                Fixture.network(
                    on: Fixture.app("db"),
                    ingress: [Rule(peers: [.pods(pods: nil, namespaces: LabelSelector(matchLabels: ["team": "red"]))])])
            ],
            flows: [("web", "db", 1, .tcp, true), ("job", "db", 1, .tcp, true), ("teller", "db", 1, .tcp, false)]),
        Case(
            testDescription: "a namespace without an object has its name as a label",
            policies: [
                Fixture.network(
                    ingress: [
                        Rule(peers: [
                            .pods(pods: nil, namespaces: LabelSelector(matchLabels: [Namespace.nameLabel: "bank"]))
                        ])
                    ])
            ],
            flows: [("teller", "web", 1, .tcp, true), ("remote", "web", 1, .tcp, true), ("db", "web", 1, .tcp, false)]),
        Case(
            testDescription: "both selectors: and, not or",
            policies: [
                Fixture.network(
                    ingress: [Rule(peers: [.pods(pods: Fixture.app("web"), namespaces: LabelSelector())])])
            ],
            flows: [("teller", "db", 1, .tcp, true), ("web", "db", 1, .tcp, true), ("remote", "db", 1, .tcp, false)]),
        Case(
            testDescription: "IP block with nested exceptions",
            policies: [
                Fixture.network(
                    ingress: [
                        Rule(peers: [
                            .ipBlock(cidr: Fixture.cidr("10.0.0.0/8"), except: [Fixture.cidr("10.1.0.0/16")]),
                            .ipBlock(cidr: Fixture.cidr("10.1.0.8/29"), except: [Fixture.cidr("10.1.0.10/32")]),
                        ])
                    ])
            ],
            flows: [
                ("db", "web", 1, .tcp, true), ("10.200.0.1", "web", 1, .tcp, true), ("teller", "web", 1, .tcp, false),
                ("10.1.7.7", "web", 1, .tcp, false), ("remote", "web", 1, .tcp, true),
                ("10.1.0.10", "web", 1, .tcp, false),
                ("11.0.0.1", "web", 1, .tcp, false), ("2001:db8::1", "web", 1, .tcp, false),
            ]),
        Case(
            testDescription: "::/0 is IPv6, 0.0.0.0/0 is IPv4",
            policies: [
                Fixture.network(types: [.egress], egress: [Rule(peers: [.ipBlock(cidr: .allIPv6, except: [])])])
            ],
            flows: [("web", "2001:db8::1", 1, .tcp, true), ("web", "8.8.8.8", 1, .tcp, false)]),
        Case(
            testDescription: "a pod with two addresses is inside a block by the one it uses",
            policies: [
                Fixture.network(
                    on: Fixture.app("web"),
                    ingress: [Rule(peers: [.ipBlock(cidr: Fixture.cidr("fd00::/8"), except: [])])])
            ],
            flows: [("db", "web", 1, .tcp, false), ("fd00::77", "fd00::1", 1, .tcp, true)]),
    ]

    static let ports: [Case] = [
        Case(
            testDescription: "endPort: both ends belong",
            policies: [Fixture.network(ingress: [Rule(ports: [.init(port: .number(255), endPort: 513)])])],
            flows: [
                ("db", "web", 254, .tcp, false), ("db", "web", 255, .tcp, true), ("db", "web", 256, .tcp, true),
                ("db", "web", 513, .tcp, true), ("db", "web", 514, .tcp, false), ("db", "web", 300, .udp, false),
            ]),
        Case(
            testDescription: "the last port",
            policies: [Fixture.network(ingress: [Rule(ports: [.init(port: .number(65535))])])],
            flows: [("db", "web", 65535, .tcp, true), ("db", "web", 65534, .tcp, false)]),
        Case(
            testDescription: "no port: all of the protocol",
            policies: [Fixture.network(ingress: [Rule(ports: [.init(transport: .udp)])])],
            flows: [("db", "web", 7, .udp, true), ("db", "web", 7, .tcp, false)]),
        Case(
            testDescription: "a named port is another number in each destination",
            policies: [Fixture.network(ingress: [Rule(ports: [.init(port: .name("http"))])])],
            flows: [
                ("teller", "web", 8080, .tcp, true), ("teller", "web", 9090, .tcp, false),
                ("teller", "db", 9090, .tcp, true), ("teller", "db", 8080, .tcp, false),
            ]),
        Case(
            testDescription: "a named port must have the protocol too",
            policies: [Fixture.network(ingress: [Rule(ports: [.init(transport: .tcp, port: .name("dns"))])])],
            flows: [("teller", "db", 53, .udp, false), ("teller", "db", 53, .tcp, false)]),
        Case(
            testDescription: "egress: a named port is the peer's",
            policies: [
                Fixture.network(
                    on: Fixture.app("web"), types: [.egress],
                    egress: [
                        Rule(
                            peers: [.pods(pods: nil, namespaces: LabelSelector())], ports: [.init(port: .name("http"))])
                    ])
            ],
            flows: [
                ("web", "db", 9090, .tcp, true), ("web", "db", 7070, .tcp, false), ("web", "remote", 7070, .tcp, true),
                ("web", "remote", 9090, .tcp, false), ("web", "teller", 8080, .tcp, false),
                ("web", "8.8.8.8", 9090, .tcp, false),
            ]),
        Case(
            testDescription: "only SCTP: nothing of TCP and UDP",
            policies: [Fixture.network(ingress: [Rule(ports: [.init(transport: .sctp)])])],
            flows: [("db", "web", 8080, .tcp, false), ("db", "web", 8080, .udp, false)]),
        Case(
            testDescription: "both ends must allow, on the destination's port",
            policies: [
                Fixture.network(
                    "out", on: Fixture.app("web"), types: [.egress], egress: [Rule(ports: [.init(port: .number(80))])]),
                Fixture.network(
                    "in", on: Fixture.app("db"),
                    ingress: [Rule(ports: [.init(port: .number(80)), .init(port: .number(81))])]),
            ],
            flows: [("web", "db", 80, .tcp, true), ("web", "db", 81, .tcp, false), ("job", "db", 81, .tcp, true)]),
    ]

    @Test(arguments: isolation + peers + ports)
    func verdict(_ testCase: Case) throws {
        let fixture = PolicyFixture(testCase.policies)
        for (source, destination, port, transport, expected) in testCase.flows {
            #expect(
                try fixture.allows(source, destination, port, transport) == expected,
                "\(source) -> \(destination):\(port)/\(transport)")
        }
    }

    @Test func expressionsSelect() throws {
        let cases: [(LabelSelector.Requirement, web: Bool, plain: Bool)] = [
            (.isIn(key: "app", values: ["web", "db"]), true, false), (.isIn(key: "app", values: ["x"]), false, false),
            (.isNotIn(key: "app", values: ["web"]), false, true), (.isNotIn(key: "app", values: ["x"]), true, true),
            (.exists(key: "app"), true, false), (.doesNotExist(key: "app"), false, true),
            (.isIn(key: "tier", values: ["a"]), false, false), (.isNotIn(key: "tier", values: ["a"]), true, true),
            (.exists(key: "tier"), false, false), (.doesNotExist(key: "tier"), true, true),
        ]
        for (requirement, web, plain) in cases {
            let selector = LabelSelector(matchExpressions: [requirement])
            #expect(selector.matches(["app": "web"]) == web, "\(requirement)")
            #expect(selector.matches(["other": "x"]) == plain, "\(requirement)")
            let fixture = PolicyFixture([
                PolicyFixture.network(
                    on: PolicyFixture.app("db"), ingress: [Rule(peers: [.pods(pods: selector, namespaces: nil)])])
            ])
            #expect(try fixture.allows("web", "db", 1) == web, "\(requirement)")
        }
    }
}

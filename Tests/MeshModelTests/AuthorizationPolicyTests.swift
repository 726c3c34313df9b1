// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Testing

@Suite struct AuthorizationPolicyTests {
    typealias Fixture = PolicyFixture
    typealias Rule = AuthorizationPolicy.Rule
    typealias Condition = AuthorizationPolicy.Condition

    struct Case: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let policies: [MeshObject]
        /// Source, destination, port, expected; each for TCP and UDP.
        let flows: [(String, String, UInt16, Bool)]
    }

    private static func from(_ set: (inout AuthorizationPolicy.Source) -> Void) -> Rule {
        Rule(from: [Fixture.source(set)])
    }

    private static func to(_ set: (inout AuthorizationPolicy.Operation) -> Void) -> Rule {
        Rule(to: [Fixture.operation(set)])
    }

    static let order: [Case] = [
        Case(
            testDescription: "ALLOW without rules allows nothing",
            policies: [Fixture.authorization(.allow, [])], flows: [("db", "web", 1, false), ("web", "teller", 1, true)]),
        Case(
            testDescription: "DENY without rules denies nothing",
            policies: [Fixture.authorization(.deny, [])], flows: [("db", "web", 1, true)]),
        Case(
            testDescription: "ALLOW with an empty rule allows all",
            policies: [Fixture.authorization(.allow, [Rule()])], flows: [("8.8.8.8", "web", 1, true)]),
        Case(
            testDescription: "DENY beats ALLOW",
            policies: [
                Fixture.authorization(.allow, [Rule()]),
                Fixture.authorization(.deny, [to { $0.ports = [80] }], name: "deny"),
            ],
            flows: [("db", "web", 80, false), ("db", "web", 81, true)]),
        Case(
            testDescription: "AUDIT never decides",
            policies: [Fixture.authorization(.audit, [to { $0.ports = [80] }])], flows: [("db", "web", 81, true)]),
        Case(
            testDescription: "the root namespace holds for all",
            policies: [
                Fixture.authorization(.deny, [to { $0.ports = [80] }], namespace: "root", on: Fixture.app("web"))
            ],
            flows: [("db", "web", 80, false), ("db", "teller", 80, false), ("web", "db", 80, true)]),
        Case(
            testDescription: "the node is no exception",
            policies: [Fixture.authorization(.allow, [from { $0.namespaces = ["shop"] }])],
            flows: [("host", "web", 8086, false)]),
    ]

    static let sources: [Case] = [
        Case(
            testDescription: "principals: exact, prefix, suffix, with or without scheme",
            policies: [
                Fixture.authorization(
                    .allow,
                    [
                        Rule(from: [
                            Fixture.source { $0.principals = ["spiffe://cluster.local/ns/bank/sa/web"] },
                            Fixture.source { $0.principals = ["*/sa/db"] },
                        ])
                    ], on: Fixture.app("web"))
            ],
            flows: [
                ("teller", "web", 1, true), ("db", "web", 1, true), ("remote", "web", 1, false),
                ("job", "web", 1, false),
            ]),
        Case(
            testDescription: "presence: any proved identity",
            policies: [Fixture.authorization(.allow, [from { $0.principals = ["*"] }])],
            flows: [
                ("db", "web", 1, true), ("job", "web", 1, false), ("8.8.8.8", "web", 1, false),
                ("host", "web", 1, false),
            ]),
        Case(
            testDescription: "not present: what DENY uses to demand an identity",
            policies: [Fixture.authorization(.deny, [from { $0.notPrincipals = ["*"] }])],
            flows: [
                ("db", "web", 1, true), ("job", "web", 1, false), ("remote", "web", 1, false),
                ("8.8.8.8", "web", 1, false),
            ]),
        Case(
            testDescription: "a not-list holds for those without an identity",
            policies: [Fixture.authorization(.allow, [from { $0.notNamespaces = ["shop"] }])],
            flows: [
                ("teller", "web", 1, true), ("db", "web", 1, false), ("job", "web", 1, true),
                ("8.8.8.8", "web", 1, true),
            ]),
        Case(
            testDescription: "namespaces by prefix",
            policies: [Fixture.authorization(.allow, [from { $0.namespaces = ["ba*"] }])],
            flows: [("teller", "web", 1, true), ("db", "web", 1, false), ("remote", "web", 1, false)]),
        Case(
            testDescription: "service accounts: with a namespace, or of the policy's",
            policies: [
                Fixture.authorization(
                    .allow, [from { $0.serviceAccounts = ["bank/web", "db"] }], on: Fixture.app("web"))
            ],
            flows: [("teller", "web", 1, true), ("db", "web", 1, true)]),
        Case(
            testDescription: "an account of the policy's namespace is not one of another",
            policies: [Fixture.authorization(.allow, [from { $0.serviceAccounts = ["web"] }], on: Fixture.app("db"))],
            flows: [("web", "db", 1, true), ("teller", "db", 1, false)]),
        Case(
            testDescription: "IP blocks need no identity, and their nots hold without one",
            policies: [
                Fixture.authorization(
                    .allow,
                    [
                        from {
                            $0.ipBlocks = [Fixture.cidr("10.0.0.0/8")]
                            $0.notIpBlocks = [Fixture.cidr("10.1.0.0/24")]
                        }
                    ])
            ],
            flows: [
                ("job", "web", 1, true), ("10.9.9.9", "web", 1, true), ("remote", "web", 1, false),
                ("8.8.8.8", "web", 1, false),
            ]),
        Case(
            testDescription: "the fields of a source are and, sources are or",
            policies: [
                Fixture.authorization(
                    .allow,
                    [
                        Rule(from: [
                            Fixture.source {
                                $0.namespaces = ["bank"]
                                $0.ipBlocks = [Fixture.cidr("10.0.0.0/16")]
                            },
                            Fixture.source { $0.serviceAccounts = ["db"] },
                        ])
                    ], on: Fixture.app("web"))
            ],
            flows: [("teller", "web", 1, false), ("db", "web", 1, true)]),
        Case(
            testDescription: "trust domains",
            policies: [Fixture.authorization(.deny, [from { $0.trustDomains = ["cluster.*"] }])],
            flows: [("db", "web", 1, false), ("job", "web", 1, true)]),
        Case(
            testDescription: "an empty source matches nothing, also beside others",
            policies: [
                Fixture.authorization(
                    .allow, [Rule(from: [AuthorizationPolicy.Source(), Fixture.source { $0.namespaces = ["bank"] }])])
            ],
            flows: [("teller", "web", 1, true), ("db", "web", 1, false)]),
    ]

    static let operations: [Case] = [
        Case(
            testDescription: "ports and notPorts are and",
            policies: [
                Fixture.authorization(
                    .allow,
                    [
                        to {
                            $0.ports = [80, 81]
                            $0.notPorts = [81]
                        }
                    ])
            ],
            flows: [("db", "web", 80, true), ("db", "web", 81, false), ("db", "web", 82, false)]),
        Case(
            testDescription: "notPorts alone: all others",
            policies: [Fixture.authorization(.deny, [to { $0.notPorts = [443] }])],
            flows: [("db", "web", 443, true), ("db", "web", 442, false), ("db", "web", 65535, false)]),
        Case(
            testDescription: "an ALLOW rule with HTTP fields is left out",
            policies: [
                Fixture.authorization(
                    .allow,
                    [
                        to {
                            $0.ports = [80]
                            $0.methods = ["GET"]
                        }, to { $0.ports = [81] },
                    ])
            ],
            flows: [("db", "web", 80, false), ("db", "web", 81, true)]),
        Case(
            testDescription: "a DENY rule with HTTP fields keeps the rest",
            policies: [
                Fixture.authorization(
                    .deny,
                    [
                        to {
                            $0.ports = [80]
                            $0.paths = ["/admin"]
                        }
                    ])
            ],
            flows: [("db", "web", 80, false), ("db", "web", 81, true)]),
        Case(
            testDescription: "a DENY rule of HTTP fields only denies all",
            policies: [Fixture.authorization(.deny, [to { $0.methods = ["DELETE"] }])],
            flows: [("db", "web", 80, false)]),
        Case(
            testDescription: "an empty operation matches nothing",
            policies: [Fixture.authorization(.deny, [Rule(to: [AuthorizationPolicy.Operation()])])],
            flows: [("db", "web", 80, true)]),
        Case(
            testDescription: "conditions: all of them, values and their nots",
            policies: [
                Fixture.authorization(
                    .allow,
                    [
                        Rule(when: [
                            Condition(key: "source.namespace", values: ["bank", "shop"], notValues: ["bank"]),
                            Condition(key: "destination.port", values: ["80", "81"], notValues: ["81"]),
                        ])
                    ])
            ],
            flows: [("db", "web", 80, true), ("db", "web", 81, false), ("teller", "web", 80, false)]),
        Case(
            testDescription: "destination.ip is the workload's",
            policies: [
                Fixture.authorization(
                    .deny, [Rule(when: [Condition(key: "destination.ip", values: ["10.0.0.2", "10.7.0.0/16"])])])
            ],
            flows: [("web", "db", 1, false), ("db", "web", 1, true)]),
        Case(
            testDescription: "source.ip, an address alone",
            policies: [Fixture.authorization(.deny, [Rule(when: [Condition(key: "source.ip", values: ["10.0.0.3"])])])],
            flows: [("job", "web", 1, false), ("db", "web", 1, true)]),
        Case(
            testDescription: "a condition of HTTP: void in ALLOW, met in DENY",
            policies: [
                Fixture.authorization(
                    .allow, [Rule(when: [Condition(key: "request.headers[x]", values: ["y"])])], on: Fixture.app("web")),
                Fixture.authorization(
                    .deny,
                    [
                        Rule(
                            to: [Fixture.operation { $0.ports = [80] }],
                            when: [Condition(key: "connection.sni", values: ["y"])])
                    ],
                    name: "deny", on: Fixture.app("db")),
            ],
            flows: [("db", "web", 1, false), ("web", "db", 80, false), ("web", "db", 81, true)]),
    ]

    @Test(arguments: order + sources + operations)
    func verdict(_ testCase: Case) throws {
        let fixture = PolicyFixture(testCase.policies)
        for (source, destination, port, expected) in testCase.flows {
            for transport in [TransportProtocol.tcp, .udp] {
                #expect(
                    try fixture.allows(source, destination, port, transport) == expected,
                    "\(source) -> \(destination):\(port)/\(transport)")
            }
        }
    }

    @Test func dryRunIsComparedAndNotEnforced() throws {
        let deny = Fixture.authorization(.deny, [Self.to { $0.ports = [80] }], on: Fixture.app("web"), isDryRun: true)
        let fixture = PolicyFixture([deny])
        #expect(try fixture.allows("db", "web", 80))
        #expect(try !fixture.allows("db", "web", 80, withDryRun: true))
        let web = try #require(fixture.compiler.mesh.workloads[Fixture.web.namespacedName])
        #expect(web.policySet == .none)
        #expect(web.dryRunSet != .none)
        #expect(try fixture.explain(Fixture.db.podIPs[0], Fixture.web.podIPs[0], 80).dryRunVerdict == .deny)
        let db = try #require(fixture.compiler.mesh.workloads[Fixture.db.namespacedName])
        #expect(db.dryRunSet == .none)
    }

    @Test func aDryRunThatChangesNothingIsNone() throws {
        let rules = [Self.to { $0.ports = [80] }]
        let fixture = PolicyFixture([
            Fixture.authorization(.deny, rules), Fixture.authorization(.deny, rules, name: "again", isDryRun: true),
        ])
        let web = try #require(fixture.compiler.mesh.workloads[Fixture.web.namespacedName])
        #expect(web.policySet != .none)
        #expect(web.dryRunSet == .none)
    }

    @Test func aPolicyWithTargetsIsForAProxy() throws {
        var policy = AuthorizationPolicy(
            metadata: ObjectMetadata(name: "p", namespace: "shop"), action: .deny, rules: [Rule()])
        policy.targetRefs = ["Service/web"]
        let fixture = PolicyFixture([.authorizationPolicy(policy)])
        #expect(try fixture.allows("db", "web", 80))
        #expect(fixture.compiler.findings().map(\.reason).contains(.targetRefs))
    }
}

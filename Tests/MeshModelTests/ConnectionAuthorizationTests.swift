// SPDX-License-Identifier: Apache-2.0

import MeshModel
import TestSupport
import Testing

/// AuthorizationPolicy for connections that are not HTTP.
@Suite struct ConnectionAuthorizationTests {
    private typealias Rule = AuthorizationPolicy.Rule
    private typealias Policies = RequestAuthorizerTests

    private static func decide(
        _ authorizer: RequestAuthorizer, _ request: RequestOracle.Request
    ) -> AuthorizationDecision? {
        request.borrowed { borrowed, _ in
            authorizer.decide(
                connectionFrom: borrowed.source, to: borrowed.destinationAddress, port: borrowed.destinationPort)
        }
    }

    private static func isAllowed(
        _ policies: [AuthorizationPolicy], _ set: (inout RequestOracle.Request) -> Void = { _ in }
    ) -> Bool {
        decide(RequestAuthorizer(policies), Policies.request(set))?.isAllowed ?? false
    }

    private static let web = PolicyFixture.source { $0.serviceAccounts = ["web"] }
    private static let get = PolicyFixture.operation { $0.methods = ["GET"] }
    private static let ninety = PolicyFixture.operation { $0.ports = [90] }
    private static let getOfNinety = PolicyFixture.operation { ($0.methods, $0.ports) = (["GET"], [90]) }

    /// Fields that only requests have, each alone and each negated.
    private static let ofHTTP: [Rule] =
        [
            PolicyFixture.operation { $0.methods = ["GET"] }, PolicyFixture.operation { $0.notMethods = ["GET"] },
            PolicyFixture.operation { $0.paths = ["/a"] }, PolicyFixture.operation { $0.notPaths = ["/a"] },
            PolicyFixture.operation { $0.hosts = ["web"] }, PolicyFixture.operation { $0.notHosts = ["web"] },
        ].map { Rule(to: [$0]) }
        + [
            Rule(when: [.init(key: "request.headers[X]", values: ["a"])]),
            Rule(when: [.init(key: "request.headers[X]", notValues: ["a"])]),
            Rule(when: [.init(key: "request.headers[host]", values: ["web"])]),
            Rule(when: [.init(key: "request.auth.claims[iss]", values: ["a"])]),
        ]

    @Test(arguments: ofHTTP.indices) func aFieldOfHTTPIsNeverMetInAllow(_ number: Int) {
        #expect(!Self.isAllowed([Policies.policy(.allow, [Self.ofHTTP[number]])]))
    }

    @Test(arguments: ofHTTP.indices) func aFieldOfHTTPIsMetInDeny(_ number: Int) {
        var rule = Self.ofHTTP[number]
        #expect(!Self.isAllowed([Policies.policy(.deny, [rule])]))
        rule.from = [Self.web]
        #expect(!Self.isAllowed([Policies.policy(.deny, [rule])]))
        #expect(Self.isAllowed([Policies.policy(.deny, [rule])]) { $0.principal = "cluster.local/ns/shop/sa/db" })
    }

    @Test func theRestOfARuleDecides() {
        let deny = [Policies.policy(.deny, [Rule(to: [Self.getOfNinety])])]
        #expect(Self.isAllowed(deny) && !Self.isAllowed(deny) { $0.port = 90 })
        // One of two operations asks for nothing of HTTP.
        let allow = [Policies.policy(.allow, [Rule(to: [Self.get, Self.ninety])])]
        #expect(!Self.isAllowed(allow) && Self.isAllowed(allow) { $0.port = 90 })
        let from = [Policies.policy(.allow, [Rule(from: [Self.web])])]
        #expect(Self.isAllowed(from) && !Self.isAllowed(from) { $0.principal = nil })
        let block = [Policies.policy(.allow, [Rule(when: [.init(key: "remote.ip", values: ["10.0.0.0/24"])])])]
        #expect(Self.isAllowed(block) && !Self.isAllowed(block) { $0.remote = PolicyFixture.address("8.8.8.8") })
    }

    @Test func theOrderIsThatOfRequests() throws {
        let allow = Policies.policy(.allow, [Rule()], name: "all")
        let deny = Policies.policy(.deny, [Rule(to: [Self.get])], name: "get")
        let tried = Policies.policy(.deny, [Rule(from: [Self.web])], name: "tried", isDryRun: true)
        #expect(Self.isAllowed([]) && Self.isAllowed([allow]) && !Self.isAllowed([allow, deny]))
        #expect(!Self.isAllowed([Policies.policy(.allow, [])]))
        let decision = try #require(Self.decide(RequestAuthorizer([allow, tried]), Policies.request()))
        #expect(decision.isAllowed && decision.rule == 0 && decision.dryRunDiffers && decision.dryRunRule == 1)
    }

    /// Whoever passes as something else than HTTP may not do what requests may not.
    @Test func noConnectionIsAllowedWhoseRequestsAreNot() {
        var counts = [0, 0]
        for seed in UInt64(0)..<250 {
            var generator = RequestGenerator(seed: 7000 + seed)
            let policies = (0..<generator.random.pick([1, 2, 3])).map { generator.policy("p\($0)") }
            let authorizer = RequestAuthorizer(policies)
            for _ in 0..<20 {
                let request = generator.request()
                guard let connection = Self.decide(authorizer, request), let decision = authorizer.decide(request)
                else {
                    continue
                }
                if connection.isAllowed { #expect(decision.isAllowed, "seed \(seed): \(request)") }
                if connection.dryRunIsAllowed { #expect(decision.dryRunIsAllowed, "dry run, seed \(seed): \(request)") }
                counts[connection.isAllowed ? 1 : 0] += 1
            }
        }
        #expect(counts.allSatisfy { $0 > 100 }, "\(counts)")
    }
}

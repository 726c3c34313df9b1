// SPDX-License-Identifier: Apache-2.0

import MeshModel
import TestSupport
import Testing

/// The compiled authorizer and the slow reading of the API, on thousands of random policies and requests.
@Suite struct RequestOracleTests {
    @Test(arguments: 0..<8)
    func randomPoliciesAgree(_ batch: UInt64) {
        var outcomes: [String: Int] = [:]
        for seed in batch * 50..<batch * 50 + 50 {
            var generator = RequestGenerator(seed: seed)
            let count = generator.random.pick([1, 2, 3, 5, 12])
            let policies = (0..<count).map { generator.policy("p\($0)") }
            let authorizer = RequestAuthorizer(policies)
            let oracle = RequestOracle(authorizer.policies)
            for _ in 0..<25 {
                let request = generator.request()
                let context = "seed \(seed): \(request)"
                let decision = authorizer.decide(request)
                let expected = oracle.allows(request)
                #expect(decision?.isAllowed == expected, "\(context)")
                #expect(decision?.dryRunIsAllowed == oracle.allows(request, withDryRun: true), "dry run, \(context)")
                guard let decision else {
                    outcomes["refused", default: 0] += 1
                    continue
                }
                expect(decision, authorizer, oracle, request, context)
                outcomes[decision.rule == nil ? "default" : decision.isAllowed ? "allow" : "deny", default: 0] += 1
                if decision.dryRunDiffers { outcomes["dry run", default: 0] += 1 }
            }
        }
        // A generator whose requests never meet a rule would prove nothing.
        for outcome in ["refused", "default", "allow", "deny", "dry run"] {
            #expect(outcomes[outcome, default: 0] > 20, "\(outcome): \(outcomes)")
        }
    }

    /// The named rule is the first of those that could have decided.
    private func expect(
        _ decision: AuthorizationDecision, _ authorizer: RequestAuthorizer, _ oracle: RequestOracle,
        _ request: RequestOracle.Request, _ context: String
    ) {
        for (rule, isAllowed, isDryRun) in [
            (decision.rule, decision.isAllowed, false), (decision.dryRunRule, decision.dryRunIsAllowed, true),
        ] {
            guard let rule else { continue }
            let source = authorizer.rules[rule]
            let policy = authorizer.policies[source.policy]
            #expect(policy.action == (isAllowed ? .allow : .deny), "\(context)")
            #expect(isDryRun || !policy.isDryRun, "\(context)")
            let isMatch = oracle.matches(policy: source.policy, rule: source.index, request)
            #expect(isMatch, "\(context), \(policy.rules[source.index])")
            guard RequestPathOracle.readings(request.path)?.count == 1 else { continue }
            for earlier in authorizer.rules[..<rule] {
                let other = authorizer.policies[earlier.policy]
                guard other.action == policy.action, isDryRun || !other.isDryRun else { continue }
                let isMatch = oracle.matches(policy: earlier.policy, rule: earlier.index, request)
                #expect(!isMatch, "\(context)")
            }
        }
    }

    @Test(arguments: 0..<4)
    func randomPathsAgree(_ batch: UInt64) {
        var generator = RequestGenerator(seed: 900 + batch)
        var counts = [0, 0, 0]
        for _ in 0..<2500 {
            let path = generator.path()
            let expected = RequestPathOracle.readings(path)
            #expect(RequestPathTests.readings(path) == expected, "\(path)")
            counts[expected?.count ?? 0] += 1
        }
        #expect(counts.allSatisfy { $0 > 100 }, "\(counts)")
    }
}

// SPDX-License-Identifier: Apache-2.0

import MeshModel
import TestSupport
import Testing

/// The compiled router against the slow reading of the Gateway API.
@Suite struct RouteOracleTests {
    @Test(arguments: 0..<8)
    func randomRoutesAgree(_ batch: UInt64) throws {
        var counts = (none: 0, unmatched: 0, matched: 0)
        for seed in batch * 250..<batch * 250 + 250 {
            var generator = RouteGenerator(seed: seed)
            let routes = generator.routes()
            let services = [RouteGenerator.service]
            let table = RouteTable(RouteObjects(routes: routes, services: services))
            let oracle = RouteOracle(routes: routes, services: services, expressions: RouteGenerator.expressions)
            let name = RouteGenerator.service.namespacedName
            for _ in 0..<40 {
                let request = generator.request()
                let client = generator.client()
                let port = generator.port()
                let expected = oracle.answer(request, to: name, port: port, from: client)
                var found = RouteOracle.Answer.noRoute
                if let router = table.router(for: name, port: port, clientNamespace: client) {
                    found = .noRule
                    if let match = router.match(request) {
                        let rule = router.rules[match.rule]
                        found = .rule(rule.route, rule: rule.index, match: match.match)
                    }
                }
                #expect(found == expected, "seed \(seed): \(request) from \(client) to port \(port)")
                switch expected {
                case .noRoute: counts.none += 1
                case .noRule: counts.unmatched += 1
                case .rule: counts.matched += 1
                }
            }
        }
        // Requests that never meet a rule, or always one, would prove nothing.
        #expect(counts.none > 1000 && counts.unmatched > 1000 && counts.matched > 1000, "\(counts)")
    }

    /// The normal form of random paths, by both ways.
    @Test func normalFormsAgree() {
        var random = SplitMix64(seed: 9)
        let parts = ["/", "/", ".", "..", "a", "%2e", "%2E", "%2f", "%61", "%c3", "%", "%7", "~", "%7E", "*"]
        for _ in 0..<20_000 {
            let path = random.list(atMost: 8) { $0.pick(parts) }.joined()
            let expected = RoutePathOracle.normalized(path)
            let found = String(decoding: RequestBytes.normalized(path), as: UTF8.self)
            #expect(found == expected, "\(path)")
            // A normal form is its own, except of what a proxy refuses.
            guard Array(path.utf8).withUnsafeBytes({ RoutePath.hasValidEscapes($0) }) else { continue }
            #expect(String(decoding: RequestBytes.normalized(found), as: UTF8.self) == found, "\(path)")
        }
    }
}

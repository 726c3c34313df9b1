// SPDX-License-Identifier: Apache-2.0

import CMallocCount
import MeshModel

/// Measures RequestAuthorizer.decide with few and with many policies of one workload.
struct AuthorizerCase: Sendable {
    let name: String
    let policy: @Sendable (Int) -> AuthorizationPolicy

    static let decisions = 400_000

    private static func policy(
        _ number: Int, _ action: AuthorizationPolicy.Action, _ rule: AuthorizationPolicy.Rule
    ) -> AuthorizationPolicy {
        AuthorizationPolicy(
            metadata: ObjectMetadata(name: "p\(number)", namespace: "shop"), action: action, rules: [rule])
    }

    /// In each the last policy allows the request or does not concern it.
    static let all = [
        AuthorizerCase(name: "paths") { number in
            var operation = AuthorizationPolicy.Operation()
            operation.methods = ["GET"]
            operation.paths = ["/api/v1/item-\(number)*"]
            return policy(number, .allow, .init(to: [operation]))
        },
        AuthorizerCase(name: "principals") { number in
            var source = AuthorizationPolicy.Source()
            source.principals = ["cluster.local/ns/shop/sa/client-\(number)"]
            var operation = AuthorizationPolicy.Operation()
            operation.paths = ["/api/*"]
            return policy(number, .allow, .init(from: [source], to: [operation]))
        },
        AuthorizerCase(name: "deny headers") { number in
            var operation = AuthorizationPolicy.Operation()
            operation.paths = ["/api/v1/item-\(number)/{*}/secret"]
            return policy(
                number, .deny, .init(to: [operation], when: [.init(key: "request.headers[x-a]", values: ["\(number)"])])
            )
        },
    ]

    /// - Returns: Whether a decision allocates.
    static func measureAll() -> Bool {
        print("authorizer     policies  ns/decision  mallocs/decision")
        var allocates = false
        for item in all {
            for count in [1, 10, 1000] { allocates = item.measure(count) || allocates }
        }
        return allocates
    }

    private func measure(_ count: Int) -> Bool {
        let authorizer = RequestAuthorizer((0..<count).map(policy))
        let request = PreparedRequest("/api/v1/item-\(count - 1)/reviews/17", headers: Scenario.headers)
        defer { request.deallocate() }
        let principal = Array("cluster.local/ns/shop/sa/client-\(count - 1)".utf8)
        var best = Double.infinity
        var allocations: UInt = 0
        var scratch = [UInt8](repeating: 0, count: RequestPath.scratchSize(for: request.request.path.count))
        principal.withUnsafeBytes { principal in
            scratch.withUnsafeMutableBytes { scratch in
                let address = IPAddress(v4: 0x0a00_0001)
                let source = RequestSource(principal: principal, address: address)
                for _ in 0..<Main.rounds {
                    var allowed = 0
                    let before = malloc_count()
                    let time = ContinuousClock().measure {
                        for _ in 0..<Self.decisions {
                            guard case .path(let path) = RequestPath.read(request.request.path, into: scratch) else {
                                preconditionFailure("the path is refused")
                            }
                            let decision = authorizer.decide(
                                AuthorizationRequest(
                                    source: source, destinationAddress: address, destinationPort: 80,
                                    method: request.request.method, path: path, authority: nil),
                                headers: request.headers)
                            allowed += decision.isAllowed ? 1 : 0
                        }
                    }
                    allocations += malloc_count() - before
                    precondition(allowed == Self.decisions, "\(name): denied")
                    let total = Double(time.components.attoseconds) / 1e9 + Double(time.components.seconds) * 1e9
                    best = min(best, total / Double(Self.decisions))
                }
            }
        }
        print(
            name.padded(14), String(count).leftPadded(8), best.text.leftPadded(12),
            String(Double(allocations) / Double(Self.decisions * Main.rounds)).leftPadded(17))
        return allocations > 0
    }
}

// SPDX-License-Identifier: Apache-2.0

extension MeshObject {
    /// What the policy says that cannot be enforced anywhere; nothing for other kinds.
    func policyFindings() -> [Finding] {
        let found: [(path: String?, reason: Finding.Reason, message: String)]
        switch self {
        case .networkPolicy(let policy): found = policy.unenforceable
        case .authorizationPolicy(let policy): found = policy.unenforceable
        case .peerAuthentication(let policy): found = policy.unenforceable
        case .namespace, .pod, .service, .endpointSlice, .node: found = []
        }
        return found.map { Finding(policy: reference, pod: nil, path: $0.path, reason: $0.reason, message: $0.message) }
    }
}

extension NetworkPolicy {
    fileprivate var unenforceable: [(path: String?, reason: Finding.Reason, message: String)] {
        var found: [(path: String?, reason: Finding.Reason, message: String)] = []
        for (direction, rules) in [("ingress", ingress), ("egress", egress)] {
            for (index, rule) in rules.enumerated() {
                for (portIndex, port) in rule.ports.enumerated() where port.transport == .sctp {
                    found.append(
                        (
                            "spec.\(direction)[\(index)].ports[\(portIndex)]", .sctp,
                            "the mesh neither carries nor blocks SCTP"
                        ))
                }
            }
        }
        return found
    }
}

extension AuthorizationPolicy {
    fileprivate var unenforceable: [(path: String?, reason: Finding.Reason, message: String)] {
        if !targetRefs.isEmpty {
            return [("spec.targetRefs", .targetRefs, "needs a proxy; the policy is not enforced")]
        }
        if action == .audit {
            return [
                ("spec.action", .audit, "AUDIT decides nothing; use the annotation \(MeshAnnotation.dryRun.rawValue)")
            ]
        }
        var found: [(path: String?, reason: Finding.Reason, message: String)] = []
        let consequence =
            action == .allow
            ? "the rule is left out, so it allows nothing" : "they count as met, so the rule denies more than it says"
        let report = { (path: String) in
            found.append((path, .needsProxy, "has fields of HTTP, which need a proxy; \(consequence)"))
        }
        for (index, rule) in rules.enumerated() {
            for (number, source) in rule.from.enumerated() {
                let path = "spec.rules[\(index)].from[\(number)].source"
                if source.hasL7Fields { report(path) }
                if source.isEmpty { found.append((path, .matchesNothing, "is empty and matches no source")) }
            }
            for (number, operation) in rule.to.enumerated() {
                let path = "spec.rules[\(index)].to[\(number)].operation"
                if operation.hasL7Fields { report(path) }
                if operation.isEmpty { found.append((path, .matchesNothing, "is empty and matches no operation")) }
            }
            for (number, condition) in rule.when.enumerated() where condition.isL7 {
                report("spec.rules[\(index)].when[\(number)]")
            }
        }
        return found
    }
}

extension PeerAuthentication {
    fileprivate var unenforceable: [(path: String?, reason: Finding.Reason, message: String)] {
        guard selector?.isEmpty ?? true, !portLevelMtls.isEmpty else { return [] }
        return [("spec.portLevelMtls", .portLevelWithoutSelector, "has no effect without a selector")]
    }
}

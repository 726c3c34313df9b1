// SPDX-License-Identifier: Apache-2.0

extension MeshObject {
    /// What the policy says that cannot be enforced anywhere; nothing for other kinds.
    func policyFindings(_ l7: L7Enforcement, hasTunnels: Bool) -> [Finding] {
        let found: [(path: String?, reason: Finding.Reason, message: String)]
        switch self {
        case .networkPolicy(let policy): found = policy.unenforceable
        case .authorizationPolicy(let policy): found = policy.unenforceable(l7)
        case .peerAuthentication(let policy): found = policy.unenforceable(hasTunnels: hasTunnels)
        case .meshPolicy(let policy): found = policy.unenforceable
        case .namespace, .pod, .service, .endpointSlice, .node, .route: found = []
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
    fileprivate func unenforceable(
        _ l7: L7Enforcement
    ) -> [(path: String?, reason: Finding.Reason, message: String)] {
        let hasProxy = l7 == .enforced
        if hasProxy, let target = targetRefs.firstIndex(where: { !$0.hasPrefix("Service/") }) {
            return [("spec.targetRefs[\(target)]", .targetRefs, "is no Service; the target is not governed")]
        }
        if !targetRefs.isEmpty, !hasProxy {
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
            let lack = hasProxy ? "asks what the mesh cannot tell" : "has fields of HTTP, which need a proxy"
            found.append((path, .needsProxy, "\(lack); \(consequence)"))
        }
        for (index, rule) in rules.enumerated() {
            for (number, source) in rule.from.enumerated() {
                let path = "spec.rules[\(index)].from[\(number)].source"
                if hasProxy ? source.isUnevaluable : source.hasL7Fields { report(path) }
                if source.isEmpty { found.append((path, .matchesNothing, "is empty and matches no source")) }
            }
            for (number, operation) in rule.to.enumerated() {
                let path = "spec.rules[\(index)].to[\(number)].operation"
                if operation.hasL7Fields, !hasProxy { report(path) }
                if operation.isEmpty { found.append((path, .matchesNothing, "is empty and matches no operation")) }
            }
            for (number, condition) in rule.when.enumerated() where hasProxy ? condition.isUnevaluable : condition.isL7
            {
                report("spec.rules[\(index)].when[\(number)]")
            }
        }
        return found
    }
}

extension PeerAuthentication {
    fileprivate func unenforceable(
        hasTunnels: Bool
    ) -> [(path: String?, reason: Finding.Reason, message: String)] {
        var found: [(path: String?, reason: Finding.Reason, message: String)] = []
        var modes: [(path: String, mode: Mode)] = [("spec.mtls.mode", mode)]
        if selector?.isEmpty ?? true {
            if !portLevelMtls.isEmpty {
                found.append(("spec.portLevelMtls", .portLevelWithoutSelector, "has no effect without a selector"))
            }
        } else {
            modes += portLevelMtls.sorted { $0.key < $1.key }
                .map { (path: "spec.portLevelMtls[\($0.key)].mode", mode: $0.value) }
        }
        for (path, mode) in modes where mode == .disable {
            found.append(
                (
                    path, .notSupported,
                    "DISABLE is taken as PERMISSIVE: what enrolled pods of two nodes send each other stays encrypted"
                ))
        }
        if !hasTunnels, let (path, _) = modes.first(where: { $0.mode == .strict }) {
            found.append(
                (
                    path, .noTunnels,
                    "STRICT refuses all pods of other nodes, which can prove nothing without certificates (start "
                        + "mesh-agent with --proxy and --identity)"
                ))
        }
        return found
    }
}

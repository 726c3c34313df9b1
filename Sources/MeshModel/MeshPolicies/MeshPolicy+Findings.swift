// SPDX-License-Identifier: Apache-2.0

extension MeshPolicyField {
    /// Those that the node proxy of this version acts on.
    static let enforced: Set<MeshPolicyField> = [
        .maxConnections, .maxPending, .connectTimeout, .idleTimeout, .poolPerClient, .requestTimeout,
        .backendRequestTimeout, .retryBudget, .outlierDetection, .algorithm, .locality, .rateLimits, .fault,
        .protocolOverrides, .detect, .detectTimeout,
    ]
}

extension MeshPolicy {
    /// What the policy says that nothing acts on.
    var unenforceable: [(path: String?, reason: Finding.Reason, message: String)] {
        var found: [(path: String?, reason: Finding.Reason, message: String)] = []
        for (index, target) in targets.enumerated() {
            if case .pods = target {
                found.append(
                    (
                        "spec.targetRefs[\(index)]", .notSupported,
                        "has no effect: only Services and namespaces are targets yet"
                    ))
            }
        }
        for field in MeshPolicyField.allCases
        where field.isSet(in: settings) && !MeshPolicyField.enforced.contains(field) {
            found.append(("spec.\(field.rawValue)", .notSupported, "has no effect yet"))
        }
        return found
    }
}

// SPDX-License-Identifier: Apache-2.0

/// The ports on which a workload takes proved peers only, and the policy that says so.
///
/// Workload over namespace over mesh, the oldest object of each; a port's own mode over the workload's;
/// UNSET defers to the next.
struct EffectivePeerAuthentication: Sendable {
    let strict: [(policy: LoweredPolicy, ports: PortSet)]

    /// - Parameter policies: Those that select the workload; other kinds are passed over.
    init(_ policies: [LoweredPolicy]) {
        typealias Candidate = (policy: LoweredPolicy, value: LoweredPeerAuthentication)
        var workload: Candidate?
        var namespace: Candidate?
        var mesh: Candidate?
        for policy in policies where policy.dependsOnProbes {
            guard case .peerAuthentication(let value) = policy.body else { continue }
            let candidate = (policy, value)
            if value.hasSelector {
                workload = Self.older(workload, candidate)
            } else if policy.scope == .mesh {
                mesh = Self.older(mesh, candidate)
            } else {
                namespace = Self.older(namespace, candidate)
            }
        }
        var strict: [(policy: LoweredPolicy, ports: PortSet)] = []
        let portModes = workload?.value.portModes.filter { $0.value != .unset } ?? [:]
        if let base = [workload, namespace, mesh].lazy.compactMap({ $0 }).first(where: { $0.value.mode != .unset }),
            base.value.mode == .strict
        {
            strict.append((base.policy, PortSet.all.subtracting(PortSet(ports: portModes.keys))))
        }
        let ports = PortSet(ports: portModes.filter { $0.value == .strict }.keys)
        if let workload, !ports.isEmpty { strict.append((workload.policy, ports)) }
        self.strict = strict
    }

    private static func older(
        _ left: (policy: LoweredPolicy, value: LoweredPeerAuthentication)?,
        _ right: (policy: LoweredPolicy, value: LoweredPeerAuthentication)
    ) -> (policy: LoweredPolicy, value: LoweredPeerAuthentication) {
        guard let left else { return right }
        // Objects without a time are newest, and then the first by name counts, so that the answer never varies.
        switch (left.value.creationTimestamp, right.value.creationTimestamp) {
        case (let a?, let b?) where a != b: return a < b ? left : right
        case (.some, nil): return left
        case (nil, .some): return right
        default: return left.policy.reference < right.policy.reference ? left : right
        }
    }
}

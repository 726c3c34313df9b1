// SPDX-License-Identifier: Apache-2.0

/// Remembers what the rules of each policy mean, for as long as the index answers as it did.
///
/// A workload may have thousands of policies of which one changes; and policies that select many workloads mean the
/// same for all of them, but for those that depend on the workload.
struct RuleCache: Sendable {
    private struct Key: Hashable, Sendable {
        let policy: Int
        let direction: PolicyDirection
    }

    private var rules: [Key: [PolicyProgram.Rule]] = [:]
    private var peers: [Key: [IdentitySet]] = [:]
    private var revision = -1

    /// Policies remembered at most: bounds memory while policies come and go and identities stay. Arbitrary.
    private static let capacity = 65536

    /// - Parameter resolve: what the policy's rules mean, if it is not known.
    mutating func rules(
        of policy: LoweredPolicy, _ direction: PolicyDirection, _ index: IdentityIndex,
        _ resolve: (inout RuleCache) -> [PolicyProgram.Rule]
    ) -> [PolicyProgram.Rule] {
        guard !policy.dependsOnSubject else { return resolve(&self) }
        forgetIfOutdated(index)
        let key = Key(policy: policy.id, direction: direction)
        if let known = rules[key] { return known }
        let resolved = resolve(&self)
        rules[key] = resolved
        return resolved
    }

    /// Whom each of the policy's rules means, in their order; that never depends on the workload.
    mutating func peers(
        of policy: LoweredPolicy, _ direction: PolicyDirection, _ index: IdentityIndex
    ) -> [IdentitySet] {
        let resolve = { (policy.rules(direction) ?? []).map { $0.peers.identities(in: index) } }
        // Otherwise it is asked for once, to make what `rules` has.
        guard policy.dependsOnSubject else { return resolve() }
        forgetIfOutdated(index)
        let key = Key(policy: policy.id, direction: direction)
        if let known = peers[key] { return known }
        let resolved = resolve()
        peers[key] = resolved
        return resolved
    }

    private mutating func forgetIfOutdated(_ index: IdentityIndex) {
        guard revision != index.revision || rules.count + peers.count >= Self.capacity else { return }
        rules.removeAll(keepingCapacity: true)
        peers.removeAll(keepingCapacity: true)
        revision = index.revision
    }
}

// SPDX-License-Identifier: Apache-2.0

/// Remembers whom each rule means, for as long as the index answers as it did.
struct PeerCache: Sendable {
    private struct Key: Hashable, Sendable {
        let policy: Int
        let rule: Int
        let direction: PolicyDirection
    }

    private var sets: [Key: IdentitySet] = [:]
    private var revision = -1

    /// Rules remembered at most: bounds memory while policies come and go and identities stay. Arbitrary.
    private static let capacity = 65536

    mutating func peers(
        of rule: LoweredRule, of policy: LoweredPolicy, _ direction: PolicyDirection, _ index: IdentityIndex
    ) -> IdentitySet {
        if revision != index.revision || sets.count >= Self.capacity {
            sets.removeAll(keepingCapacity: true)
            revision = index.revision
        }
        let key = Key(policy: policy.id, rule: rule.index, direction: direction)
        if let set = sets[key] { return set }
        let set = rule.peers.identities(in: index)
        sets[key] = set
        return set
    }
}

// SPDX-License-Identifier: Apache-2.0

/// For each label the identities that have it.
struct LabelIndex: Sendable {
    private var byValue: [String: [String: IdentitySet]] = [:]
    private var byKey: [String: IdentitySet] = [:]

    mutating func set(_ key: String, _ value: String, _ slot: Int, to isMember: Bool) {
        byKey.set(key, slot, to: isMember)
        byValue[key, default: [:]].set(value, slot, to: isMember)
    }

    /// The members of `candidates` that `selector` selects.
    func select(_ selector: LabelSelector, from candidates: IdentitySet) -> IdentitySet {
        var result = candidates
        for (key, value) in selector.matchLabels {
            result.formIntersection(byValue[key]?[value] ?? IdentitySet())
        }
        for requirement in selector.matchExpressions {
            switch requirement {
            case .isIn(let key, let values): result.formIntersection(having(key, values))
            case .isNotIn(let key, let values): result.subtract(having(key, values))
            case .exists(let key): result.formIntersection(byKey[key] ?? IdentitySet())
            case .doesNotExist(let key): result.subtract(byKey[key] ?? IdentitySet())
            }
        }
        return result
    }

    private func having(_ key: String, _ values: [String]) -> IdentitySet {
        values.reduce(into: IdentitySet()) { result, value in
            if let set = byValue[key]?[value] { result.formUnion(set) }
        }
    }
}

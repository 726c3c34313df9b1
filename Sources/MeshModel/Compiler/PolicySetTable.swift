// SPDX-License-Identifier: Apache-2.0

/// The policy sets in use, each once.
struct PolicySetTable: Sendable {
    private var ids: [PolicySet: PolicySetID] = [:]
    private var uses: [PolicySetID: Int] = [:]
    private var lastID: UInt32 = 0

    /// Counts a use of the set, which is named if it is new.
    mutating func retain(_ set: PolicySet, in mesh: inout CompiledMesh, _ changes: inout CompiledChanges) -> PolicySetID
    {
        if let id = ids[set] {
            uses[id, default: 0] += 1
            return id
        }
        repeat { lastID &+= 1 } while lastID == 0 || mesh.policySets[PolicySetID(rawValue: lastID)] != nil
        let id = PolicySetID(rawValue: lastID)
        ids[set] = id
        uses[id] = 1
        mesh.policySets[id] = set
        changes.policySets.insert(id)
        return id
    }

    mutating func retain(_ id: PolicySetID) {
        if id != .none { uses[id, default: 0] += 1 }
    }

    mutating func release(_ id: PolicySetID, in mesh: inout CompiledMesh, _ changes: inout CompiledChanges) {
        guard id != .none, let count = uses[id] else { return }
        uses[id] = count == 1 ? nil : count - 1
        guard count == 1, let set = mesh.policySets.removeValue(forKey: id) else { return }
        ids[set] = nil
        changes.policySets.insert(id)
    }
}

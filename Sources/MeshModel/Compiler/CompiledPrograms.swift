// SPDX-License-Identifier: Apache-2.0

/// All that the policy sets of a workload depend on, apart from the identities in use.
struct PolicyProgramKey: Hashable, Sendable {
    /// Ids of policies; a changed policy has another.
    let policies: [Int]
    let namedPorts: [IdentityIndex.PortName: Set<UInt16>]
    let probePorts: Set<UInt16>
    let addresses: [IPAddress]
    let encrypts: Bool
}

/// The programs of workloads with one key, and the sets made of them.
struct CompiledPrograms: Sendable {
    /// Egress and ingress as enforced; again with dry-run policies, if there are any.
    let programs: [PolicyProgram]
    /// The table of sets counts one use of each for this value.
    var enforced: PolicySetID
    var dryRun: PolicySetID
    /// Of the index that they were made from.
    let revision: Int
    /// Workloads with this key.
    var users: Int

    func isUnaffected(by slots: Set<Int>, since old: CompiledPrograms) -> Bool {
        zip(programs, old.programs).allSatisfy { $0.isUnaffected(by: slots, since: $1) }
    }
}

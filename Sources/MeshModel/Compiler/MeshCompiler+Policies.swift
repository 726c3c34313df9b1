// SPDX-License-Identifier: Apache-2.0

extension MeshCompiler {
    /// Finds the policies of pods that became or ceased to be workloads, or changed their labels.
    mutating func settleWorkloads(_ pending: inout Pending) {
        for name in pending.workloads {
            if isWorkload(name), let pod = pods[name] {
                policies.select(for: pod, projection: &projection)
            } else {
                policies.deselectAll(for: name, projection: &projection)
            }
        }
    }

    /// Compiles the sets of all workloads that may have another one now.
    mutating func settlePolicySets(_ pending: inout Pending) {
        if compiledRevision != index.revision {
            // Another identity is known, so exceptions anywhere may differ.
            pending.workloads.formUnion(mesh.workloads.keys)
            compiledRevision = index.revision
        }
        var memo: [ProgramKey: (enforced: PolicySetID, dryRun: PolicySetID)] = [:]
        var superseded: [PolicySetID] = []
        for name in pending.workloads.sorted() {
            let old = mesh.workloads[name]
            if let old { superseded += [old.policySet, old.dryRunSet] }
            var compiled: CompiledWorkload?
            if isWorkload(name), let pod = pods[name], let slot = podSlots[name] {
                let sets = policySets(of: pod, &memo, &pending.changes)
                interned.retain(sets.enforced)
                interned.retain(sets.dryRun)
                compiled = CompiledWorkload(
                    identity: index.number(at: slot), policySet: sets.enforced, dryRunSet: sets.dryRun,
                    addresses: pod.podIPs, settings: pod.mesh)
            }
            guard compiled != old else { continue }
            mesh.workloads[name] = compiled
            pending.changes.workloads.insert(name)
        }
        // Last: a set that only moved from one workload to another must not come and go.
        for sets in memo.values { superseded += [sets.enforced, sets.dryRun] }
        for id in superseded { interned.release(id, in: &mesh, &pending.changes) }
    }

    /// All that the sets of a workload depend on, apart from the identities in use.
    private struct ProgramKey: Hashable {
        let policies: [Int]
        let namedPorts: [IdentityIndex.PortName: Set<UInt16>]
        let probePorts: Set<UInt16>
        let addresses: [IPAddress]
    }

    /// The memo holds one use of each set that it names.
    private mutating func policySets(
        of pod: Pod, _ memo: inout [ProgramKey: (enforced: PolicySetID, dryRun: PolicySetID)],
        _ changes: inout CompiledChanges
    ) -> (enforced: PolicySetID, dryRun: PolicySetID) {
        let selecting = policies.policies(selecting: pod.namespacedName)
        if selecting.isEmpty { return (.none, .none) }
        let subject = PolicySubject(pod)
        let key = ProgramKey(
            policies: selecting.map(\.id),
            namedPorts: selecting.contains(where: \.dependsOnNamedPorts) ? subject.namedPorts : [:],
            probePorts: selecting.contains(where: \.dependsOnProbes) ? subject.probePorts : [],
            addresses: selecting.contains(where: \.dependsOnAddresses) ? subject.addresses : [])
        if let known = memo[key] { return known }

        let enforced = policySet(selecting.filter { !$0.isDryRun }, subject)
        let enforcedID = enforced.map { interned.retain($0, in: &mesh, &changes) } ?? .none
        var dryRunID = PolicySetID.none
        if selecting.contains(where: \.isDryRun) {
            let dryRun = policySet(selecting, subject)
            if dryRun != enforced {
                dryRunID = interned.retain(dryRun ?? .allowAll, in: &mesh, &changes)
            }
        }
        memo[key] = (enforcedID, dryRunID)
        return (enforcedID, dryRunID)
    }

    /// - Returns: `nil` if nothing is restricted.
    private mutating func policySet(_ policies: [LoweredPolicy], _ subject: PolicySubject) -> PolicySet? {
        let egress = PolicyProgram(.egress, policies: policies, subject: subject, index: index, cache: &peerCache)
        let ingress = PolicyProgram(.ingress, policies: policies, subject: subject, index: index, cache: &peerCache)
        if egress.isEmpty, ingress.isEmpty { return nil }
        return PolicySet(
            egressTCP: egress.table(.tcp, index: index), egressUDP: egress.table(.udp, index: index),
            ingressTCP: ingress.table(.tcp, index: index), ingressUDP: ingress.table(.udp, index: index))
    }
}

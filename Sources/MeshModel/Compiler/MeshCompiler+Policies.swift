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

    /// Compiles the sets of all workloads that may have other ones now.
    mutating func settlePolicySets(_ pending: inout Pending) {
        let changedSlots = index.takeChangedSlots()
        var names = pending.workloads
        if compiledRevision != index.revision {
            // Other identities are known, so exceptions anywhere may differ.
            names.formUnion(mesh.workloads.keys)
            compiledRevision = index.revision
        }
        var abandoned: Set<PolicyProgramKey> = []
        for name in names.sorted() {
            var compiled: CompiledWorkload?
            var key: PolicyProgramKey?
            if isWorkload(name), let pod = pods[name], let slots = podSlots[name] {
                // Only those that were pending can have other policies than before.
                let newKey = pending.workloads.contains(name) ? programKey(of: pod) : programKeys[name]
                var sets = (enforced: PolicySetID.none, dryRun: PolicySetID.none)
                if let newKey {
                    key = newKey
                    sets = policySets(of: pod, newKey, changedSlots, &pending.changes)
                }
                compiled = CompiledWorkload(
                    identity: slots.map { index.number(at: $0) }, policySet: sets.enforced, dryRunSet: sets.dryRun,
                    addresses: pod.podIPs, settings: pod.mesh, probePorts: pod.probePorts,
                    routeClass: routeClass(of: name.namespace))
            }
            if programKeys[name] != key {
                if let old = programKeys[name] {
                    programs[old]?.users -= 1
                    abandoned.insert(old)
                }
                if let key { programs[key]?.users += 1 }
                programKeys[name] = key
            }
            guard compiled != mesh.workloads[name] else { continue }
            mesh.workloads[name] = compiled
            pending.changes.workloads.insert(name)
        }
        // Last: what only moved from one workload to another must not come and go.
        for key in abandoned where programs[key]?.users == 0 {
            guard let program = programs.removeValue(forKey: key) else { continue }
            interned.release(program.enforced, in: &mesh, &pending.changes)
            interned.release(program.dryRun, in: &mesh, &pending.changes)
        }
    }

    /// - Returns: `nil` if no policy selects the pod, and there are no tunnels.
    private func programKey(of pod: Pod) -> PolicyProgramKey? {
        let selecting = policies.policies(selecting: pod.namespacedName)
        if selecting.isEmpty, !configuration.hasTunnels { return nil }
        let subject = PolicySubject(pod)
        return PolicyProgramKey(
            policies: selecting.map(\.id),
            namedPorts: selecting.contains(where: \.dependsOnNamedPorts) ? subject.namedPorts : [:],
            probePorts: selecting.contains(where: \.dependsOnProbes) ? subject.probePorts : [],
            addresses: selecting.contains(where: \.dependsOnAddresses) ? subject.addresses : [],
            encrypts: configuration.hasTunnels && subject.encrypts)
    }

    private mutating func policySets(
        of pod: Pod, _ key: PolicyProgramKey, _ changedSlots: Set<Int>?, _ changes: inout CompiledChanges
    ) -> (enforced: PolicySetID, dryRun: PolicySetID) {
        let old = programs[key]
        if let old, old.revision == index.revision { return (old.enforced, old.dryRun) }
        let selecting = policies.policies(selecting: pod.namespacedName)
        let subject = PolicySubject(pod)
        let hasDryRun = selecting.contains(where: \.isDryRun)
        let enforced = programPair(hasDryRun ? selecting.filter { !$0.isDryRun } : selecting, subject)
        let dryRun = hasDryRun ? programPair(selecting, subject) : nil
        var new = CompiledPrograms(
            programs: enforced + (dryRun ?? []), enforced: .none, dryRun: .none, revision: index.revision,
            users: old?.users ?? 0)
        if let old, let changedSlots, new.isUnaffected(by: changedSlots, since: old) {
            (new.enforced, new.dryRun) = (old.enforced, old.dryRun)
        } else {
            let enforcedSet = policySet(enforced)
            new.enforced = enforcedSet.map { interned.retain($0, in: &mesh, &changes) } ?? .none
            if let dryRun {
                let set = policySet(dryRun)
                if set != enforcedSet { new.dryRun = interned.retain(set ?? .allowAll, in: &mesh, &changes) }
            }
            if let old {
                interned.release(old.enforced, in: &mesh, &changes)
                interned.release(old.dryRun, in: &mesh, &changes)
            }
        }
        programs[key] = new
        return (new.enforced, new.dryRun)
    }

    private mutating func programPair(_ policies: [LoweredPolicy], _ subject: PolicySubject) -> [PolicyProgram] {
        [
            PolicyProgram(
                .egress, policies: policies, subject: subject, index: index,
                hasTunnels: configuration.hasTunnels, cache: &ruleCache),
            PolicyProgram(
                .ingress, policies: policies, subject: subject, index: index, hasTunnels: configuration.hasTunnels,
                cache: &ruleCache),
        ]
    }

    /// - Returns: `nil` if nothing is restricted.
    private func policySet(_ pair: [PolicyProgram]) -> PolicySet? {
        if pair.allSatisfy(\.isEmpty) { return nil }
        return PolicySet(
            egressTCP: pair[0].table(.tcp, index: index), egressUDP: pair[0].table(.udp, index: index),
            ingressTCP: pair[1].table(.tcp, index: index), ingressUDP: pair[1].table(.udp, index: index))
    }
}

// SPDX-License-Identifier: Apache-2.0

import MeshModel
import TestSupport
import Testing

/// The compiler, its explanations and the kernel's look-ups against the slow reading of the APIs.
@Suite struct OracleTests {
    @Test(arguments: 0..<8)
    func randomClustersAgree(_ batch: UInt64) throws {
        var denied = 0
        var allowedByPolicy = 0
        for seed in batch * 40..<batch * 40 + 40 {
            var cluster = RandomCluster(seed: seed)
            var compiler = MeshCompiler(configuration: RandomCluster.configuration)
            _ = compiler.update(MeshChange(changed: cluster.objects, enrolled: cluster.enrolled))
            let lookup = KernelLookup(compiler.mesh)
            let oracle = cluster.oracle
            for _ in 0..<50 {
                let flow = cluster.flow()
                let outcome = try check(flow, oracle, compiler, lookup, "seed \(seed)")
                if !outcome.allowed { denied += 1 } else if outcome.byPolicy { allowedByPolicy += 1 }
            }
        }
        // A generator whose flows never meet a policy would prove nothing.
        #expect(denied > 150, "only \(denied) of 2000 flows were denied")
        #expect(allowedByPolicy > 50, "only \(allowedByPolicy) of 2000 flows were allowed by a policy")
    }

    /// Changes one by one lead where a fresh start leads.
    @Test(arguments: 0..<8)
    func changesAgree(_ batch: UInt64) throws {
        for seed in 5000 + batch * 4..<5000 + batch * 4 + 4 {
            var cluster = RandomCluster(seed: seed)
            var compiler = MeshCompiler(configuration: RandomCluster.configuration)
            _ = compiler.update(MeshChange(changed: cluster.objects, enrolled: cluster.enrolled))
            for step in 0..<40 {
                let before = compiler.mesh
                let changes = compiler.update(cluster.mutate())
                expectChanges(changes, from: before, to: compiler.mesh, "seed \(seed), step \(step)")
                let lookup = KernelLookup(compiler.mesh)
                let oracle = cluster.oracle
                for _ in 0..<12 {
                    _ = try check(cluster.flow(), oracle, compiler, lookup, "seed \(seed), step \(step)")
                }
            }
            var fresh = MeshCompiler(configuration: RandomCluster.configuration)
            _ = fresh.update(MeshChange(changed: cluster.objects, enrolled: cluster.enrolled))
            expectAlike(compiler.mesh, fresh.mesh, "seed \(seed)")
        }
    }

    private func check(
        _ flow: RandomCluster.Flow, _ oracle: PolicyOracle, _ compiler: MeshCompiler, _ lookup: KernelLookup,
        _ context: String
    ) throws -> (allowed: Bool, byPolicy: Bool) {
        let expected = oracle.allows(
            from: flow.source, to: flow.destination, port: flow.port, transport: flow.transport)
        let kernel = lookup.allows(
            from: flow.source, to: flow.destination, port: flow.port, transport: flow.transport)
        let explanation = try compiler.explain(
            PolicyQuestion(
                source: .address(flow.source), destination: .address(flow.destination), port: flow.port,
                transport: flow.transport))
        let sentence = "\(context): \(flow) -> \(explanation.deciding.sentence)"
        #expect(kernel == expected, "maps, \(sentence)")
        #expect((explanation.verdict == .allow) == expected, "explain, \(sentence)")

        let dryRun = oracle.allows(
            from: flow.source, to: flow.destination, port: flow.port, transport: flow.transport, withDryRun: true)
        let kernelDryRun = lookup.allows(
            from: flow.source, to: flow.destination, port: flow.port, transport: flow.transport, withDryRun: true)
        #expect(kernelDryRun == dryRun, "dry run in maps, \(sentence)")
        #expect(explanation.dryRunVerdict == (dryRun == expected ? nil : dryRun ? .allow : .deny), "\(sentence)")
        return (expected, explanation.egress.stage != nil || explanation.ingress.stage != nil)
    }

    /// The reported keys are exactly those whose values differ.
    private func expectChanges(
        _ changes: CompiledChanges, from old: CompiledMesh, to new: CompiledMesh, _ context: String
    ) {
        #expect(changes.workloads == differing(old.workloads, new.workloads), "\(context)")
        #expect(changes.addresses == differing(old.addresses, new.addresses), "\(context)")
        #expect(changes.cidrs == differing(old.cidrs, new.cidrs), "\(context)")
        #expect(changes.services == differing(old.services, new.services), "\(context)")
        #expect(changes.policySets == differing(old.policySets, new.policySets), "\(context)")
        #expect(changes.identities == differing(old.identities, new.identities), "\(context)")
        let named = Set(new.workloads.values.flatMap { [$0.policySet, $0.dryRunSet] }).subtracting([.none])
        #expect(Set(new.policySets.keys) == named, "\(context)")
    }

    private func differing<Key: Hashable, Value: Equatable>(_ old: [Key: Value], _ new: [Key: Value]) -> Set<Key> {
        Set(old.keys).union(new.keys).filter { old[$0] != new[$0] }
    }

    /// Equal but for the numbers that history has given.
    private func expectAlike(_ one: CompiledMesh, _ other: CompiledMesh, _ context: String) {
        #expect(Set(one.identities.values) == Set(other.identities.values), "\(context)")
        #expect(one.identities.count == other.identities.count, "\(context)")
        #expect(one.policySets.count == other.policySets.count, "\(context)")
        #expect(
            one.cidrs.mapValues { one.identities[$0] } == other.cidrs.mapValues { other.identities[$0] }, "\(context)")
        #expect(
            one.addresses.mapValues { one.identities[$0.identity] }
                == other.addresses.mapValues { other.identities[$0.identity] }, "\(context)")
        #expect(Set(one.workloads.keys) == Set(other.workloads.keys), "\(context)")
    }
}

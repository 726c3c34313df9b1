// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import MeshModel
import Testing

@testable import MeshAgent

/// The row of a pod that is refused everything, and its way to policy.
@Suite struct RefusedPodTests {
    private static let name = NamespacedName(namespace: "shop", name: "a")
    private static let address = IPAddress(v4: 0x0a00_0001)
    private static let policy = NetworkPolicy(
        metadata: ObjectMetadata(name: "closed", namespace: "shop"), podSelector: LabelSelector())

    private static func isReady(_ tables: KernelTables) -> Bool {
        (tables.workloads[10]?.flags ?? 0) & MESH_WL_READY.rawValue != 0
    }

    @Test func itIsReadyOnlyWhenNobodyReadsTheGenerationWithoutItsPolicy() throws {
        var compiler = MeshCompiler(configuration: .init(nodeName: "n1"))
        var tables = KernelTables()
        var builder = ImageBuilder(adopting: tables)
        _ = try builder.build(compiler.mesh, pods: [:])
        let pod = Pod(
            metadata: ObjectMetadata(name: "a", namespace: "shop"), nodeName: "n1", podIPs: [Self.address])
        let refused = [Self.name: EnrolledPod(netns: 10, isOnVeth: true, isReady: false)]
        var changes = compiler.update(MeshChange(changed: [.pod(pod), .networkPolicy(Self.policy)]))
        _ = try builder.update(to: compiler.mesh, changes, pods: refused, changedPods: [Self.name])
        for operation in MapPlan(from: tables, to: builder.image).operations { tables.apply(operation) }
        #expect(tables.workloads[10] != nil && !Self.isReady(tables))
        #expect(tables.lookups == [10], "nor is anything let in")
        #expect(tables.pod(at: Self.address) != 10)

        let enrolled = [Self.name: EnrolledPod(netns: 10, isOnVeth: true)]
        changes = compiler.update(MeshChange(enrolled: [Self.name]))
        _ = try builder.update(to: compiler.mesh, changes, pods: enrolled, changedPods: [Self.name])
        let plan = MapPlan(from: tables, to: builder.image)
        for operation in plan.prepare {
            tables.apply(operation)
            #expect(!Self.isReady(tables))
        }
        tables.apply(.flip(try #require(plan.flip)))
        var hasWaited = false
        for operation in plan.settle {
            if operation == .gracePeriod { hasWaited = true }
            tables.apply(operation)
            #expect(hasWaited || !Self.isReady(tables))
        }
        #expect(Self.isReady(tables))
        #expect(tables.workloads[10]?.policySet[tables.generation] != 0)
        #expect(tables.pod(at: Self.address) == 10)
        for operation in plan.garbage { tables.apply(operation) }
        #expect(MapPlan(from: tables, to: builder.image).isEmpty)
    }
}

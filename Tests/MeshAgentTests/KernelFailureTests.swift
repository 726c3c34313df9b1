// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import MeshModel
import TestSupport
import Testing

@testable import MeshAgent
@testable import SockOps

extension KernelPolicyTests {
    /// Maps that fill up in the middle of a change: whatever write it is that fails, the generation in force stays in
    /// force everywhere, and the same change goes through once there is room.
    @Suite struct KernelFailureTests {
        @Test(arguments: Filling.allCases)
        func aFullMapLeavesTheOldGenerationInForce(filling: Filling) throws {
            let node = try KernelNode("full-\(filling)")
            let writer = try node.writer(capacities: [filling.map: filling.capacity])
            let ask = try KernelVerdict(of: writer)
            let mesh = try KernelMesh(on: writer)
            var world = KernelCluster(RandomCluster(seed: 40), on: mesh)
            try world.enforce()
            var refusals = 0
            for seed in 41..<44 as Range<UInt64> {
                // From a map without any room to one with enough: the write that fails comes later each time.
                var room = 0
                while true {
                    mesh.reconciler.finishGracePeriod()
                    let before = writer.tables
                    let fillers = try filling.fill(writer.plane.maps, leaving: room)
                    let refusal = Self.refusal { () throws(Reconciler.Failure) in
                        try world.replace(by: RandomCluster(seed: seed, pods: 24, policies: 60))
                    }
                    guard let refusal else {
                        try filling.empty(writer.plane.maps, fillers)
                        break
                    }
                    refusals += 1
                    #expect(refusal.description.contains(filling.map), "\(refusal)")
                    try expectVerdicts(&world, ask, "seed \(seed), room \(room)")
                    try filling.empty(writer.plane.maps, fillers)
                    let isRestored = writer.tables == before
                    #expect(isRestored, "the copy of the maps, seed \(seed), room \(room)")
                    try expectMaps(of: writer, "seed \(seed), room \(room)")
                    room += max(1, room / 4)
                }
                #expect(mesh.generation == writer.plane.maps.control.load(\.generation))
                try expectVerdicts(&world, ask, "seed \(seed), done")
                mesh.reconciler.finishGracePeriod()
                try expectMaps(of: writer, "seed \(seed), done")
            }
            #expect(refusals > 10, "the map was seldom full")
        }

        private static func refusal(_ body: () throws(Reconciler.Failure) -> Void) -> Reconciler.Failure? {
            do throws(Reconciler.Failure) {
                try body()
                return nil
            } catch {
                return error
            }
        }

        /// What the kernel says is what the cluster says.
        private func expectVerdicts(
            _ world: inout KernelCluster, _ ask: borrowing KernelVerdict, _ context: String
        ) throws {
            let flows = (0..<30).map { _ in world.flow() }
            for (flow, allowed) in zip(flows, world.allowed(flows)) {
                let answer = try ask(world.question(flow))
                #expect(answer.generation == world.mesh.generation)
                #expect(answer.allowed == allowed, "\(context): \(flow)")
            }
        }

        /// What the maps say is what the writer believes, and nothing more.
        private func expectMaps(of writer: KernelWriter, _ context: String) throws {
            let reader = try KernelReader(writer.plane.maps, lookups: writer.tables.lookups)
            #expect(reader.litter.isEmpty, "\(context)")
            let isSame =
                reader.tables.workloads == writer.tables.workloads && reader.tables.addresses == writer.tables.addresses
                && reader.tables.cidrs == writer.tables.cidrs && reader.tables.generation == writer.tables.generation
            #expect(isSame, "\(context)")
            for (number, row) in reader.tables.policySets {
                guard let written = writer.tables.policySets[number] else { continue }
                let isSameSet = row == written
                #expect(isSameSet, "policy set \(number), \(context)")
            }
        }
    }

    /// A map that is filled up with entries which no verdict reads.
    enum Filling: String, CaseIterable, Sendable {
        case policy, workloads, addresses, cidrs

        var map: String { "mesh_\(rawValue)" }

        /// Of the map in this test: little more than the clusters need.
        var capacity: UInt32 { self == .policy ? 4096 : 128 }

        /// - Parameter room: entries that still fit afterwards.
        /// - Returns: how many fillers there are.
        func fill(_ maps: borrowing MeshMaps, leaving room: Int) throws -> Int {
            let used =
                switch self {
                case .policy: try maps.policy.entries().count
                case .workloads: try maps.workloads.entries().count
                case .addresses: try maps.addresses.entries().count
                case .cidrs: try maps.cidrs.entries().count
                }
            let count = max(0, Int(capacity) - used - room)
            for index in 0..<UInt32(count) {
                switch self {
                case .policy: try maps.policy.set(Self.policyKey(index), mesh_policy_entry())
                case .workloads: try maps.workloads.set(UInt64(index) + 1, mesh_workload())
                case .addresses: try maps.addresses.set(Self.address(index), mesh_address())
                case .cidrs:
                    try maps.cidrs.set(mesh_cidr_key(prefix_length: 128, address: Self.address(index)), mesh_address())
                }
            }
            return count
        }

        func empty(_ maps: borrowing MeshMaps, _ count: Int) throws {
            for index in 0..<UInt32(count) {
                switch self {
                case .policy: try maps.policy.remove(Self.policyKey(index))
                case .workloads: try maps.workloads.remove(UInt64(index) + 1)
                case .addresses: try maps.addresses.remove(Self.address(index))
                case .cidrs: try maps.cidrs.remove(mesh_cidr_key(prefix_length: 128, address: Self.address(index)))
                }
            }
        }

        private static func policyKey(_ index: UInt32) -> mesh_policy_key {
            mesh_policy_key(policy_set: .max - index, identity: 0, port_class: 0, direction: 0, protocol: 0)
        }

        /// 100::/64, which is nobody's (RFC 6666).
        private static func address(_ index: UInt32) -> mesh_ip {
            mesh_ip(word: (UInt32(0x0100_0000).bigEndian, 0, 0, index.bigEndian))
        }
    }
}

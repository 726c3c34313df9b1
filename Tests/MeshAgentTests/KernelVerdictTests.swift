// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import MeshModel
import TestSupport
import Testing

@testable import MeshAgent

extension KernelPolicyTests {
    /// What the kernel says, asked of the loaded programs over the maps that the agent has written, against the slow
    /// reading of the policy APIs.
    @Suite struct KernelVerdictTests {
        private struct Counts {
            var flows = 0
            var denied = 0
            var allowedUnderPolicy = 0
            var udp = 0
            var ipv6 = 0
        }

        @Test func randomPoliciesWorkloadsAndFlowsAgree() throws {
            let node = try KernelNode("verdict")
            let writer = try node.writer()
            let ask = try KernelVerdict(of: writer)
            var world = try KernelCluster(RandomCluster(seed: 0), on: KernelMesh(on: writer))
            var counts = Counts()
            for seed in 0..<200 as Range<UInt64> {
                // Each cluster replaces the one before in one change: the maps never start empty.
                try world.replace(by: RandomCluster(seed: 9000 + seed))
                for _ in 0..<25 { try check(world.flow(), world, ask, &counts, "seed \(seed)") }
            }
            // A generator whose flows never meet a policy would prove nothing.
            #expect(counts.flows == 20_000)
            #expect(counts.denied > counts.flows / 10, "\(counts)")
            #expect(counts.allowedUnderPolicy > counts.flows / 10, "\(counts)")
            #expect(counts.udp > counts.flows / 4, "\(counts)")
            #expect(counts.ipv6 > counts.flows / 20, "\(counts)")
        }

        /// The flow and its reverse, by TCP and by UDP.
        private func check(
            _ flow: RandomCluster.Flow, _ world: KernelCluster, _ ask: borrowing KernelVerdict, _ counts: inout Counts,
            _ context: String
        ) throws {
            let oracle = world.oracle
            for (source, destination) in [(flow.source, flow.destination), (flow.destination, flow.source)] {
                for transport in [TransportProtocol.tcp, .udp] {
                    let flow = RandomCluster.Flow(
                        source: source, destination: destination, port: flow.port, transport: transport)
                    let question = world.question(flow)
                    let answer = try ask(question)
                    let allowed = oracle.allows(
                        from: source, to: destination, port: flow.port, transport: transport)
                    #expect(answer.generation == world.mesh.generation)
                    #expect(answer.allowed == allowed, "\(context): \(flow)")
                    if !allowed {
                        // Only flows to others are denied, so the two sides are those of the oracle.
                        let egress = oracle.allowsEgress(
                            from: source, to: destination, port: flow.port, transport: transport)
                        let reason = egress ? MESH_REASON_POLICY_INGRESS : MESH_REASON_POLICY_EGRESS
                        #expect(answer.egress == egress, "\(context): \(flow)")
                        #expect(answer.reason == reason.rawValue, "\(context): \(flow)")
                    }
                    let tables = world.mesh.reconciler.writer.tables
                    counts.flows += 1
                    if !allowed { counts.denied += 1 }
                    if allowed, tables.workloads[question.source_netns] != nil { counts.allowedUnderPolicy += 1 }
                    if transport == .udp { counts.udp += 1 }
                    if !source.isIPv4, !destination.isIPv4 { counts.ipv6 += 1 }
                }
            }
        }
    }
}

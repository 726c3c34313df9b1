// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import LinuxIO
import MeshModel
import Synchronization
import TestSupport
import Testing

@testable import MeshAgent

extension KernelPolicyTests {
    /// Changes of policy while the kernel is asked without pause: each answer names the generation that it was made
    /// under, and must be what that generation says, of both ends.
    @Suite struct KernelUpdateTests {
        @Test func tenThousandUpdatesUnderQuestions() throws {
            let node = try KernelNode("updates")
            let writer = try node.writer()
            let asker = try Asker(KernelVerdict(of: writer))
            // The asker is the only reader of these maps, so its own word is a grace period, a thousand times as fast as
            // the kernel's; that one is taken now and then.
            var turns = 0
            let mesh = try KernelMesh(on: writer) {
                turns += 1
                if turns % 64 == 0 { try? Membarrier.waitForGracePeriod() } else { asker.quiesce() }
            }
            let counts = try run(10_000, mesh, asker)
            #expect(counts.flips > 3000, "\(counts)")
            #expect(counts.turned > 1500, "\(counts)")
            #expect(counts.answers > 500_000, "\(counts)")
            #expect(counts.duringChanges > 200_000, "\(counts)")
        }

        /// As the agent does it, with the grace periods of the kernel.
        @Test func updatesWithGracePeriodsOfTheKernel() throws {
            let node = try KernelNode("grace")
            let writer = try node.writer()
            let asker = try Asker(KernelVerdict(of: writer))
            let counts = try run(200, KernelMesh(on: writer), asker)
            #expect(counts.flips > 60, "\(counts)")
            #expect(counts.duringChanges > 1000, "\(counts)")
        }

        private struct Counts {
            var flips = 0
            /// Questions whose answer a change turned.
            var turned = 0
            var answers = 0
            /// Of them, those made while a change was.
            var duringChanges = 0
        }

        /// - Parameter updates: random changes of one object or of one pod's enrolment; each hundredth is of everything.
        private func run(_ updates: Int, _ mesh: KernelMesh, _ asker: borrowing Asker) throws -> Counts {
            var world = KernelCluster(RandomCluster(seed: 77), on: mesh)
            var counts = Counts()
            var flows: [RandomCluster.Flow] = []
            // What each generation says to `flows`. All since they were chosen: an answer may come late.
            var expected: [UInt32: [Bool]] = [:]
            var questions: [mesh_query] = []
            for update in 0..<updates {
                if update % 100 == 0 { try world.replace(by: RandomCluster(seed: UInt64(7000 + update))) }
                // An address may have gone to a pod with another namespace.
                if update % 20 == 0 || zip(flows, questions).contains(where: { !world.isOf($1, $0) }) {
                    flows = (0..<14).map { _ in world.flow() }
                    questions = flows.map(world.question)
                    expected = [world.mesh.generation: world.allowed(flows)]
                    asker.setQuestions(questions)
                }
                let old = world.mesh.generation
                let before = asker.count
                try world.mutate()
                counts.duringChanges += asker.count - before
                let new = world.mesh.generation
                let now = world.allowed(flows)
                #expect(new != old || now == expected[old], "update \(update): verdicts differ without a generation")
                if new != old { counts.flips += 1 }
                counts.turned += zip(expected[old] ?? now, now).count { $0 != $1 }
                expected[new] = now
                asker.expect(atLeast: new)
                for (index, answer) in try asker.takeAnswers() where world.isOf(questions[index], flows[index]) {
                    let allowed = try #require(expected[answer.generation], "update \(update)")[index]
                    try #require(
                        answer.allowed == allowed,
                        "update \(update): \(flows[index]) under \(answer.generation), now \(new): \(answer)")
                }
            }
            counts.answers = asker.count
            return counts
        }
    }
}

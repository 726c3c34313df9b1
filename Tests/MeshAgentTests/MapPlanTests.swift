// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import MeshModel
import Testing

@testable import MeshAgent

/// Applies plans write by write to tables in memory, and asks for verdicts after every single one.
@Suite struct MapPlanTests {
    @Test(arguments: 0..<6)
    func everyVerdictIsOfOneGeneration(seed: UInt64) {
        var world = RandomWorld(seed: seed)
        var tables = KernelTables()
        var registry = ContentRegistry(adopting: tables)
        var image = KernelImage()
        for _ in 0..<6 {
            let next = world.nextImage(&registry, after: image)
            let questions = world.questions.filter { $0.isOfOnePod(image) && $0.isOfOnePod(next) }
            let before = Self.answers(Self.settled(image, generation: tables.generation), questions)
            let after = Self.answers(Self.settled(next, generation: 0), questions)
            let plan = MapPlan(from: tables, to: next)
            var flipped = false
            // A program that has read the generation before the flip goes on with it until the grace period is over.
            var late: UInt32?
            for operation in plan.operations {
                if case .flip = operation { (flipped, late) = (true, tables.generation) }
                if operation == .gracePeriod, flipped { late = nil }
                tables.apply(operation)
                if let late {
                    var seen = tables
                    seen.generation = late
                    let then = Self.answers(seen, questions)
                    if let wrong = then.indices.first(where: { then[$0] != before[$0] && then[$0] != after[$0] }) {
                        Issue.record(
                            "\(questions[wrong]), begun before the flip, is of neither after \(operation)")
                        return
                    }
                }
                let now = Self.answers(tables, questions)
                let expected = flipped ? after : before
                if let wrong = now.indices.first(where: { now[$0] != expected[$0] }) {
                    Issue.record("\(questions[wrong]) is \(now[wrong]) after \(operation)")
                    return
                }
            }
            let agree = before == after
            #expect(flipped || agree, "nothing told the kernel that verdicts differ")
            #expect(MapPlan(from: tables, to: next).isEmpty, "a plan that is done leaves nothing to do")
            registry.release(plan.garbage)
            image = next
        }
    }

    @Test(arguments: 0..<12)
    func aFailureBeforeTheFlipLeavesNoTrace(seed: UInt64) {
        var world = RandomWorld(seed: seed &+ 1000)
        var tables = KernelTables()
        var registry = ContentRegistry(adopting: tables)
        let first = world.nextImage(&registry, after: KernelImage())
        for operation in MapPlan(from: tables, to: first).operations { tables.apply(operation) }
        let settled = tables
        let prepare = MapPlan(from: tables, to: world.nextImage(&registry, after: first)).prepare
        var undo: [MapOperation] = []
        for operation in prepare.prefix(Int(seed) % max(prepare.count, 1)) {
            if let inverse = tables.inverse(of: operation) { undo.append(inverse) }
            tables.apply(operation)
        }
        for operation in undo.reversed() { tables.apply(operation) }
        let isRestored = tables == settled
        #expect(isRestored)
    }

    @Test func aRestartedAgentFindsItsNumbers() {
        var world = RandomWorld(seed: 7)
        var tables = KernelTables()
        var registry = ContentRegistry(adopting: tables)
        let image = world.nextImage(&registry, after: KernelImage())
        for operation in MapPlan(from: tables, to: image).operations { tables.apply(operation) }
        var adopted = ContentRegistry(adopting: tables)
        let again = world.sameImage(&adopted)
        let isSame = again == image
        #expect(isSame)
        #expect(MapPlan(from: tables, to: again).isEmpty)
    }

    @Test func aKilledAgentLeavesTablesThatTheNextOneRepairs() {
        for seed in 0..<5 as Range<UInt64> {
            var world = RandomWorld(seed: 500 + seed)
            var tables = KernelTables()
            var registry = ContentRegistry(adopting: tables)
            let first = world.nextImage(&registry, after: KernelImage())
            for operation in MapPlan(from: tables, to: first).operations { tables.apply(operation) }
            let interrupted = MapPlan(from: tables, to: world.nextImage(&registry, after: first)).operations
            for operation in interrupted.prefix(Int(seed) * interrupted.count / 5) { tables.apply(operation) }

            var adopted = ContentRegistry(adopting: tables)
            let image = world.sameImage(&adopted)
            for operation in MapPlan(from: tables, to: image).operations { tables.apply(operation) }
            let repaired = Self.answers(tables, world.questions)
            let expected = Self.answers(Self.settled(image, generation: 0), world.questions)
            let agree = repaired == expected
            #expect(agree)
            #expect(MapPlan(from: tables, to: image).isEmpty)
        }
    }

    @Test func servicesMoveWithoutAFlip() {
        var tables = KernelTables()
        var registry = ContentRegistry(adopting: tables)
        let key = ServiceKey(address: IPAddress(v4: 0x0a60_0001), port: 80, transport: .tcp)
        func image(_ backends: [UInt32]) throws -> KernelImage {
            var image = KernelImage()
            let columns = backends.map {
                BackendColumn(address: IPAddress(v4: $0), port: 8080, threshold: .max, alias: 0)
            }
            let set = try columns.isEmpty ? 0 : registry.number(of: columns)
            if !columns.isEmpty { image.backendSets[set] = columns }
            image.services[key] = ServiceRow(
                service: 1, backendSet: set, slots: UInt32(columns.count), affinitySeconds: 0)
            return image
        }
        #expect(throws: Never.self) {
            for backends: [UInt32] in [[1, 2], [2, 3, 4], [], [1, 2]] {
                let plan = try MapPlan(from: tables, to: image(backends))
                defer { registry.release(plan.garbage) }
                #expect(plan.flip == nil)
                for operation in plan.operations {
                    tables.apply(operation)
                    // A service never names a column that is not there.
                    for row in tables.services.values where row.slots > 0 {
                        #expect(tables.backendSets[row.backendSet]?.count == Int(row.slots))
                    }
                }
                #expect(tables.services[key]?.slots == UInt32(backends.count))
                #expect(tables.backendSets.count == (backends.isEmpty ? 0 : 1))
            }
        }
    }

    @Test func fullNumbersAreAnErrorThatNamesTheMap() {
        var registry = ContentRegistry(adopting: KernelTables())
        var image = KernelImage()
        #expect(throws: ContentRegistry.Full.self) {
            for number in 0..<UInt32(MESH_MAX_POLICY_SETS) + 1 {
                _ = try image.add(RandomWorld.set(allowing: IdentityNumber(rawValue: 256 + number)), &registry)
            }
        }
        #expect(image.policySets.count == Int(MESH_MAX_POLICY_SETS) - 1)
    }

    /// Tables that hold `image` and nothing else.
    private static func settled(_ image: KernelImage, generation: UInt32) -> KernelTables {
        var tables = KernelTables()
        for operation in MapPlan(from: tables, to: image).operations { tables.apply(operation) }
        return tables
    }

    /// What the look-ups say to each question, as `mesh_query` asks it.
    private static func answers(_ tables: KernelTables, _ questions: [RandomWorld.Question]) -> [Bool] {
        let prefixes = PrefixIndex(tables.cidrs.lazy.map { ($0.key, $0.value) })
        return questions.map { question in
            let row = tables.row(of: question.destination, prefixes)
            let pod = row?.netns[tables.generation] ?? 0
            let owner = question.sourceNetns.flatMap { tables.workloads[$0] == nil ? nil : $0 }
            return tables.reason(
                KernelTables.FlowQuestion(
                    sourceNetns: owner, source: question.source, destinationNetns: pod == 0 ? nil : pod,
                    destination: question.destination, port: question.port, transport: question.transport),
                prefixes) == MESH_REASON_NONE
        }
    }
}

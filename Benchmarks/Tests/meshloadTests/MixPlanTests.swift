// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import meshload

struct MixPlanTests {
    private func all() throws -> Behaviours { try Behaviours(only: nil, without: nil) }

    @Test func bothEndsComputeTheSamePlan() throws {
        for seed: UInt64 in 0..<500 {
            let mine = MixPlan(seed: seed, largest: 1 << 20, allowed: try all())
            let theirs = MixPlan(seed: seed, largest: 1 << 20, allowed: Behaviours(mask: try all().mask))
            #expect(mine.description == theirs.description)
            #expect(Array(MixPlan.Rounds(mine)).map(\.request) == Array(MixPlan.Rounds(theirs)).map(\.request))
        }
    }

    @Test func everyBehaviourTurnsUp() throws {
        var seen: Set<String> = []
        for seed: UInt64 in 0..<2000 {
            let plan = MixPlan(seed: seed, largest: 1 << 20, allowed: try all())
            seen.formUnion(["\(plan.order)", "\(plan.listener)", "\(plan.up.sending)", "\(plan.down.receiving)"])
        }
        #expect(
            seen.count == MixPlan.Order.allCases.count + MixPlan.Listener.allCases.count
                + MixPlan.Sending.allCases.count + MixPlan.Receiving.allCases.count)
    }

    /// These would wait for ever on a correct network: see the comments in ``MixPlan``.
    @Test func noPlanCanHangByItself() throws {
        for seed: UInt64 in 0..<5000 {
            let plan = MixPlan(seed: seed, largest: 1 << 20, allowed: try all())
            if plan.listener == .lowwater { #expect(plan.up.receiving != .peek) }
            if plan.order == .pingpong {
                #expect(plan.listener != .lowwater)
                #expect(plan.up.receiving != .lowat && plan.down.receiving != .lowat)
            }
        }
    }

    @Test func onlyAndWithoutAreHonoured() throws {
        let allowed = try Behaviours(only: "pingpong,deferred,file,peek,simple", without: "simple")
        for seed: UInt64 in 0..<200 {
            let plan = MixPlan(seed: seed, largest: 1 << 20, allowed: allowed)
            #expect(plan.order == .pingpong && plan.listener == .deferred)
            #expect(plan.up.sending == .file && plan.up.receiving == .peek)
        }
    }

    @Test func anUnknownBehaviourIsNamed() {
        #expect(throws: LoadError.self) { try Behaviours(only: "peeek", without: nil) }
    }
}

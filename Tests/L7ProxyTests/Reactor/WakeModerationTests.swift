// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import L7Proxy

@Suite struct WakeModerationTests {
    private static let many = WakeModeration.leastUnderWay

    /// A worker in turns, with a clock of its own.
    private struct Worker {
        var moderation = WakeModeration()
        var requests: UInt64 = 0
        var moments = 0

        /// - Parameter begun: Requests that begin in each turn, in halves.
        mutating func run(_ turns: Int, underWay: Int, begun halves: Int, apart: UInt64 = 10_000) {
            for turn in 0..<turns {
                let sleeps = moderation.sleeps(underWay: underWay)
                moments += sleeps ? 1 : 0
                if halves > 1 || turn % 2 == 0 { requests += UInt64(max(halves / 2, halves > 0 ? 1 : 0)) }
                moderation.note(
                    requests: requests, hasSlept: sleeps,
                    interval: apart + (sleeps ? UInt64(WakeModeration.moment) : 0))
            }
        }
    }

    @Test func aLoopThatIsSeldomWokenWaits() {
        var worker = Worker()
        worker.run(1000, underWay: 1000, begun: 6, apart: WakeModeration.dense)
        #expect(worker.moments == 0)
        worker.run(1000, underWay: 1000, begun: 6, apart: WakeModeration.dense - 1)
        #expect(worker.moments == 999, "but for the first turn, of which it does not know yet")
    }

    /// Whoever waits for one answer before it asks again would wait for the moment too.
    @Test func fewRequestsUnderWayAreNotDelayed() {
        var worker = Worker()
        worker.run(1000, underWay: Self.many - 1, begun: 6)
        #expect(worker.moments == 0)
        worker.run(1000, underWay: Self.many, begun: 6)
        #expect(worker.moments == 1000)
    }

    /// Many can be under way and have nothing to say, while one asks and is answered: two turns for a request.
    @Test func momentsThatAreNotWorthItAreNotRepeatedForAWhile() {
        for begun in [0, 1] {
            var worker = Worker()
            worker.run(100_000, underWay: Self.many, begun: begun)
            #expect(worker.moments > 0, "it is tried")
            #expect(worker.moments < 100_000 / 200, "\(worker.moments) moments")
        }
    }

    @Test func itBeginsAgainWhenRequestsDo() {
        var worker = Worker()
        worker.run(100, underWay: Self.many, begun: 0)
        let before = worker.moments
        worker.run(Int(WakeModeration.rest) + 1000, underWay: Self.many, begun: 4)
        #expect(worker.moments - before >= 1000)
    }
}

// SPDX-License-Identifier: Apache-2.0

import Dispatch
import LinuxIO
import Testing

@Suite struct BackgroundQueueTests {
    private static let patience = ContinuousClock.Duration.seconds(10)

    private func turn(_ loop: EventLoop, until isMet: () -> Bool) throws {
        let deadline = ContinuousClock.now + Self.patience
        while !isMet() {
            try #require(ContinuousClock.now < deadline)
            try loop.turn(waitingAtMost: .milliseconds(10))
        }
    }

    @Test func theLoopGoesOnWhileWorkWaits() throws {
        let loop = try EventLoop()
        let queue = try BackgroundQueue<Int>(on: loop)
        let gate = DispatchSemaphore(value: 0)
        var (outcomes, turns): ([Int], Int) = ([], 0)
        queue.add(
            {
                gate.wait()
                return 1
            }, { outcomes.append($0) })
        queue.add({ 2 }, { outcomes.append($0) })
        loop.schedule(every: .milliseconds(1)) { turns += 1 }
        try turn(loop) { turns == 3 }
        #expect(outcomes.isEmpty && !queue.isIdle, "the second waits for the first")
        gate.signal()
        try turn(loop) { queue.isIdle }
        #expect(outcomes == [1, 2])
    }

    @Test func whatACompletionAddsIsDoneToo() throws {
        let loop = try EventLoop()
        let queue = try BackgroundQueue<Int>(on: loop)
        var outcomes: [Int] = []
        queue.add(
            { 1 },
            { first in
                outcomes.append(first)
                queue.add({ 2 }, { outcomes.append($0) })
            })
        try turn(loop) { outcomes == [1, 2] }
        #expect(queue.isIdle)
    }

    @Test func drainReturnsWhenAllIsDoneAndTold() throws {
        let queue = try BackgroundQueue<Int>(on: EventLoop())
        var outcomes: [Int] = []
        for number in 1...20 { queue.add({ number }, { outcomes.append($0) }) }
        queue.drain()
        #expect(outcomes == Array(1...20) && queue.isIdle)
    }
}

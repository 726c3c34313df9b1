// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import LinuxIO

@Suite struct TimerQueueTests {
    @Test func timersComeOutByDeadlineThenByAge() {
        var queue = TimerQueue()
        for (id, deadline) in [(1, 50), (2, 10), (3, 50), (4, 20)] as [(UInt64, UInt64)] {
            queue.insert(id, deadline: deadline)
        }
        #expect(queue.nextDeadline() == 10)
        #expect(queue.popDue(at: 9) == nil)
        var order: [UInt64] = []
        while let id = queue.popDue(at: 50) { order.append(id) }
        #expect(order == [2, 4, 1, 3])
        #expect(queue.isEmpty)
    }

    @Test func aForgottenTimerIsNeverDue() {
        var queue = TimerQueue()
        queue.insert(1, deadline: 10)
        queue.insert(2, deadline: 20)
        queue.remove(1)
        queue.remove(1)
        #expect(queue.nextDeadline() == 20)
        #expect(queue.popDue(at: 100) == 2)
        #expect(queue.popDue(at: 100) == nil)
    }

    @Test func forgottenTimersDoNotFillMemory() {
        var queue = TimerQueue()
        for id in 1...10_000 as ClosedRange<UInt64> {
            queue.insert(id, deadline: 1_000_000 - id)
            if id > 10 { queue.remove(id) }
        }
        #expect(queue.heldEntries <= 128)
    }

    @Test func agreesWithSortingOnRandomTimers() {
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<50 {
            var queue = TimerQueue()
            var model: [(deadline: UInt64, id: UInt64)] = []
            for id in 1...200 as ClosedRange<UInt64> {
                let deadline = UInt64.random(in: 0..<50, using: &generator)
                queue.insert(id, deadline: deadline)
                model.append((deadline, id))
                if Bool.random(using: &generator), let victim = model.randomElement(using: &generator) {
                    queue.remove(victim.id)
                    model.removeAll { $0.id == victim.id }
                }
            }
            let expected = model.sorted { ($0.deadline, $0.id) < ($1.deadline, $1.id) }.map(\.id)
            var order: [UInt64] = []
            while let id = queue.popDue(at: .max) { order.append(id) }
            #expect(order == expected)
        }
    }
}

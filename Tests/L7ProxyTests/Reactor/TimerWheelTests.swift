// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import L7Proxy

@Suite struct TimerWheelTests {
    /// Against a list of deadlines: nothing early, nothing later than a tick, each once.
    @Test(arguments: 0..<8)
    func firesAsAListOfDeadlinesWould(_ seed: UInt64) {
        var random = SplitMix(state: seed)
        var now: UInt64 = 1_000_003
        var wheel = TimerWheel(now: now)
        let timers = (0..<50).map { wheel.makeTimer(for: UInt64($0)) }
        var deadlines: [UInt64: UInt64] = [:]
        for _ in 0..<3000 {
            let index = random.next() % 50
            switch random.next() % 4 {
            case 0:
                wheel.cancel(timers[Int(index)])
                deadlines[index] = nil
            case 1, 2:
                // Some beyond one turn of the wheel, which is 4096 ms.
                let deadline = now + random.next() % (random.next() % 3 == 0 ? 20_000 : 300)
                wheel.set(timers[Int(index)], deadline: deadline, owner: index)
                deadlines[index] = deadline
            default:
                let wait = wheel.wait(from: now)
                if let first = deadlines.values.min() {
                    // Never so late that a deadline is missed by more than a tick.
                    #expect(wait >= 0 && now + UInt64(wait) <= max(now, first) + TimerWheel.tick)
                } else {
                    #expect(wait == -1)
                }
                now += random.next() % 700
                while let owner = wheel.popDue(at: now) {
                    let deadline = deadlines.removeValue(forKey: owner)
                    #expect(deadline != nil && deadline! <= now)
                }
                #expect(deadlines.values.allSatisfy { $0 + TimerWheel.tick > now })
            }
            let count = wheel.setCount
            #expect(count == deadlines.count)
        }
    }

    @Test func aTimerSetWhileOthersFireWaitsForALaterTick() {
        var wheel = TimerWheel(now: 0)
        let (first, second) = (wheel.makeTimer(for: 1), wheel.makeTimer(for: 2))
        wheel.set(first, deadline: 4, owner: 1)
        var due = wheel.popDue(at: 4)
        #expect(due == 1)
        wheel.set(second, deadline: 0, owner: 2)
        due = wheel.popDue(at: 4)
        #expect(due == nil)
        due = wheel.popDue(at: 8)
        #expect(due == 2)
    }
}

struct SplitMix {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var word = state
        word = (word ^ word >> 30) &* 0xbf58_476d_1ce4_e5b9
        word = (word ^ word >> 27) &* 0x94d0_49bb_1331_11eb
        return word ^ word >> 31
    }
}

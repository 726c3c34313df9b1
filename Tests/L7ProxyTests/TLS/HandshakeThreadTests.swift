// SPDX-License-Identifier: Apache-2.0

import Identity
import LinuxIO
import Testing

@testable import L7Proxy

/// Every step is made once, in order, by the thread or by whoever finds that it has no time.
struct HandshakeThreadTests {
    private static let second: UInt64 = 1_000_000_000

    private static func step(_ nanoseconds: UInt64) -> HandshakeStep {
        HandshakeStep(SlabHandle(index: 0, generation: 0), at: nanoseconds, now: UnixTime(seconds: 0))
    }

    private static func put(_ steps: [HandshakeStep], to thread: HandshakeThread) {
        for step in steps { #expect(Poll.until { thread.put(step) }) }
    }

    @Test func stepsAreMadeInTheirOrder() throws {
        let thread = try HandshakeThread()
        try thread.start()
        defer { thread.stop() }
        Self.put((0..<2000).map { Self.step($0) }, to: thread)
        var made: [UInt64] = []
        #expect(
            Poll.until {
                made += thread.takeMade().map(\.begunAt)
                return made.count >= 2000
            })
        #expect(made == Array(0..<2000))
    }

    @Test func whatWaitsWithoutTheThreadsGettingOnIsTheWorkers() throws {
        let thread = try HandshakeThread()
        let start = 100 * Self.second
        Self.put([Self.step(start), Self.step(start + 1), Self.step(start + 2)], to: thread)
        #expect(thread.takeLate(at: start + HandshakeThread.patience - 1) == nil)
        let late = start + HandshakeThread.patience
        #expect(try #require(thread.takeLate(at: late)).begunAt == start)
        // The thread gets no other while it has no time: it would keep it.
        #expect(try #require(thread.takeLate(at: late + 1)).begunAt == start + 1)
        #expect(try #require(thread.takeLate(at: late + 1)).begunAt == start + 2)
        #expect(thread.takeLate(at: late + 1) == nil)
        let later = late + 2 * Self.second
        Self.put([Self.step(later)], to: thread)
        #expect(thread.takeLate(at: later) == nil, "it may have time again")
    }

    @Test func whatNobodyWaitsForIsInNobodysWay() throws {
        let thread = try HandshakeThread()
        let steps = (0..<3).map { Self.step(Self.second + $0) }
        Self.put(steps, to: thread)
        steps[0].abandon()
        steps[1].abandon()
        #expect(thread.takeLate(at: Self.second) === steps[0])
        #expect(thread.takeLate(at: Self.second) === steps[1])
        #expect(thread.takeLate(at: Self.second) == nil)
    }

    @Test func nothingIsLeftOfOneThatWasStopped() throws {
        weak var ended: HandshakeThread?
        do {
            let thread = try HandshakeThread()
            try thread.start()
            ended = thread
            Self.put([Self.step(1)], to: thread)
            thread.stop()
        }
        #expect(Poll.until { ended == nil })
    }
}

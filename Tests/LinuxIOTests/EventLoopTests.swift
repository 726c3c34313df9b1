// SPDX-License-Identifier: Apache-2.0

import AdminTestSupport
import Glibc
import LinuxIO
import Testing

/// Both ends of a pipe, non-blocking.
private struct Pipe: ~Copyable {
    let reader: OwnedDescriptor
    let writer: OwnedDescriptor

    init() throws {
        var ends: [CInt] = [-1, -1]
        try #require(pipe(&ends) == 0)
        for end in ends { try #require(fcntl(end, F_SETFL, O_NONBLOCK) == 0) }
        reader = OwnedDescriptor(adopting: ends[0])
        writer = OwnedDescriptor(adopting: ends[1])
    }

    func send() {
        var byte: UInt8 = 1
        #expect(write(writer.rawValue, &byte, 1) == 1)
    }
}

private func drain(_ descriptor: CInt) {
    var byte: UInt8 = 0
    while read(descriptor, &byte, 1) > 0 {}
}

@Suite struct EventLoopTests {
    @Test func aReadableDescriptorCallsItsHandlerUntilItIsRead() throws {
        let loop = try EventLoop()
        let pipe = try Pipe()
        let raw = pipe.reader.rawValue
        var calls = 0
        try loop.watch(raw, for: .readable) { readiness in
            #expect(readiness == .readable)
            calls += 1
            if calls == 2 { drain(raw) }
        }
        try loop.turn(waitingAtMost: .zero)
        #expect(calls == 0)
        pipe.send()
        for _ in 0..<4 { try loop.turn(waitingAtMost: .milliseconds(1)) }
        #expect(calls == 2)
    }

    @Test func aWatchThatAnEarlierHandlerEndedIsNotCalledInTheSameTurn() throws {
        let loop = try EventLoop()
        let one = try Pipe()
        let two = try Pipe()
        var calls: [String] = []
        var second: EventLoop.Watch?
        var first: EventLoop.Watch?
        first = try loop.watch(one.reader.rawValue, for: .readable) { _ in
            calls.append("first")
            if let second { loop.unwatch(second) }
        }
        second = try loop.watch(two.reader.rawValue, for: .readable) { _ in
            calls.append("second")
            if let first { loop.unwatch(first) }
        }
        one.send()
        two.send()
        try loop.turn()
        try loop.turn(waitingAtMost: .zero)
        #expect(calls.first != nil)
        #expect(Set(calls).count == 1, "whichever came first ended the other")
    }

    @Test func interestCanBeTakenAwayAndGivenBack() throws {
        let loop = try EventLoop()
        let pipe = try Pipe()
        var seen: [EventLoop.Readiness] = []
        let watch = try loop.watch(pipe.writer.rawValue, for: []) { seen.append($0) }
        try loop.turn(waitingAtMost: .zero)
        #expect(seen.isEmpty)
        try loop.rewatch(watch, for: .writable)
        try loop.turn(waitingAtMost: .zero)
        #expect(seen == [.writable])
        loop.unwatch(watch)
        try loop.rewatch(watch, for: .writable)
        try loop.turn(waitingAtMost: .zero)
        #expect(seen == [.writable])
    }

    @Test func aDescriptorCannotBeWatchedTwice() throws {
        let loop = try EventLoop()
        let pipe = try Pipe()
        try loop.watch(pipe.reader.rawValue, for: .readable) { _ in }
        let error = #expect(throws: SystemError.self) {
            try loop.watch(pipe.reader.rawValue, for: .readable) { _ in }
        }
        #expect(error?.errnoCode == EEXIST)
    }

    @Test func timersRunInTheOrderOfTheirDeadlinesAndNotBefore() throws {
        let loop = try EventLoop()
        let clock = ContinuousClock()
        let start = clock.now
        var order: [Int] = []
        loop.schedule(after: .milliseconds(20)) { order.append(2) }
        loop.schedule(after: .milliseconds(5)) { order.append(1) }
        let cancelled = loop.schedule(after: .milliseconds(10)) { order.append(99) }
        loop.schedule(after: .milliseconds(30)) {
            order.append(3)
            loop.stop()
        }
        loop.cancel(cancelled)
        try loop.run()
        #expect(order == [1, 2, 3])
        #expect(clock.now - start >= .milliseconds(30))
    }

    @Test func aRepeatingTimerRunsUntilItCancelsItself() throws {
        let loop = try EventLoop()
        var count = 0
        var timer: EventLoop.Timer?
        timer = loop.schedule(every: .milliseconds(1)) {
            count += 1
            guard count == 3, let timer else { return }
            loop.cancel(timer)
            loop.schedule(after: .milliseconds(20)) { loop.stop() }
        }
        try loop.run()
        #expect(count == 3)
    }

    @Test func anIdleLoopSleeps() throws {
        let loop = try EventLoop()
        loop.schedule(after: .milliseconds(1)) {}
        try loop.turn()
        var (turns, isOver) = (0, false)
        loop.schedule(after: .milliseconds(50)) { isOver = true }
        while !isOver {
            turns += 1
            try loop.turn()
        }
        #expect(turns < 3, "an expired timer must not keep the loop awake")
    }

    @Test func deferredWorkRunsAfterTheHandlersAndDoesNotStarveThem() throws {
        let loop = try EventLoop()
        let pipe = try Pipe()
        var log: [String] = []
        func again() {
            log.append("deferred")
            if log.count < 4 { loop.enqueue(again) }
        }
        loop.enqueue(again)
        try loop.watch(pipe.reader.rawValue, for: .readable) { _ in log.append("handler") }
        pipe.send()
        try loop.turn()
        try loop.turn()
        #expect(log == ["handler", "deferred", "handler", "deferred"])
    }

    @Test func aWatchedSignalReachesItsHandlerAndKillsNobody() throws {
        // Signals are masked per thread: on a thread of its own, the test leaves no other one changed.
        let thread = TestThread {
            let loop = try EventLoop()
            var received: [CInt] = []
            try loop.watchSignals([SIGUSR2, SIGHUP]) {
                received.append($0)
                if received.count == 2 { loop.stop() }
            }
            pthread_kill(pthread_self(), SIGUSR2)
            pthread_kill(pthread_self(), SIGHUP)
            try loop.run()
            #expect(Set(received) == [SIGUSR2, SIGHUP])
        }
        try thread.join()
    }
}

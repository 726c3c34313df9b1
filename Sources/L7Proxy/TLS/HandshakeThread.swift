// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import Synchronization

/// Makes steps of handshakes for one worker, on a thread that runs when nothing else wants its processor: who shakes hands costs
/// those who have done so no time.
///
/// Two things follow from its priority. Where no processor has time to spare the thread stands still, and with it all new
/// connections: so the worker makes steps itself then (``takeLate(at:)``). And what the thread holds may be held for long: so the
/// worker never waits for its lock, but comes again.
final class HandshakeThread: Sendable {
    /// Nanoseconds that a step may wait without the thread's getting on, before the worker makes it.
    static let patience: UInt64 = 20_000_000
    /// For so long the worker then makes all steps: the thread would keep the one that it takes next.
    private static let rest: UInt64 = 1_000_000_000

    private struct State {
        /// From `first` on; what is before has been taken.
        var steps: [HandshakeStep?] = []
        var first = 0
        var made: [HandshakeStep] = []
        /// CLOCK_MONOTONIC in nanoseconds: when the thread has last made a step, and until when it leaves them to the worker.
        var progress: UInt64 = 0
        var restUntil: UInt64 = 0
        var isStopping = false

        var next: HandshakeStep? { first < steps.count ? steps[first] : nil }

        mutating func take() -> HandshakeStep? {
            guard let step = next else { return nil }
            steps[first] = nil
            first += 1
            if first == steps.count {
                steps.removeAll(keepingCapacity: true)
                first = 0
            } else if first >= 256 {
                steps.removeFirst(first)
                first = 0
            }
            return step
        }
    }

    private let state = Mutex(State())
    private let news: EventCounter
    private let results: EventCounter

    /// - Throws: ``SystemError``; EMFILE if the process may have no more descriptors.
    init() throws(SystemError) {
        news = try EventCounter()
        results = try EventCounter()
    }

    /// - Throws: ``SystemError``; EAGAIN if the process may have no more threads.
    func start() throws(SystemError) { try DetachedThread.start { [self] in run() } }

    /// Readable when there may be steps that were made.
    var descriptor: CInt { results.rawValue }

    /// The thread ends; what was put and not made is forgotten.
    func stop() {
        state.withLock { state in
            state.isStopping = true
            state.steps = []
            state.first = 0
        }
        news.signal()
    }

    /// - Returns: Whether the step was taken; else come again.
    func put(_ step: HandshakeStep) -> Bool {
        let count = state.withLockIfAvailable { state in
            state.steps.append(step)
            return state.steps.count - state.first
        }
        if count == 1 { news.signal() }
        return count != nil
    }

    /// What the thread has made since the last call.
    func takeMade() -> [HandshakeStep] {
        results.clear()
        return state.withLockIfAvailable { state in
            defer { state.made = [] }
            return state.made
        } ?? []
    }

    /// The step that waits longest, if the thread has had no time for it, or nobody waits for it.
    ///
    /// - Parameter now: CLOCK_MONOTONIC in nanoseconds.
    func takeLate(at now: UInt64) -> HandshakeStep? {
        state.withLockIfAvailable { state in
            guard let next = state.next else { return nil }
            if next.isAbandoned || now < state.restUntil { return state.take() }
            guard max(next.begunAt, state.progress) + Self.patience <= now else { return nil }
            state.restUntil = now + Self.rest
            return state.take()
        } ?? nil
    }

    private func run() {
        // Where that is not allowed they take turns with the worker, as all threads do.
        try? DetachedThread.yieldToOthers()
        // Without a descriptor for it the worker finds all steps late.
        guard let poller = try? Poller(), (try? poller.addReadable(news.rawValue, token: 0)) != nil else { return }
        while true {
            news.clear()
            while let step = next() {
                step.make()
                let now = SystemClock.monotonic
                state.withLock { state in
                    state.made.append(step)
                    state.progress = now
                }
                results.signal()
            }
            let (isStopping, isWaiting) = state.withLock { ($0.isStopping, $0.next != nil) }
            if isStopping { return }
            _ = poller.wait(milliseconds: isWaiting ? 100 : -1)
        }
    }

    private func next() -> HandshakeStep? {
        let now = SystemClock.monotonic
        return state.withLock { now < $0.restUntil ? nil : $0.take() }
    }
}

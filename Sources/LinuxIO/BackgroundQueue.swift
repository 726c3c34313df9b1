// SPDX-License-Identifier: Apache-2.0

import Glibc
import Synchronization

/// Does work that waits, for a disk say, on another thread, one piece after the other, while the loop goes on.
///
/// Belongs to the loop's thread.
public final class BackgroundQueue<Outcome: Sendable> {
    private struct Job {
        let work: @Sendable () -> Outcome
        let completion: (Outcome) -> Void
    }

    /// What the two threads share.
    private final class Mailbox: Sendable {
        let arrival: EventCounter
        let outcome = Mutex<Outcome?>(nil)

        init() throws(SystemError) { arrival = try EventCounter() }

        func put(_ outcome: Outcome) {
            self.outcome.withLock { $0 = outcome }
            arrival.signal()
        }

        func take() -> Outcome? {
            arrival.clear()
            return outcome.withLock { $0.take() }
        }
    }

    private let loop: EventLoop
    private let mailbox: Mailbox
    private var watch: EventLoop.Watch?
    /// The first is being done.
    private var jobs: [Job] = []

    /// Whether all that was given has been done, and its end told.
    public var isIdle: Bool { jobs.isEmpty }

    /// - Throws: ``SystemError``; EMFILE.
    public init(on loop: EventLoop) throws(SystemError) {
        self.loop = loop
        mailbox = try Mailbox()
        watch = try loop.watch(mailbox.arrival.rawValue, for: .readable) { [weak self] _ in self?.collect() }
    }

    deinit {
        if let watch { loop.unwatch(watch) }
    }

    /// - Parameters:
    ///   - work: done when all that was given before has been. On the loop's thread if there may be no other.
    ///   - completion: called with what `work` gave, from the loop.
    public func add(_ work: @escaping @Sendable () -> Outcome, _ completion: @escaping (Outcome) -> Void) {
        jobs.append(Job(work: work, completion: completion))
        if jobs.count == 1 { begin() }
    }

    /// Returns when all is done: for the end of a process.
    public func drain() {
        while !jobs.isEmpty {
            var arrival = pollfd(fd: mailbox.arrival.rawValue, events: Int16(POLLIN), revents: 0)
            _ = poll(&arrival, 1, -1)
            collect()
        }
    }

    private func begin() {
        let (mailbox, work) = (mailbox, jobs[0].work)
        do throws(SystemError) {
            try DetachedThread.start { mailbox.put(work()) }
        } catch {
            mailbox.put(work())
        }
    }

    private func collect() {
        guard let outcome = mailbox.take() else { return }
        let done = jobs.removeFirst()
        if !jobs.isEmpty { begin() }
        done.completion(outcome)
    }
}

@available(*, unavailable)
extension BackgroundQueue: Sendable {}

// SPDX-License-Identifier: Apache-2.0

import Glibc
import Testing

/// A thread for a test body that blocks: a server's loop.
struct TestThread: ~Copyable {
    private final class Job {
        let body: () throws -> Void
        var failure: (any Error)?

        init(_ body: @escaping () throws -> Void) {
            self.body = body
        }
    }

    private let thread: pthread_t
    private let job: Unmanaged<Job>

    init(_ body: @escaping @Sendable () throws -> Void) throws {
        job = Unmanaged.passRetained(Job(body))
        var started = pthread_t()
        let status = pthread_create(
            &started, nil,
            { argument in
                guard let argument else { return nil }
                let job = Unmanaged<Job>.fromOpaque(argument).takeUnretainedValue()
                do { try job.body() } catch { job.failure = error }
                return nil
            }, job.toOpaque())
        try #require(status == 0)
        thread = started
    }

    /// Waits for the body and throws what it threw. To be called exactly once.
    consuming func join() throws {
        pthread_join(thread, nil)
        if let failure = job.takeRetainedValue().failure { throw failure }
    }
}

// SPDX-License-Identifier: Apache-2.0

import Glibc

/// A thread for a test body that blocks, or that changes what belongs to a thread.
public struct TestThread: ~Copyable {
    private final class Job {
        let body: () throws -> Void
        var failure: (any Error)?

        init(_ body: @escaping () throws -> Void) {
            self.body = body
        }
    }

    private let thread: pthread_t
    private let job: Unmanaged<Job>

    /// Starts at once.
    public init(_ body: @escaping @Sendable () throws -> Void) {
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
        precondition(status == 0, "pthread_create: errno \(status)")
        thread = started
    }

    /// Waits for the body and throws what it threw. To be called exactly once.
    public consuming func join() throws {
        pthread_join(thread, nil)
        if let failure = job.takeRetainedValue().failure { throw failure }
    }
}

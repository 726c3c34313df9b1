// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Runs one body on a new thread, waits for it, and lets the thread end.
///
/// For work that changes what belongs to a thread and must not be changed back: a
/// failed return to the old network namespace would leave a thread in the wrong one.
enum DisposableThread {
    /// - Returns: what `body` returned.
    /// - Throws: what `body` threw, or pthread_create's error told as `Failure`.
    static func run<Value: ~Copyable, Failure: SystemErrorConvertible>(
        _ body: () throws(Failure) -> Value
    ) throws(Failure) -> Value {
        var outcome: Result<Value, Failure>?
        let status = withoutActuallyEscaping(body) { body in
            var job: () -> Void = {
                do throws(Failure) { outcome = .success(try body()) } catch { outcome = .failure(error) }
            }
            return withUnsafeMutablePointer(to: &job, startAndJoin)
        }
        guard status == 0 else {
            throw Failure(SystemError("pthread_create", errnoCode: status))
        }
        switch outcome.take() {
        case .success(let value): return value
        case .failure(let error): throw error
        case nil: preconditionFailure("a joined thread has left no result")
        }
    }

    /// The caller is blocked until the thread has ended, so `job` and all that it
    /// captures are touched by one thread at a time.
    private static func startAndJoin(_ job: UnsafeMutablePointer<() -> Void>) -> CInt {
        var thread = pthread_t()
        let status = pthread_create(
            &thread, nil,
            { argument in
                // Signal handlers must not run in a foreign namespace.
                var all = sigset_t()
                sigfillset(&all)
                pthread_sigmask(SIG_SETMASK, &all, nil)
                argument?.assumingMemoryBound(to: (() -> Void).self).pointee()
                return nil
            }, job)
        guard status == 0 else { return status }
        return pthread_join(thread, nil)
    }
}

// SPDX-License-Identifier: Apache-2.0
import CLoad
import Glibc

/// Time and processor of the measured thread.
enum Clock {
    /// CLOCK_MONOTONIC in nanoseconds (a vDSO read, no system call).
    static func now() -> UInt64 { read(CLOCK_MONOTONIC) }

    /// Nanoseconds that all threads of this process have run, from the scheduler's own clock.
    static func processCPU() -> UInt64 { read(CLOCK_PROCESS_CPUTIME_ID) }

    static func sleep(seconds: Double) {
        usleep(UInt32(seconds * 1e6))
    }

    private static func read(_ clock: clockid_t) -> UInt64 {
        var time = timespec()
        clock_gettime(clock, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    /// Binds this thread, and those it starts, to one processor.
    ///
    /// - Throws: ``LoadError`` if there is no such processor.
    static func pin(toCPU cpu: Int) throws(LoadError) {
        guard load_pin_to_cpu(Int32(clamping: cpu)) == 0 else {
            throw LoadError(call: "sched_setaffinity to CPU \(cpu)")
        }
    }
}

/// Starts threads that end with the process or are counted by their owner.
enum Threads {
    /// A thread that somebody waits for.
    struct Running: ~Copyable {
        private let thread: pthread_t

        /// - Throws: ``LoadError`` if the system is out of threads.
        init(_ body: @escaping @Sendable () -> Void) throws(LoadError) {
            thread = try Threads.create(body, detached: false)
        }

        /// Returns when the thread has ended; must be called once.
        consuming func join() { pthread_join(thread, nil) }
    }

    private final class Body {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }

    /// Runs `body` on a new detached thread with a small stack; a soak has hundreds of them.
    ///
    /// - Throws: ``LoadError`` if the system is out of threads.
    static func start(_ body: @escaping @Sendable () -> Void) throws(LoadError) {
        _ = try create(body, detached: true)
    }

    private static func create(_ body: @escaping @Sendable () -> Void, detached: Bool) throws(LoadError) -> pthread_t {
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        defer { pthread_attr_destroy(&attributes) }
        pthread_attr_setstacksize(&attributes, 256 << 10)
        let state = detached ? PTHREAD_CREATE_DETACHED : PTHREAD_CREATE_JOINABLE
        pthread_attr_setdetachstate(&attributes, Int32(state))
        let retained = Unmanaged.passRetained(Body(body))
        var thread = pthread_t()
        let status = pthread_create(
            &thread, &attributes,
            { context in
                guard let context else { return nil }
                Unmanaged<Body>.fromOpaque(context).takeRetainedValue().run()
                return nil
            }, retained.toOpaque())
        guard status == 0 else {
            retained.release()
            errno = status
            throw LoadError(call: "pthread_create")
        }
        return thread
    }
}

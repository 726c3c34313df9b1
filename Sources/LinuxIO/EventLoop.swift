// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// Waits for descriptors, timers and signals, and calls their handlers, all on one thread.
///
/// A class, because handlers reach the loop while it runs; not `Sendable`, because everything about it belongs to
/// the thread that made it. Handlers may watch, unwatch, schedule and stop freely. They must not block: while one
/// runs, nothing else does.
public final class EventLoop {
    /// What a descriptor is ready for.
    public struct Readiness: OptionSet, Sendable {
        public let rawValue: UInt32
        public init(rawValue: UInt32) { self.rawValue = rawValue }

        /// Bytes, a connection or the end of the stream can be read.
        public static let readable = Readiness(rawValue: 1)
        public static let writable = Readiness(rawValue: 2)
        /// Both directions are closed. Reported whatever the interest; the handler must unwatch, or is called again.
        public static let hangup = Readiness(rawValue: 4)
        /// An error is pending on the descriptor. Reported like ``hangup``.
        public static let error = Readiness(rawValue: 8)
    }

    /// Names a watched descriptor. Never reused, so a stale one is harmless.
    public struct Watch: Hashable, Sendable {
        let token: UInt64
    }

    /// Names a timer. Never reused, so a stale one is harmless.
    public struct Timer: Hashable, Sendable {
        let id: UInt64
    }

    private struct Watched {
        let descriptor: CInt
        let handler: (Readiness) -> Void
    }

    private struct Scheduled {
        let body: () -> Void
        /// Nanoseconds between calls of a repeating timer.
        let interval: UInt64?
    }

    private let epoll: OwnedDescriptor
    private let clock: OwnedDescriptor
    /// The expiry that `clock` is set to; 0: stopped.
    private var clockExpiry: UInt64 = 0
    private var watched: [UInt64: Watched] = [:]
    private var timers: [UInt64: Scheduled] = [:]
    private var queue = TimerQueue()
    private var deferred: [() -> Void] = []
    private var lastToken: UInt64 = 0
    private var stopRequested = false

    /// - Throws: ``SystemError``; EMFILE if the process may have no more descriptors.
    public init() throws(SystemError) {
        let epoll = OwnedDescriptor(adopting: try SystemError.check("epoll_create1") { clinux_epoll_create() })
        let clock = OwnedDescriptor(adopting: try SystemError.check("timerfd_create") { clinux_timer_create() })
        let (epollRaw, clockRaw) = (epoll.rawValue, clock.rawValue)
        try SystemError.check("epoll_ctl", "timerfd") {
            clinux_epoll_add(epollRaw, clockRaw, clinux_epoll_in, Self.clockToken)
        }
        self.epoll = epoll
        self.clock = clock
    }

    /// Descriptors of the loop itself, for a process that closes all that it does not know.
    public var descriptors: [CInt] { [epoll.rawValue, clock.rawValue] }

    // MARK: - Descriptors

    /// Calls `handler` whenever `descriptor` is ready for what `interest` names, until ``unwatch(_:)``.
    ///
    /// Level-triggered: what the handler leaves unread is reported again. The loop does not own the descriptor.
    ///
    /// - Parameter descriptor: non-blocking, and open until the watch ends.
    /// - Throws: ``SystemError``; EEXIST if it is watched already, EPERM for a regular file.
    @discardableResult
    public func watch(
        _ descriptor: CInt, for interest: Readiness, _ handler: @escaping (Readiness) -> Void
    ) throws(SystemError) -> Watch {
        let token = nextToken()
        try SystemError.check("epoll_ctl(EPOLL_CTL_ADD)", "descriptor \(descriptor)") {
            clinux_epoll_add(epoll.rawValue, descriptor, Self.epollBits(interest), token)
        }
        watched[token] = Watched(descriptor: descriptor, handler: handler)
        return Watch(token: token)
    }

    /// Changes what a descriptor is watched for; the empty set leaves ``Readiness/hangup`` and ``Readiness/error``.
    ///
    /// A watch that has ended is left alone.
    public func rewatch(_ watch: Watch, for interest: Readiness) throws(SystemError) {
        guard let entry = watched[watch.token] else { return }
        try SystemError.check("epoll_ctl(EPOLL_CTL_MOD)", "descriptor \(entry.descriptor)") {
            clinux_epoll_modify(epoll.rawValue, entry.descriptor, Self.epollBits(interest), watch.token)
        }
    }

    /// Ends a watch, before its descriptor is closed. Its handler is not called again, not even for readiness that
    /// was already reported.
    public func unwatch(_ watch: Watch) {
        guard let entry = watched.removeValue(forKey: watch.token) else { return }
        // Fails only if the descriptor is closed already, and then the kernel has forgotten it.
        _ = clinux_epoll_delete(epoll.rawValue, entry.descriptor)
    }

    // MARK: - Timers and deferred work

    /// Calls `body` once, not before `delay` is over (CLOCK_MONOTONIC).
    @discardableResult
    public func schedule(after delay: Duration, _ body: @escaping () -> Void) -> Timer {
        addTimer(in: delay.clampedNanoseconds, Scheduled(body: body, interval: nil))
    }

    /// Calls `body` every `interval`, first after one. Calls that were missed are not made up for.
    @discardableResult
    public func schedule(every interval: Duration, _ body: @escaping () -> Void) -> Timer {
        let nanoseconds = max(1, interval.clampedNanoseconds)
        return addTimer(in: nanoseconds, Scheduled(body: body, interval: nanoseconds))
    }

    /// Forgets a timer; one that has run or was cancelled is fine.
    public func cancel(_ timer: Timer) {
        timers[timer.id] = nil
        queue.remove(timer.id)
    }

    /// Calls `body` when the handler that runs now, and the others of this turn, have returned.
    public func enqueue(_ body: @escaping () -> Void) {
        deferred.append(body)
    }

    /// Calls `handler` with every signal of `signals` that the process gets, instead of the signal's own action.
    ///
    /// Blocks the signals in the calling thread, and in threads that it starts later: call it before any other
    /// thread exists, or the kernel may give a signal to a thread where it still kills the process.
    public func watchSignals(_ signals: [CInt], _ handler: @escaping (CInt) -> Void) throws(SystemError) {
        let raw = try SystemError.check("signalfd") { clinux_signals_create(signals, CInt(signals.count)) }
        let source = SignalSource(descriptor: OwnedDescriptor(adopting: raw))
        // The handler keeps the source, and so the descriptor, as long as the watch.
        try watch(source.descriptor.rawValue, for: .readable) { _ in
            while case let signal = clinux_signals_read(source.descriptor.rawValue), signal > 0 { handler(signal) }
        }
    }

    // MARK: - Running

    /// Waits and calls handlers until ``stop()``.
    public func run() throws(SystemError) {
        stopRequested = false
        while !stopRequested { try turn() }
    }

    /// Makes ``run()`` return when the handlers of this turn have returned.
    public func stop() {
        stopRequested = true
    }

    /// Waits once, at most for `limit`, and calls the handlers of what is ready.
    public func turn(waitingAtMost limit: Duration? = nil) throws(SystemError) {
        try setClock()
        let timeout = !deferred.isEmpty ? 0 : limit.map { CInt(clamping: $0.roundedUpMilliseconds) } ?? -1
        try withUnsafeTemporaryAllocation(of: clinux_ready.self, capacity: Self.readyCapacity) {
            (buffer) throws(SystemError) in
            let count = try wait(buffer, timeout: timeout)
            for ready in buffer.prefix(count) {
                // Looked up one by one: a handler may have ended the watch of one that follows.
                watched[ready.token]?.handler(Self.readiness(ready.events))
            }
        }
        runTimers()
        runDeferred()
    }

    // MARK: - Internals

    /// Token of the timerfd; others count from 1.
    private static let clockToken: UInt64 = 0
    private static let readyCapacity = 64

    /// A signal for this process is no error and not repeated: whoever watches signals wants to see it at once.
    private func wait(
        _ buffer: UnsafeMutableBufferPointer<clinux_ready>, timeout: CInt
    ) throws(SystemError) -> Int {
        let count = clinux_epoll_wait(epoll.rawValue, buffer.baseAddress, CInt(buffer.count), timeout)
        if count >= 0 { return Int(count) }
        let code = errno
        guard code == EINTR else { throw SystemError("epoll_wait", errnoCode: code) }
        return 0
    }

    private func addTimer(in nanoseconds: UInt64, _ scheduled: Scheduled) -> Timer {
        let id = nextToken()
        timers[id] = scheduled
        queue.insert(id, deadline: Self.now() &+ nanoseconds)
        return Timer(id: id)
    }

    /// Sets the timerfd to the earliest deadline, if that changed.
    private func setClock() throws(SystemError) {
        let expiry = queue.nextDeadline() ?? 0
        guard expiry != clockExpiry else { return }
        try SystemError.check("timerfd_settime") { clinux_timer_set(clock.rawValue, expiry) }
        clockExpiry = expiry
    }

    private func runTimers() {
        guard !queue.isEmpty else { return }
        let now = Self.now()
        while let id = queue.popDue(at: now) {
            // The expired timerfd stays readable until it is set again, which setClock does if the expiry differs.
            clockExpiry = .max
            guard let scheduled = timers[id] else { continue }
            if let interval = scheduled.interval {
                queue.insert(id, deadline: now + interval)
            } else {
                timers[id] = nil
            }
            scheduled.body()
        }
    }

    private func runDeferred() {
        // Work that is added meanwhile waits for the next turn, so that descriptors are not starved.
        let now = deferred
        deferred = []
        for body in now { body() }
    }

    private func nextToken() -> UInt64 {
        lastToken += 1
        return lastToken
    }

    private static func now() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    private static func epollBits(_ interest: Readiness) -> UInt32 {
        (interest.contains(.readable) ? clinux_epoll_in : 0) | (interest.contains(.writable) ? clinux_epoll_out : 0)
    }

    private static func readiness(_ events: UInt32) -> Readiness {
        var readiness: Readiness = []
        if events & clinux_epoll_in != 0 { readiness.insert(.readable) }
        if events & clinux_epoll_out != 0 { readiness.insert(.writable) }
        if events & clinux_epoll_hup != 0 { readiness.insert(.hangup) }
        if events & clinux_epoll_err != 0 { readiness.insert(.error) }
        return readiness
    }
}

@available(*, unavailable)
extension EventLoop: Sendable {}

/// Owns the descriptor of a signalfd for the closure that reads it.
private final class SignalSource {
    let descriptor: OwnedDescriptor

    init(descriptor: consuming OwnedDescriptor) {
        self.descriptor = descriptor
    }
}

extension Duration {
    /// Nanoseconds, never negative, at most a century: deadlines do not overflow.
    var clampedNanoseconds: UInt64 {
        let century: Int64 = 100 * 365 * 86_400
        guard components.seconds < century else { return UInt64(century) * 1_000_000_000 }
        guard components.seconds >= 0, components.attoseconds >= 0 else { return 0 }
        return UInt64(components.seconds) * 1_000_000_000 + UInt64(components.attoseconds / 1_000_000_000)
    }

    /// Rounded up, because a wait that ends early spins.
    var roundedUpMilliseconds: UInt64 { (clampedNanoseconds + 999_999) / 1_000_000 }
}

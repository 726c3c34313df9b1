// SPDX-License-Identifier: Apache-2.0

import CLinux

/// epoll(7) for a loop that keeps its own tables: edge-triggered, tokens instead of handlers, no allocation.
///
/// Edge-triggered means one `epoll_ctl` in a socket's life: readiness is remembered by whoever owns the token, and back
/// pressure is not reading. In return a socket must be read until the kernel has no more, or be visited again.
public struct Poller: ~Copyable {
    /// What a descriptor has become ready for.
    public struct Event: Sendable, BitwiseCopyable {
        public var token: UInt64
        public var bits: UInt32

        @inline(__always) public var isReadable: Bool { bits & Poller.readable != 0 }
        @inline(__always) public var isWritable: Bool { bits & Poller.writable != 0 }
        /// The peer will send no more, though there may be unread bytes (EPOLLRDHUP).
        @inline(__always) public var peerHasClosed: Bool { bits & Poller.peerClosed != 0 }
        /// Both directions are over, or an error is pending.
        @inline(__always) public var isBroken: Bool { bits & Poller.broken != 0 }
    }

    /// Events that one wait returns at most.
    public static let batch = 64

    // The kernel's values, which are its ABI (include/uapi/linux/eventpoll.h); checked by init.
    static let readable: UInt32 = 0x001
    static let writable: UInt32 = 0x004
    static let peerClosed: UInt32 = 0x2000
    static let broken: UInt32 = 0x018
    private static let edge: UInt32 = 1 << 31

    private let epoll: OwnedDescriptor
    private let ready: UnsafeMutablePointer<clinux_ready>

    /// - Throws: ``SystemError``; EMFILE if the process may have no more descriptors.
    public init() throws(SystemError) {
        precondition(
            clinux_epoll_in == Self.readable && clinux_epoll_out == Self.writable && clinux_epoll_edge == Self.edge
                && clinux_epoll_peer_closed == Self.peerClosed
                && clinux_epoll_hup | clinux_epoll_err == Self.broken, "epoll has other constants here")
        epoll = OwnedDescriptor(adopting: try SystemError.check("epoll_create1") { clinux_epoll_create() })
        ready = .allocate(capacity: Self.batch)
    }

    deinit { ready.deallocate() }

    /// Reports a stream socket's reading and writing, each time it becomes possible, until it is closed.
    public func addStream(_ descriptor: CInt, token: UInt64) throws(SystemError) {
        try add(descriptor, Self.readable | Self.writable | Self.peerClosed | Self.edge, token)
    }

    /// Reports that `descriptor` can be read as long as it can (level-triggered): for listeners and counters.
    public func addReadable(_ descriptor: CInt, token: UInt64) throws(SystemError) {
        try add(descriptor, Self.readable, token)
    }

    /// As ``addReadable(_:token:)``, for a listener that several pollers share: a connection wakes one of them, not all
    /// (EPOLLEXCLUSIVE).
    public func addListener(_ descriptor: CInt, token: UInt64) throws(SystemError) {
        try add(descriptor, Self.readable | clinux_epoll_exclusive, token)
    }

    private func add(_ descriptor: CInt, _ bits: UInt32, _ token: UInt64) throws(SystemError) {
        try SystemError.check("epoll_ctl(EPOLL_CTL_ADD)", "descriptor \(descriptor)") {
            clinux_epoll_add(epoll.rawValue, descriptor, bits, token)
        }
    }

    /// Reports a descriptor no more, though it stays open.
    public func remove(_ descriptor: CInt) { _ = clinux_epoll_delete(epoll.rawValue, descriptor) }

    /// Waits, -1 milliseconds for ever. - Returns: How many events there are; 0 after a signal too.
    public func wait(milliseconds: CInt) -> Int {
        max(0, Int(clinux_epoll_wait(epoll.rawValue, ready, CInt(Self.batch), milliseconds)))
    }

    /// An event of the last ``wait(milliseconds:)``.
    public subscript(index: Int) -> Event { Event(token: ready[index].token, bits: ready[index].events) }
}

/// An eventfd(2): any thread signals, one loop is woken.
public struct EventCounter: ~Copyable, Sendable {
    private let descriptor: OwnedDescriptor

    public init() throws(SystemError) {
        let raw = clinux_event_create()
        guard raw >= 0 else { throw SystemError("eventfd", errnoCode: -raw) }
        descriptor = OwnedDescriptor(adopting: raw)
    }

    /// For ``Poller/addReadable(_:token:)``.
    public var rawValue: CInt { descriptor.rawValue }

    public func signal() { _ = clinux_event_signal(descriptor.rawValue) }

    public func clear() { _ = clinux_event_clear(descriptor.rawValue) }
}

/// The clocks, without an error and without Foundation.
public enum SystemClock {
    /// CLOCK_MONOTONIC in nanoseconds.
    public static var monotonic: UInt64 { clinux_monotonic() }
    /// CLOCK_REALTIME in nanoseconds since 1970.
    public static var wall: UInt64 { clinux_wall_clock() }
}

/// A thread that runs one body with all signals blocked, and is not waited for.
public enum DetachedThread {
    private final class Body {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }

    /// - Throws: ``SystemError``; EAGAIN if there may be no more threads.
    public static func start(_ run: @escaping @Sendable () -> Void) throws(SystemError) {
        let body = Unmanaged.passRetained(Body(run))
        let status = clinux_thread_start(
            { argument in
                guard let argument else { return }
                Unmanaged<Body>.fromOpaque(argument).takeRetainedValue().run()
            }, body.toOpaque())
        guard status == 0 else {
            body.release()
            throw SystemError("pthread_create", errnoCode: -status)
        }
    }

    /// The calling thread sleeps for less than a second; see ``setTimerSlack(nanoseconds:)`` for how much longer it may be.
    @inline(__always)
    public static func sleep(nanoseconds: Int64) { clinux_sleep(nanoseconds) }

    /// How much later timers of the calling thread, and of those that it makes, may fire: 50 us at first.
    ///
    /// - Throws: ``SystemError``; EPERM under a filter that does not know the call.
    public static func setTimerSlack(nanoseconds: UInt64) throws(SystemError) {
        try SystemError.check("prctl(PR_SET_TIMERSLACK)") { clinux_set_timer_slack(nanoseconds) }
    }

    /// The calling thread runs from now on when no other wants its processor: one that wakes up takes its place at once.
    ///
    /// - Throws: ``SystemError``; EPERM under a filter that does not know the call.
    public static func yieldToOthers() throws(SystemError) {
        let status = clinux_thread_yield_to_others()
        guard status == 0 else { throw SystemError("sched_setscheduler(SCHED_IDLE)", errnoCode: -status) }
    }
}

// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// A grace period that passes while the control thread goes on: ten milliseconds or so.
///
/// The helper thread shares nothing with the control thread but a pipe, which becomes readable when the period is over.
public struct GracePeriod: ~Copyable {
    private let reading: OwnedDescriptor
    private let thread: pthread_t

    /// Begins now: when it is over, every program that runs at this moment has ended.
    ///
    /// - Throws: ``SystemError``; EAGAIN if no thread can be made.
    public init() throws(SystemError) {
        var ends: (CInt, CInt) = (-1, -1)
        try SystemError.check("pipe2") {
            withUnsafeMutableBytes(of: &ends) { clinux_pipe($0.bindMemory(to: CInt.self).baseAddress) }
        }
        let reading = OwnedDescriptor(adopting: ends.0)
        let writing = OwnedDescriptor(adopting: ends.1)
        var thread = pthread_t()
        let status = pthread_create(
            &thread, nil,
            { argument in
                // An error leaves nothing to wait for: the caller asked Membarrier.isSupported at the start.
                try? Membarrier.waitForGracePeriod()
                _ = close(CInt(truncatingIfNeeded: Int(bitPattern: argument)))
                return nil
            }, UnsafeMutableRawPointer(bitPattern: Int(ends.1)))
        guard status == 0 else { throw SystemError("pthread_create", errnoCode: status) }
        // The thread closes it, which is the signal.
        _ = writing.relinquish()
        self.reading = reading
        self.thread = thread
    }

    /// The thread goes on to its end by itself.
    deinit { pthread_detach(thread) }

    /// Returns when the period is over.
    public func wait() {
        var ready = pollfd(fd: reading.rawValue, events: Int16(POLLIN), revents: 0)
        while poll(&ready, 1, -1) < 0, errno == EINTR {}
    }

    /// Becomes readable when the period is over; lent for registration with an event loop.
    public var rawDescriptor: CInt { reading.rawValue }
}

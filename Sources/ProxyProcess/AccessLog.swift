// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxIO
import Synchronization

/// Writes the lines of all workers to a descriptor by a thread of its own: whoever reads them slowly keeps no request
/// waiting, and loses lines instead, whose number is told.
final class AccessLog: Sendable {
    /// Bytes that wait to be written at most.
    static let limit = 1 << 20

    private struct State {
        var waiting: [UInt8] = []
        var lost: UInt64 = 0
        /// Called when all is written, for the last time.
        var onEnd: (@Sendable () -> Void)?
        var hasEnded = false
    }

    private let state = Mutex(State())
    private let wake: EventCounter
    private let descriptor: CInt
    private let limit: Int
    private let tellLost: @Sendable (UInt64) -> Void

    /// - Parameters:
    ///   - descriptor: open for as long as the process lives.
    ///   - tellLost: called on the log's thread with the number of lines that were left out; must not block.
    /// - Throws: ``SystemError``; EMFILE, EAGAIN if the process may have no more descriptors or threads.
    init(
        to descriptor: CInt, limit: Int = limit, tellLost: @escaping @Sendable (UInt64) -> Void
    ) throws(SystemError) {
        wake = try EventCounter()
        self.descriptor = descriptor
        self.limit = limit
        self.tellLost = tellLost
        state.withLock { $0.waiting.reserveCapacity(limit) }
        try DetachedThread.start { [self] in run() }
    }

    /// Takes whole lines.
    func append(_ bytes: UnsafeRawBufferPointer, lines: UInt64) {
        guard !bytes.isEmpty else { return }
        let wasEmpty = state.withLock { state in
            guard state.waiting.count + bytes.count <= limit, !state.hasEnded else {
                state.lost += lines
                return false
            }
            state.waiting.append(contentsOf: bytes)
            return state.waiting.count == bytes.count
        }
        if wasEmpty { wake.signal() }
    }

    /// Writes what waits, then calls `done` on the log's thread, which ends.
    func end(_ done: @escaping @Sendable () -> Void) {
        state.withLock { $0.onEnd = done }
        wake.signal()
    }

    private func run() {
        var buffer: [UInt8] = []
        buffer.reserveCapacity(limit)
        while true {
            Self.wait(for: POLLIN, wake.rawValue)
            wake.clear()
            let (lost, onEnd) = state.withLock { state in
                // Both keep their memory.
                swap(&state.waiting, &buffer)
                state.hasEnded = state.onEnd != nil
                defer { state.lost = 0 }
                return (state.lost, state.onEnd)
            }
            write(buffer)
            buffer.removeAll(keepingCapacity: true)
            if lost > 0 { tellLost(lost) }
            if let onEnd { return onEnd() }
        }
    }

    private static func wait(for event: CInt, _ descriptor: CInt) {
        var ready = pollfd(fd: descriptor, events: Int16(event), revents: 0)
        poll(&ready, 1, -1)
    }

    private func write(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { bytes in
            var rest = bytes[...]
            while !rest.isEmpty {
                let count = Glibc.write(descriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
                if count > 0 {
                    rest = rest.dropFirst(count)
                } else if count < 0, errno == EAGAIN {
                    // Whoever shares the descriptor has made it non-blocking.
                    Self.wait(for: POLLOUT, descriptor)
                } else if count == 0 || errno != EINTR {
                    // Nobody reads: there is nobody to tell either.
                    return
                }
            }
        }
    }
}

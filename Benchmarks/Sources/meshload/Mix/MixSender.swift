// SPDX-License-Identifier: Apache-2.0
import CLoad
import Glibc
import Synchronization

/// Sends one direction of a mix connection, in the manner its plan says.
struct MixSender {
    private let descriptor: Int32
    private let direction: MixPlan.Direction
    private let seed: UInt64
    private let connection: MixMonitor.Connection
    private var random: SplitMix64
    private var position: UInt64 = 0

    init(_ socket: borrowing Socket, _ direction: MixPlan.Direction, seed: UInt64, _ connection: MixMonitor.Connection)
    {
        descriptor = socket.descriptor
        self.direction = direction
        self.seed = seed
        self.connection = connection
        random = SplitMix64(state: seed ^ 0x5e4d)
    }

    /// Sends the next `count` bytes of the stream.
    ///
    /// - Throws: ``LoadError`` with the error of the call and the position it came at.
    mutating func send(_ count: UInt64) throws(LoadError) {
        let end = position + count
        while position < end {
            let size = min(Int(clamping: end - position), Int.random(in: 1...direction.write, using: &random))
            let sent = write(size)
            if sent < 0 && (errno == EINTR || errno == EAGAIN) {
                var poll = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                _ = Glibc.poll(&poll, 1, 1000)
                continue
            }
            guard sent > 0 else { throw LoadError(call: "\(direction.sending) send at position \(position)") }
            position += UInt64(sent)
            connection.sent.add(UInt64(sent), ordering: .relaxed)
            connection.touch()
        }
        // What MSG_MORE holds back would wait for 200 ms where the peer's answer is due.
        if direction.sending == .more {
            var on: Int32 = 1
            setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
        }
    }

    private mutating func write(_ size: Int) -> Int {
        let bytes = UnsafeMutableRawPointer(mutating: Pattern.shared.bytes(seed: seed, at: position))
        let flags = Int32(MSG_NOSIGNAL)
        switch direction.sending {
        case .plain:
            return Glibc.send(descriptor, bytes, size, flags)
        case .vector:
            let first = size / 3
            var pieces = [
                iovec(iov_base: bytes, iov_len: first), iovec(iov_base: bytes + first, iov_len: size - first),
            ]
            return writev(descriptor, &pieces, 2)
        case .file:
            var offset = off_t(Pattern.shared.offset(seed: seed, at: position))
            return sendfile(descriptor, Pattern.shared.file, &offset, size)
        case .more:
            return Glibc.send(descriptor, bytes, size, flags | (random.chance(70) ? Int32(MSG_MORE) : 0))
        case .polling:
            return Glibc.send(descriptor, bytes, size, flags | Int32(MSG_DONTWAIT))
        }
    }
}

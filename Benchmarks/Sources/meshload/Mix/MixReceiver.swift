// SPDX-License-Identifier: Apache-2.0
import Glibc
import Synchronization

/// Receives one direction of a mix connection, in the manner its plan says, and compares every byte.
struct MixReceiver: ~Copyable {
    private let descriptor: Int32
    private let direction: MixPlan.Direction
    private let seed: UInt64
    private let connection: MixMonitor.Connection
    private let monitor: MixMonitor
    private let buffer: Buffer
    private var random: SplitMix64
    private var position: UInt64 = 0

    init(
        _ socket: borrowing Socket, _ direction: MixPlan.Direction, seed: UInt64,
        _ connection: MixMonitor.Connection, _ monitor: MixMonitor
    ) {
        descriptor = socket.descriptor
        self.direction = direction
        self.seed = seed
        self.connection = connection
        self.monitor = monitor
        buffer = Buffer(count: direction.read)
        random = SplitMix64(state: seed ^ 0x4ece)
        if direction.receiving == .lowat {
            // Not past the end of the stream: without its last bytes the reader would wait for the FIN, as with TCP.
            var mark = Int32(clamping: min(UInt64(random.logUniform(16 << 10)), max(1, direction.bytes)))
            setsockopt(descriptor, SOL_SOCKET, SO_RCVLOWAT, &mark, socklen_t(MemoryLayout<Int32>.size))
        }
        if direction.receiving == .late { usleep(UInt32.random(in: 1_000...150_000, using: &random)) }
    }

    /// Takes and verifies the next `count` bytes of the stream.
    ///
    /// - Throws: ``LoadError`` if the stream ends or fails before them.
    mutating func receive(_ count: UInt64) throws(LoadError) {
        let end = position + count
        while position < end {
            let size = min(Int(clamping: end - position), Int.random(in: 1...buffer.count, using: &random))
            let received = try read(size)
            guard received > 0 else { throw LoadError("the stream ends at \(position) of \(direction.bytes) bytes") }
            verify(received)
            position += UInt64(received)
            connection.received.add(UInt64(received), ordering: .relaxed)
            connection.touch()
            if direction.receiving == .late && random.chance(1) { usleep(2_000) }
        }
    }

    /// Takes the whole direction and its end.
    mutating func receiveWhole() throws(LoadError) {
        try receive(direction.bytes)
        try receiveEnd()
    }

    /// Takes the end of the stream.
    ///
    /// - Throws: ``LoadError`` if the connection fails instead.
    mutating func receiveEnd() throws(LoadError) {
        let received = try call { recv(descriptor, buffer.base, 1, 0) }
        if received != 0 {
            monitor.fail(connection, "a byte follows the end of the stream at \(position)", status: 2)
        }
    }

    private mutating func read(_ size: Int) throws(LoadError) -> Int {
        switch direction.receiving {
        case .simple, .lowat, .late:
            return try call { recv(descriptor, buffer.base, size, 0) }
        case .peek:
            let peeked = try call { recv(descriptor, buffer.base, size, Int32(MSG_PEEK)) }
            guard peeked > 0 else { return peeked }
            verify(peeked)
            return try call { recv(descriptor, buffer.base, peeked, 0) }
        case .waitall:
            let received = try call { recv(descriptor, buffer.base, size, Int32(MSG_WAITALL)) }
            if received > 0 && received < size { monitor.count { $0.shortWaitAll += 1 } }
            return received
        case .readvec:
            let first = size / 2
            var pieces = [
                iovec(iov_base: buffer.base, iov_len: first),
                iovec(iov_base: buffer.base + first, iov_len: size - first),
            ]
            return try call { readv(descriptor, &pieces, 2) }
        case .poller:
            while true {
                var poll = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
                guard Glibc.poll(&poll, 1, 1000) > 0 else { continue }
                let received = recv(descriptor, buffer.base, size, Int32(MSG_DONTWAIT))
                if received >= 0 { return received }
                guard errno == EAGAIN || errno == EINTR else {
                    throw LoadError(call: "recv after poll at position \(position)")
                }
            }
        }
    }

    /// Repeats a blocking call that woke without data; see ``Socket/receive(_:_:flags:)``.
    private func call(_ body: () -> Int) throws(LoadError) -> Int {
        while true {
            let result = body()
            if result >= 0 { return result }
            guard errno == EAGAIN || errno == EINTR else {
                throw LoadError(call: "\(direction.receiving) receive at position \(position)")
            }
            monitor.count { $0.spuriousWakeups += 1 }
        }
    }

    /// Ends the process with status 2 if one of the bytes in the buffer is wrong.
    private func verify(_ count: Int) {
        let bytes = UnsafePointer(buffer.base.assumingMemoryBound(to: UInt8.self))
        guard let offset = Pattern.shared.mismatch(bytes, count: count, seed: seed, at: position) else { return }
        let at = position + UInt64(offset)
        let origin = Pattern.shared.locate(bytes + offset, count: count - offset, seed: seed, near: at)
        let found = origin.map { "bytes that belong \($0 > 0 ? "\($0) later" : "\(-$0) earlier")" } ?? "foreign bytes"
        monitor.fail(connection, "wrong byte at position \(at): \(found)", status: 2)
    }
}

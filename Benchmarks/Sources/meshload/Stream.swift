// SPDX-License-Identifier: Apache-2.0
import Glibc

/// `stream`: bytes a second from a client that writes to a server that reads and verifies.
///
/// The clock stops when the server has confirmed the last byte, so bytes that are only
/// buffered do not count. The verification costs every arm the same.
///
/// With a window, as HTTP/2 has one, the client waits when so much is on its way: the server answers each half of the
/// window that it has read with a byte. So it never falls far behind.
struct Stream {
    let server: String
    let port: Int
    let writeSize: Int
    let readSize: Int
    let connections: Int
    let noDelay: Bool
    /// Bytes; 0: none.
    let window: Int
    let seconds: Double

    func run() throws(LoadError) -> JSONObject {
        guard (1...Pattern.largestRun).contains(writeSize) else { throw LoadError("--write-size is 1 byte to 1M") }
        guard window == 0 || (2 * writeSize...Int(UInt32.max)).contains(window) else {
            throw LoadError("--window is two writes or more")
        }
        var sockets: [Int32] = []
        defer { for descriptor in sockets { close(descriptor) } }
        for index in 0..<connections { sockets.append(try open(seed: UInt64(index) &* 7919).relinquish()) }

        let control = try Endpoint(server, port: port, role: .blocking)
        let (serverBefore, clientBefore) = (try ServerProcessor.read(control), Clock.processCPU())
        let started = Clock.now()
        let sent = try pump(sockets, until: started + UInt64(seconds * 1e9))
        var confirmed: UInt64 = 0
        for (index, descriptor) in sockets.enumerated() {
            let outcome = try StreamSink.Outcome.receive(descriptor)
            guard outcome.mismatch < 0 else { throw LoadError("stream \(index): \(outcome.explanation)") }
            guard outcome.bytes == sent[index] else {
                throw LoadError("stream \(index): sent \(sent[index]) bytes, the server counted \(outcome.bytes)")
            }
            confirmed += outcome.bytes
        }
        let elapsed = Double(Clock.now() - started) / 1e9

        var result = JSONObject()
        result.set("mode", "stream")
        result.set("connections", connections)
        result.set("write_size", writeSize)
        result.set("bytes", Int(confirmed))
        result.set("seconds", elapsed)
        result.set("gbytes_per_second", Double(confirmed) / elapsed / 1e9)
        let cpu = Clock.processCPU() - clientBefore + (try ServerProcessor.read(control)) - serverBefore
        result.set("cpu_ns_per_kb", Double(cpu) / (Double(confirmed) / 1024))
        return result
    }

    private func open(seed: UInt64) throws(LoadError) -> Socket {
        let socket = try Endpoint(server, port: port, role: .sink).connect()
        if noDelay { try? socket.setNoDelay() }  // a UNIX socket has no such option
        var header = Header(.stream)
        header.requestSize = UInt32(readSize)
        header.responseSize = UInt32(window)
        header.seed = seed
        try header.send(on: socket)
        return socket
    }

    /// Writes until the deadline, on each connection in turn, then ends every stream.
    private func pump(_ sockets: [Int32], until deadline: UInt64) throws(LoadError) -> [UInt64] {
        var sent = [UInt64](repeating: 0, count: sockets.count)
        var halves = sent
        // One clock read for each 64 KB or each write, whichever is more.
        let writesPerCheck = max(1, (64 << 10) / writeSize)
        repeat {
            for index in sockets.indices {
                for _ in 0..<writesPerCheck {
                    if window > 0 { try wait(sockets[index], until: sent[index] + UInt64(writeSize), &halves[index]) }
                    let bytes = Pattern.shared.bytes(seed: UInt64(index) &* 7919, at: sent[index])
                    let count = send(sockets[index], bytes, writeSize, Int32(MSG_NOSIGNAL))
                    guard count > 0 else { throw LoadError(call: "send on stream \(index)") }
                    sent[index] += UInt64(count)
                }
            }
        } while Clock.now() < deadline
        for descriptor in sockets {
            guard shutdown(descriptor, Int32(SHUT_WR)) == 0 else { throw LoadError(call: "shutdown(SHUT_WR)") }
        }
        guard window > 0 else { return sent }
        // What comes then is the server's verdict.
        for index in sockets.indices {
            try wait(
                sockets[index], until: sent[index] / UInt64(window / 2) * UInt64(window / 2), &halves[index], rest: 0)
        }
        return sent
    }

    /// Waits until the server has read all of `count` bytes but a rest, the window if none is given.
    private func wait(
        _ descriptor: Int32, until count: UInt64, _ halves: inout UInt64, rest: Int? = nil
    ) throws(LoadError) {
        let half = UInt64(window / 2)
        while count > halves * half + UInt64(rest ?? window) {
            // As many as may be there, and none of what follows them.
            let most = min(64, (count - halves * half + half - 1) / half)
            let got = withUnsafeTemporaryAllocation(byteCount: 64, alignment: 1) {
                recv(descriptor, $0.baseAddress, Int(most), 0)
            }
            // A blocking socket may wake without data on a redirected connection.
            if got < 0 && (errno == EAGAIN || errno == EINTR) { continue }
            guard got > 0 else { throw LoadError(call: "recv of the server's progress") }
            halves += UInt64(got)
        }
    }
}

/// The receiving side of a stream: compares every byte, and answers with an ``Outcome`` at its end.
enum StreamSink {
    struct Outcome: BitwiseCopyable {
        var bytes: UInt64 = 0
        /// Position of the first wrong byte, -1 if none is.
        var mismatch: Int64 = -1
        /// How far the bytes found there are from where they belong; 0 if they are not the stream's.
        var displacement: Int64 = 0

        var explanation: String {
            let origin =
                displacement == 0
                ? "with bytes that are not the stream's"
                : "with bytes that belong \(displacement) bytes \(displacement > 0 ? "later" : "earlier")"
            return "wrong from position \(mismatch) on, \(origin)"
        }

        static func receive(_ descriptor: Int32) throws(LoadError) -> Outcome {
            var outcome = Outcome()
            let size = MemoryLayout<Outcome>.size
            var done = 0
            while done < size {
                let count = withUnsafeMutableBytes(of: &outcome) {
                    recv(descriptor, $0.baseAddress! + done, size - done, 0)
                }
                if count < 0 && (errno == EAGAIN || errno == EINTR) { continue }
                guard count > 0 else { throw LoadError(call: "recv of the server's verdict") }
                done += count
            }
            return outcome
        }
    }

    static func serve(_ socket: borrowing Socket) throws(LoadError) {
        guard let header = try Header.receive(on: socket) else { return }
        let buffer = Buffer(count: max(1, Int(header.requestSize)))
        var outcome = Outcome()
        let half = UInt64(header.responseSize / 2)
        if half > 0 { try? socket.setNoDelay() }  // a UNIX socket has no such option
        while true {
            let count = try socket.receive(buffer.base, buffer.count)
            if count == 0 { break }
            if outcome.mismatch < 0 { verify(buffer, count, header.seed, &outcome) }
            let before = outcome.bytes
            outcome.bytes += UInt64(count)
            guard half > 0, outcome.bytes / half > before / half else { continue }
            for _ in 0..<outcome.bytes / half - before / half { try socket.sendAll(buffer.base, 1) }
        }
        try withUnsafeBytes(of: &outcome) { (bytes) throws(LoadError) in
            try socket.sendAll(bytes.baseAddress!, bytes.count)
        }
    }

    private static func verify(_ buffer: borrowing Buffer, _ count: Int, _ seed: UInt64, _ outcome: inout Outcome) {
        let bytes = UnsafePointer(buffer.base.assumingMemoryBound(to: UInt8.self))
        guard let offset = Pattern.shared.mismatch(bytes, count: count, seed: seed, at: outcome.bytes) else { return }
        let position = outcome.bytes + UInt64(offset)
        outcome.mismatch = Int64(position)
        outcome.displacement =
            Pattern.shared.locate(bytes + offset, count: count - offset, seed: seed, near: position) ?? 0
    }
}

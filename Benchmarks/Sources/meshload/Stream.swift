// SPDX-License-Identifier: Apache-2.0
import Glibc

/// `stream`: bytes a second from a client that writes to a server that reads and verifies.
///
/// The clock stops when the server has confirmed the last byte, so bytes that are only
/// buffered do not count. The verification costs every arm the same.
struct Stream {
    let server: String
    let port: Int
    let writeSize: Int
    let readSize: Int
    let connections: Int
    let noDelay: Bool
    let seconds: Double

    func run() throws(LoadError) -> JSONObject {
        guard (1...Pattern.largestRun).contains(writeSize) else { throw LoadError("--write-size is 1 byte to 1M") }
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
        header.seed = seed
        try header.send(on: socket)
        return socket
    }

    /// Writes until the deadline, on each connection in turn, then ends every stream.
    private func pump(_ sockets: [Int32], until deadline: UInt64) throws(LoadError) -> [UInt64] {
        var sent = [UInt64](repeating: 0, count: sockets.count)
        // One clock read for each 64 KB or each write, whichever is more.
        let writesPerCheck = max(1, (64 << 10) / writeSize)
        repeat {
            for index in sockets.indices {
                for _ in 0..<writesPerCheck {
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
        return sent
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
        while true {
            let count = try socket.receive(buffer.base, buffer.count)
            if count == 0 { break }
            if outcome.mismatch < 0 { verify(buffer, count, header.seed, &outcome) }
            outcome.bytes += UInt64(count)
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

// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxIO
import Synchronization

/// A blocking connection of a test, on either side of the proxy. Reads give up after a time, so that nothing hangs.
final class TestConnection: Sendable {
    private let descriptor: CInt
    private let closed = Mutex(false)
    private let buffered = Mutex<[UInt8]>([])

    /// - Parameter descriptor: Owned from now on.
    init(_ descriptor: CInt, timeout: Int = 20) {
        self.descriptor = descriptor
        let flags = fcntl(descriptor, F_GETFL)
        _ = fcntl(descriptor, F_SETFL, flags & ~O_NONBLOCK)
        var time = timeval(tv_sec: timeout, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
    }

    convenience init(port: UInt16) {
        self.init(CInt(StreamSocket.connect(to: .loopback(port: port))))
    }

    deinit { close() }

    func close() {
        let first = closed.withLock { done in
            defer { done = true }
            return !done
        }
        if first { Glibc.close(descriptor) }
    }

    /// Closes with a reset.
    func reset() {
        var linger = linger(l_onoff: 1, l_linger: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<linger>.size))
        close()
    }

    func endOutput() { _ = shutdown(descriptor, CInt(SHUT_WR)) }

    /// - Returns: Whether all was sent.
    @discardableResult
    func send(_ text: String) -> Bool { send(bytes: Array(text.utf8)) }

    @discardableResult
    func send(bytes: [UInt8]) -> Bool {
        var offset = 0
        while offset < bytes.count {
            let sent = bytes.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress! + offset, bytes.count - offset, CInt(MSG_NOSIGNAL))
            }
            if sent <= 0 { return false }
            offset += sent
        }
        return true
    }

    /// Sends a byte as urgent data: no read of the peer goes on beyond where it was (tcp(7)).
    func send(urgent byte: UInt8) {
        var byte = byte
        _ = Glibc.send(descriptor, &byte, 1, CInt(MSG_OOB | MSG_NOSIGNAL))
    }

    /// Whether all that was sent has come to the peer's socket.
    var isDelivered: Bool {
        var unacknowledged: CInt = 0
        return ioctl(descriptor, UInt(TIOCOUTQ), &unacknowledged) == 0 && unacknowledged == 0
    }

    enum Received: Equatable {
        case bytes([UInt8])
        case end
        case reset
        case timeout
    }

    func receive() -> Received {
        var memory = [UInt8](repeating: 0, count: 65536)
        let count = recv(descriptor, &memory, memory.count, 0)
        if count > 0 { return .bytes(Array(memory[..<count])) }
        if count == 0 { return .end }
        return errno == ECONNRESET ? .reset : .timeout
    }

    /// Everything up to and with `mark`; what follows stays to be read. Less if the connection ends before.
    func read(until mark: String) -> String {
        let wanted = Array(mark.utf8)
        var text = buffered.withLock { bytes in
            defer { bytes = [] }
            return bytes
        }
        while true {
            if let end = text.end(of: wanted) {
                buffered.withLock { $0 = Array(text[end...]) }
                return String(decoding: text[..<end], as: UTF8.self)
            }
            guard case .bytes(let more) = receive() else { return String(decoding: text, as: UTF8.self) }
            text += more
        }
    }

    /// `count` bytes, or fewer if the connection ends before.
    func read(count: Int) -> [UInt8] {
        var bytes = buffered.withLock { bytes in
            defer { bytes = [] }
            return bytes
        }
        while bytes.count < count {
            guard case .bytes(let more) = receive() else { return bytes }
            bytes += more
        }
        buffered.withLock { $0 = Array(bytes[count...]) }
        return Array(bytes[..<count])
    }

    /// Everything until the connection ends, and how it ended.
    func readToEnd() -> (text: String, end: Received) {
        var bytes = buffered.withLock { $0 }
        while true {
            switch receive() {
            case .bytes(let more): bytes += more
            case let end: return (String(decoding: bytes, as: UTF8.self), end)
            }
        }
    }

    func readHead() -> String { read(until: "\r\n\r\n") }

    /// A message with its body, if that has a Content-Length; a chunked one up to its last chunk without trailers.
    func readMessage() -> String {
        let head = readHead()
        let lower = head.lowercased()
        if let range = lower.firstRange(of: "content-length: ") {
            let digits = lower[range.upperBound...].prefix { $0.isNumber }
            return head + String(decoding: read(count: Int(digits) ?? 0), as: UTF8.self)
        }
        if lower.contains("transfer-encoding: chunked") { return head + read(until: "0\r\n\r\n") }
        return head
    }
}

extension [UInt8] {
    /// The offset after the first occurrence of `mark`.
    fileprivate func end(of mark: [UInt8]) -> Int? {
        guard count >= mark.count else { return nil }
        for start in 0...(count - mark.count) where self[start..<(start + mark.count)].elementsEqual(mark) {
            return start + mark.count
        }
        return nil
    }
}

/// A backend that does what a test says with each connection, on a thread of its own.
final class TestBackend: Sendable {
    /// Its number must not be another socket's while the thread that accepts may still use it.
    private final class Listener: Sendable {
        let descriptor: OwnedDescriptor

        init(_ descriptor: consuming OwnedDescriptor) { self.descriptor = descriptor }
    }

    let port: UInt16
    private let listener: Listener
    private let count = Mutex(0)
    private let kept = Mutex<[String]>([])

    /// - Parameters:
    ///   - receiveBuffer: Bytes that connections take before they are read; 0: as usual.
    ///   - serve: Given the connection and its number, from 0. The connection is closed when it returns.
    init(
        receiveBuffer: CInt = 0, _ serve: @escaping @Sendable (TestBackend, TestConnection, Int) -> Void
    ) throws {
        let listener = Listener(try StreamSocket.listen(at: .loopback(port: 0)))
        self.listener = listener
        let raw = listener.descriptor.rawValue
        port = StreamSocket.localEndpoint(raw)?.port ?? 0
        _ = fcntl(raw, F_SETFL, fcntl(raw, F_GETFL) & ~O_NONBLOCK)
        var size = receiveBuffer
        if size > 0 { setsockopt(raw, SOL_SOCKET, SO_RCVBUF, &size, socklen_t(MemoryLayout<CInt>.size)) }
        try DetachedThread.start { [weak self] in
            while true {
                let accepted = accept(listener.descriptor.rawValue, nil, nil)
                guard accepted >= 0, let backend = self else { return }
                let number = backend.count.withLock { number in
                    defer { number += 1 }
                    return number
                }
                let connection = TestConnection(accepted)
                try? DetachedThread.start {
                    serve(backend, connection, number)
                    connection.close()
                }
            }
        }
    }

    deinit { shutdown(listener.descriptor.rawValue, CInt(SHUT_RDWR)) }

    /// Requests so far, of ``init(replying:)``.
    var requests: [String] { kept.withLock { $0 } }

    func keep(_ request: String) { kept.withLock { $0.append(request) } }

    var connections: Int { count.withLock { $0 } }

    /// Answers every request with what `reply` makes of its text, on kept connections.
    convenience init(replying reply: @escaping @Sendable (String) -> String) throws {
        try self.init { backend, connection, _ in
            while true {
                let request = connection.readMessage()
                if request.isEmpty { return }
                backend.kept.withLock { $0.append(request) }
                connection.send(reply(request))
            }
        }
    }

    static func ok(_ body: String = "ok") -> String {
        "HTTP/1.1 200 OK\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
    }
}

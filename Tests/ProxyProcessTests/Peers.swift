// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxIO
import Synchronization

/// A backend that answers each request with its name and keeps what it was sent. Each connection has a thread.
final class NamedBackend: Sendable {
    /// Its number must not be another socket's while the thread that accepts may still use it.
    private final class Listener: Sendable {
        let descriptor: OwnedDescriptor

        init(_ descriptor: consuming OwnedDescriptor) { self.descriptor = descriptor }
    }

    let port: UInt16
    private let listener: Listener
    private let heads = Mutex<[String]>([])

    /// Heads of requests so far.
    var requests: [String] { heads.withLock { $0 } }

    init(_ name: String) throws {
        let listener = Listener(try StreamSocket.listen(at: .loopback(port: 0)))
        self.listener = listener
        let raw = listener.descriptor.rawValue
        port = StreamSocket.localEndpoint(raw)?.port ?? 0
        _ = fcntl(raw, F_SETFL, fcntl(raw, F_GETFL) & ~O_NONBLOCK)
        let reply = "HTTP/1.1 200 OK\r\nContent-Length: \(name.utf8.count)\r\n\r\n\(name)"
        try DetachedThread.start { [weak self] in
            while case let accepted = accept(listener.descriptor.rawValue, nil, nil), accepted >= 0 {
                let backend = self
                try? DetachedThread.start { Self.serve(accepted, reply) { backend?.keep($0) } }
            }
        }
    }

    deinit { shutdown(listener.descriptor.rawValue, CInt(SHUT_RDWR)) }

    private func keep(_ head: String) { heads.withLock { $0.append(head) } }

    private static func serve(_ descriptor: CInt, _ reply: String, _ keep: (String) -> Void) {
        defer { close(descriptor) }
        var (text, memory) = ("", [UInt8](repeating: 0, count: 4096))
        while case let count = recv(descriptor, &memory, memory.count, 0), count > 0 {
            text += String(decoding: memory[..<count], as: UTF8.self)
            while let end = text.firstRange(of: "\r\n\r\n") {
                let head = String(text[..<end.upperBound])
                keep(head)
                text.removeSubrange(..<end.upperBound)
                // A body of two bytes is awaited.
                if head.lowercased().contains("content-length: 2") {
                    while text.utf8.count < 2, case let count = recv(descriptor, &memory, memory.count, 0), count > 0 {
                        text += String(decoding: memory[..<count], as: UTF8.self)
                    }
                    text = String(decoding: text.utf8.dropFirst(2), as: UTF8.self)
                }
                let bytes = Array(reply.utf8)
                send(descriptor, bytes, bytes.count, CInt(MSG_NOSIGNAL))
            }
        }
    }
}

/// A client that never blocks, so that a test can turn the loop meanwhile.
final class Client {
    enum End: Equatable {
        case closed, reset
    }

    private let descriptor: CInt
    private(set) var text = ""
    private(set) var end: End?
    private var isClosed = false

    init(port: UInt16) { descriptor = CInt(StreamSocket.connect(to: .loopback(port: port))) }

    deinit { close() }

    func close() {
        if !isClosed { Glibc.close(descriptor) }
        isClosed = true
    }

    func send(_ text: String) {
        // Connecting to loopback is over when connect(2) returns, or soon.
        var ready = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        poll(&ready, 1, 1000)
        let bytes = Array(text.utf8)
        _ = StreamSocket.send(descriptor, bytes, bytes.count)
    }

    func receive() {
        var memory = [UInt8](repeating: 0, count: 4096)
        while end == nil {
            let count = recv(descriptor, &memory, memory.count, 0)
            if count > 0 {
                text += String(decoding: memory[..<count], as: UTF8.self)
            } else if count == 0 {
                end = .closed
            } else if errno == ECONNRESET {
                end = .reset
            } else {
                return
            }
        }
    }

    /// The next response with its body, if it is whole.
    func takeResponse() -> (head: String, body: String)? {
        receive()
        guard let mark = text.firstRange(of: "\r\n\r\n") else { return nil }
        let head = String(text[..<mark.upperBound])
        let lower = head.lowercased()
        let digits = lower.firstRange(of: "content-length: ").map { lower[$0.upperBound...].prefix(while: \.isNumber) }
        let length = digits.flatMap { Int($0) } ?? 0
        let rest = text[mark.upperBound...].utf8
        guard rest.count >= length else { return nil }
        let body = String(decoding: rest.prefix(length), as: UTF8.self)
        text = String(decoding: rest.dropFirst(length), as: UTF8.self)
        return (head, body)
    }
}

/// A pipe of which the test reads what a log writes.
struct LogPipe {
    let output: SharedDescriptor
    let input: SharedDescriptor

    init() throws {
        var ends: [CInt] = [0, 0]
        try SystemError.check("pipe") { pipe(&ends) }
        output = SharedDescriptor(adopting: ends[0])
        input = SharedDescriptor(adopting: ends[1])
        _ = fcntl(output.rawValue, F_SETFL, O_NONBLOCK)
    }

    /// What is there.
    func read() -> [UInt8] {
        var memory = [UInt8](repeating: 0, count: 65536)
        let count = Glibc.read(output.rawValue, &memory, memory.count)
        return Array(memory.prefix(max(0, count)))
    }

    func text() -> String { String(decoding: read(), as: UTF8.self) }
}

// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import Testing

@testable import L7Proxy

/// Long bodies, slow peers, and the memory that they may take.
@Suite(.serialized) struct BodyFlowTests {
    private static let count = 4 << 20

    /// Bytes that depend on their place, so that a loss, a repetition or an exchange shows.
    private static let pattern: [UInt8] = {
        // A prime, so that no block of the proxy's is like the one before it.
        let block = (0..<4099).map { UInt8(truncatingIfNeeded: $0 &* 31 ^ $0 >> 8) }
        var bytes: [UInt8] = []
        while bytes.count < count { bytes += block }
        return Array(bytes[..<count])
    }()

    @Test(arguments: [false, true])
    func aLongRequestArrivesWhole(_ isChunked: Bool) throws {
        let backend = try TestBackend { backend, connection, _ in
            let head = connection.readHead()
            let body = head.contains("chunked") ? connection.readChunks() : connection.read(count: Self.count)
            connection.send(TestBackend.ok(body == Self.pattern ? "same" : "different \(body.count)"))
        }
        let rig = try Rig([backend.port])
        let client = rig.client()
        if isChunked {
            client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            var start = 0
            while start < Self.count {
                let size = min(100_003, Self.count - start)
                client.send(String(size, radix: 16) + "\r\n")
                client.send(bytes: Array(Self.pattern[start..<(start + size)]))
                client.send("\r\n")
                start += size
            }
            client.send("0\r\n\r\n")
        } else {
            client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \(Self.count)\r\n\r\n")
            client.send(bytes: Self.pattern)
        }
        #expect(client.readMessage().hasSuffix("same"))
        #expect(rig.recorder.wait(for: 1)[0].requestBytes == UInt64(Self.count))
    }

    @Test(arguments: ["length", "chunked", "end"])
    func aLongResponseArrivesWhole(_ framing: String) throws {
        let backend = try TestBackend { _, connection, _ in
            _ = connection.readHead()
            switch framing {
            case "length": connection.send("HTTP/1.1 200 OK\r\nContent-Length: \(Self.count)\r\n\r\n")
            case "chunked":
                connection.send(
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\(String(Self.count, radix: 16))\r\n")
            default: connection.send("HTTP/1.1 200 OK\r\n\r\n")
            }
            connection.send(bytes: Self.pattern)
            if framing == "chunked" { connection.send("\r\n0\r\n\r\n") }
        }
        let rig = try Rig([backend.port])
        let client = rig.client()
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        let head = client.readHead()
        let body = framing == "length" ? client.read(count: Self.count) : client.readChunks()
        #expect(head.contains("chunked") == (framing != "length"))
        #expect(body == Self.pattern)
        #expect(rig.recorder.wait(for: 1)[0].responseBytes == UInt64(Self.count))
    }

    @Test func aClientThatDoesNotReadStopsTheBackend() throws {
        let backend = try TestBackend { _, connection, _ in
            _ = connection.readHead()
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: \(64 << 20)\r\n\r\n")
            let block = [UInt8](repeating: 7, count: 1 << 20)
            for _ in 0..<64 where connection.send(bytes: block) {}
        }
        let rig = try Rig([backend.port])
        let client = rig.client()
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(Poll.until { rig.counters().buffers > 0 })
        // Two blocks for the response, two for a request at most, whatever the backend has to say.
        for _ in 0..<20 {
            #expect(rig.counters().buffers <= 4)
            _ = Poll.pause()
        }
        _ = client.readHead()
        #expect(client.read(count: 64 << 20).count == 64 << 20)
    }

    /// Nothing announces what has come before the worker read, however many reads it takes.
    @Test(arguments: [false, true])
    func whatAReadHasLeftIsReadToo(_ isHTTP2: Bool) throws {
        let backend = try TestBackend { TestBackend.ok("\($0.split(separator: "\r\n\r\n").last?.utf8.count ?? 0)") }
        // Held until all is there.
        let rig = try Rig([backend.port], policyGeneration: 2)
        rig.worker.enforce(policy: 1)
        let text = "POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 3000\r\n\r\n"
        let body = [UInt8](repeating: 0x78, count: 3000)
        let connection = rig.client()
        let client = isHTTP2 ? HTTP2TestClient(connection) : nil
        let stream = client?.peer.request(text, body: body)
        let bytes = client?.peer.output() ?? Array(text.utf8) + body
        connection.send(bytes: Array(bytes[..<1000]))
        connection.send(urgent: 0x21)
        connection.send(bytes: Array(bytes[1000...]))
        #expect(Poll.until { connection.isDelivered && rig.counters().connections == 1 })
        rig.worker.enforce(policy: 2)
        if let client {
            #expect(client.finish(stream) && client.message(stream).body == Array("3000".utf8))
        } else {
            #expect(connection.readMessage().hasSuffix("3000"))
        }
    }

    @Test func requestsBeyondThePoolOfBuffersAreRefusedNotServedWrong() throws {
        let backend = try TestBackend { _, connection, _ in _ = connection.readToEnd() }
        let rig = try Rig([backend.port]) { $0.buffers = 1 }
        let client = rig.client()
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(client.readToEnd().text == "")
        #expect(Poll.until { rig.counters().buffers == 0 })
    }
}

extension TestConnection {
    /// A chunked body up to its end.
    func readChunks() -> [UInt8] {
        var body: [UInt8] = []
        while true {
            let line = read(until: "\r\n")
            guard let size = Int(line.prefix { $0.isHexDigit }, radix: 16) else { return body }
            if size == 0 {
                _ = read(until: "\r\n")
                return body
            }
            body += read(count: size)
            _ = read(count: 2)
        }
    }
}

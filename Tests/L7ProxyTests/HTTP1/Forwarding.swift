// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import L7Proxy

/// Parses a head and writes it again, as the proxy forwards it.
enum Forwarding {
    /// - Parameter add: Adds fields before the head is finished.
    static func request(
        _ bytes: [UInt8], host: String? = nil, target: String? = nil, keepsUpgrade: Bool = false, closes: Bool = false,
        room: Int = 200_000, add: (inout HTTP1HeadWriter) -> Void = { _ in }
    ) -> Result<[UInt8], WriteFailure>? {
        var fields = FieldTable(capacity: 100)
        var parser = HTTP1RequestParser()
        return bytes.withUnsafeBytes { message in
            guard case .complete = parser.parse(message, into: &fields) else { return nil }
            return withBytes(host) { host in
                withBytes(target) { target in
                    var forwarding = RequestForwarding()
                    forwarding.host = host
                    forwarding.target = target
                    forwarding.keepsUpgrade = keepsUpgrade
                    forwarding.closes = closes
                    return written(room) { writer in
                        writer.beginRequest(parser.head, &fields, in: message.baseAddress!, forwarding)
                        add(&writer)
                    }
                }
            }
        }
    }

    static func response(
        _ text: String, to method: L7Proxy.Method = .get, _ forwarding: ResponseForwarding = ResponseForwarding()
    ) -> (text: String, framing: BodyFraming)? {
        var fields = FieldTable(capacity: 100)
        var parser = HTTP1ResponseParser(for: method, expectsUpgrade: true)
        return Array(text.utf8).withUnsafeBytes { message in
            guard case .complete = parser.parse(message, into: &fields) else { return nil }
            var framing = BodyFraming.none
            let result = written(10_000) {
                framing = $0.beginResponse(parser.head, &fields, in: message.baseAddress!, forwarding)
            }
            return (String(decoding: (try? result.get()) ?? [], as: UTF8.self), framing)
        }
    }

    static func written(_ room: Int, _ body: (inout HTTP1HeadWriter) -> Void) -> Result<[UInt8], WriteFailure> {
        // A guard after the room shows a write beyond it.
        var buffer = [UInt8](repeating: 0xee, count: room + 32)
        let result = buffer.withUnsafeMutableBytes { bytes in
            var writer = HTTP1HeadWriter(UnsafeMutableRawBufferPointer(rebasing: bytes[..<room]))
            body(&writer)
            return writer.finish()
        }
        #expect(buffer[room...].allSatisfy { $0 == 0xee }, "written beyond the buffer")
        return result.map { Array(buffer[..<$0]) }
    }

    static func withBytes<Value>(_ text: String?, _ body: (UnsafeRawBufferPointer?) -> Value) -> Value {
        guard let text else { return body(nil) }
        return Array(text.utf8).withUnsafeBytes { body($0) }
    }
}

extension HTTP1HeadWriter {
    /// Adds a field of any name, as text.
    mutating func add(_ name: String, _ value: String) {
        Array(name.utf8).withUnsafeBytes { name in
            Array(value.utf8).withUnsafeBytes { field(named: name, $0) }
        }
    }
}

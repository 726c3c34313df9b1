// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import L7Proxy

@Suite struct AccessLogTests {
    /// Lends a record whose method, path and user agent are these bytes.
    private func line(
        _ form: AccessLogWriter.Form, path: [UInt8] = Array("/a?b=c".utf8), userAgent: [UInt8]? = nil,
        capacity: Int = 4096
    ) -> [UInt8] {
        let method = Array("GET".utf8)
        let agent = userAgent ?? Array("curl/8".utf8)
        let address = Array("10.0.0.1:4711".utf8)
        // What is behind the buffer must stay as it is.
        var memory = [UInt8](repeating: 0xaa, count: capacity + 16)
        let count = method.withUnsafeBytes { method in
            path.withUnsafeBytes { path in
                agent.withUnsafeBytes { agent in
                    address.withUnsafeBytes { address in
                        memory.withUnsafeMutableBytes { memory in
                            var record = AccessLogRecord()
                            record.startTime = 1_738_367_999_123_456
                            record.method = method
                            record.path = path
                            record.userAgent = agent
                            record.source.address = address
                            record.status = 403
                            record.grpcStatus = 7
                            record.reason = .policyDenied
                            record.duration = 12
                            record.bytesSent = 18_446_744_073_709_551_615
                            return AccessLogWriter(form).write(
                                record, into: UnsafeMutableRawBufferPointer(rebasing: memory[..<capacity]))
                        }
                    }
                }
            }
        }
        #expect(memory[capacity...].allSatisfy { $0 == 0xaa }, "written beyond the buffer")
        return Array(memory[..<count])
    }

    @Test func json() throws {
        let bytes = line(.json)
        #expect(bytes.last == 0x0a && bytes.dropLast().allSatisfy { $0 != 0x0a })
        let object = try #require(try JSONSerialization.jsonObject(with: Data(bytes)) as? [String: Any])
        #expect(object["time"] as? String == "2025-01-31T23:59:59.123456Z")
        #expect(object["method"] as? String == "GET" && object["path"] as? String == "/a?b=c")
        #expect(object["status"] as? Int == 403 && object["grpc_status"] as? Int == 7)
        #expect(object["reason"] as? String == "policy_denied" && object["response_flags"] as? String == "UAEX")
        #expect(object["src.addr"] as? String == "10.0.0.1:4711" && object["dst.addr"] == nil)
        #expect(object["bytes_sent"] as? UInt64 == .max && object["truncated"] == nil)
    }

    @Test func text() {
        #expect(
            String(decoding: line(.text), as: UTF8.self)
                == "time=\"2025-01-31T23:59:59.123456Z\" direction=\"inbound\" method=\"GET\" path=\"/a?b=c\" "
                + "protocol=\"HTTP/1.1\" status=403 grpc_status=7 response_flags=\"UAEX\" reason=\"policy_denied\" "
                + "duration_ms=12 bytes_sent=18446744073709551615 bytes_recv=0 src.addr=\"10.0.0.1:4711\" "
                + "user_agent=\"curl/8\"\n")
    }

    /// What a client sends, and how it is written.
    @Test(arguments: [
        ("a\"b\\c", "a\\\"b\\\\c"), ("a\r\nstatus=200", "a\\u000d\\u000astatus=200"),
        ("\u{0}\u{7f}\t", "\\u0000\\u007f\\u0009"),
        ("\u{1b}[31m", "\\u001b[31m"), ("é€😀", "é€😀"), ("\u{85}\u{9b}\u{a0}", "\\u0085\\u009b\u{a0}"),
        ("\u{2028}\u{2029}\u{202e}\u{2066}\u{2030}", "\\u2028\\u2029\\u202e\\u2066\u{2030}"), ("", ""),
    ])
    func escaping(_ value: String, _ written: String) throws {
        for form in [AccessLogWriter.Form.json, .text] {
            let text = String(decoding: line(form, userAgent: Array(value.utf8)), as: UTF8.self)
            #expect(text.contains("\"\(written)\""), "\(text)")
        }
        let object = try JSONSerialization.jsonObject(with: Data(line(.json, userAgent: Array(value.utf8))))
        #expect((object as? [String: Any])?["user_agent"] as? String == value)
    }

    /// Bytes that are no UTF-8 (RFC 3629 section 4).
    @Test(
        arguments: [
            [0x80], [0xc0, 0xaf], [0xc3], [0xe0, 0x80, 0xaf], [0xed, 0xa0, 0x80], [0xf0, 0x80, 0x80, 0xaf],
            [0xf4, 0x90, 0x80, 0x80], [0xf5, 0x80, 0x80, 0x80], [0xe2, 0x82], [0xff, 0x22, 0xfe],
        ] as [[UInt8]])
    func invalidUTF8(_ bytes: [UInt8]) throws {
        let line = line(.json, userAgent: bytes)
        let text = try #require(String(validating: line, as: UTF8.self))
        let object = try JSONSerialization.jsonObject(with: Data(line)) as? [String: Any]
        #expect((object?["user_agent"] as? String)?.unicodeScalars.map(\.value) == bytes.map(UInt32.init), "\(text)")
    }

    /// In every size a line is whole: valid, ended, and says that something is missing.
    @Test func everySize() throws {
        let path = Array(repeating: Array("/é\"\n€".utf8), count: 30).flatMap { $0 }
        let whole = line(.json, path: path).count
        for capacity in AccessLogWriter.minimumLength...whole + 24 {
            let json = line(.json, path: path, capacity: capacity)
            #expect(json.last == 0x0a && json.filter { $0 == 0x0a }.count == 1)
            let object = try #require(
                try JSONSerialization.jsonObject(with: Data(json)) as? [String: Any], "size \(capacity)")
            let isCut = object.values.contains { ($0 as? String)?.hasSuffix("…") == true }
            #expect(json.count == whole || isCut || object["truncated"] as? Bool == true, "size \(capacity)")
            let text = line(.text, path: path, capacity: capacity)
            #expect(text.last == 0x0a && text.filter { $0 == 0x0a }.count == 1)
            #expect(text.filter { $0 == 0x22 }.count >= 2 && String(validating: text, as: UTF8.self) != nil)
        }
    }

    @Test func longValuesAreMarked() throws {
        let path = [UInt8](repeating: 0x61, count: AccessLogWriter.valueLimit + 1)
        let object = try JSONSerialization.jsonObject(with: Data(line(.json, path: path))) as? [String: Any]
        #expect(object?["path"] as? String == String(repeating: "a", count: AccessLogWriter.valueLimit) + "…")
        let exact = try JSONSerialization.jsonObject(with: Data(line(.json, path: path.dropLast()))) as? [String: Any]
        #expect(exact?["path"] as? String == String(repeating: "a", count: AccessLogWriter.valueLimit))
    }

    @Test(
        arguments: [
            (0, "1970-01-01T00:00:00.000000Z"), (951_782_400_000_001, "2000-02-29T00:00:00.000001Z"),
            (4_107_542_399_999_999, "2100-02-28T23:59:59.999999Z"),
            (4_107_542_400_000_000, "2100-03-01T00:00:00.000000Z"),
            (.max, "9999-12-31T23:59:59.999999Z"),
        ] as [(UInt64, String)])
    func time(_ microseconds: UInt64, _ expected: String) {
        let text = CivilTime(microseconds: microseconds).text
        #expect(withUnsafeBytes(of: text) { String(decoding: $0, as: UTF8.self) } == expected)
    }

    @Test func reasonsAreStableAndDifferent() {
        let texts = ReplyReason.allCases.map(\.text.description)
        #expect(Set(texts).count == texts.count)
        #expect(texts.dropFirst().allSatisfy { $0.allSatisfy { $0.isLowercase || $0 == "_" } })
        for code in ReasonCode.allCases where code.status != 0 {
            #expect((200..<600).contains(code.status))
            // What is answered has a name.
            #expect(ReplyReason(code) != .none, "\(code)")
        }
        #expect(ReasonCode.denied.status == 403 && ReplyReason(.denied).grpcStatus == 7)
    }
}

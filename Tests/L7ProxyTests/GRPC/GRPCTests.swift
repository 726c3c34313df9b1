// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import L7Proxy

/// Rows of the tables in gRPC's documents: PROTOCOL-HTTP2.md, statuscodes.md, http-grpc-status-mapping.md.
@Suite struct GRPCTests {
    private func bytes<Value>(_ text: String, _ body: (UnsafeRawBufferPointer) -> Value) -> Value {
        Array(text.utf8).withUnsafeBytes(body)
    }

    @Test(arguments: [
        ("application/grpc", true), ("application/grpc+proto", true), ("application/grpc+x-unknown", true),
        ("application/grpc;charset=utf-8", true), ("application/grpc ; a=b", true), ("Application/GRPC", true),
        ("application/grpc-web", false), ("application/grpc-web+proto", false), ("application/grpcx", false),
        ("application/grp", false), ("application/json", false), ("", false),
    ])
    func contentTypes(_ text: String, _ isCall: Bool) {
        #expect(bytes(text) { GRPCRequest.isContentType($0) } == isCall)
    }

    @Test(arguments: [
        ("1H", UInt64(3_600_000_000_000)), ("2M", 120_000_000_000), ("3S", 3_000_000_000), ("4m", 4_000_000),
        ("5u", 5000),
        ("6n", 6), ("0S", 0), ("00000001S", 1_000_000_000), ("99999999n", 99_999_999),
        ("99999999H", UInt64(Int64.max)), ("99999999M", UInt64(99_999_999) * 60_000_000_000),
    ])
    func timeouts(_ text: String, _ nanoseconds: UInt64) {
        #expect(bytes(text) { GRPCTimeout.nanoseconds($0) } == nanoseconds)
        // No prefix of it is a timeout: the unit is last.
        for count in 0..<text.utf8.count {
            #expect(bytes(String(text.prefix(count))) { GRPCTimeout.nanoseconds($0) } == nil)
        }
    }

    @Test(arguments: [
        "", "S", "1", "123456789S", "1s", "1h", "-1S", "+1S", "1.5S", " 1S", "1S ", "1 S", "1SS", "S1", "1\u{0}",
        "0x1S",
    ])
    func malformedTimeouts(_ text: String) { #expect(bytes(text) { GRPCTimeout.nanoseconds($0) } == nil) }

    @Test func everyByteIsNoUnitButSix() {
        let units = (UInt8.min...UInt8.max).filter { byte in
            [0x31, byte].withUnsafeBytes { GRPCTimeout.nanoseconds($0) } != nil
        }
        #expect(units == Array("HMSmnu".utf8).sorted())
    }

    @Test(arguments: [
        (UInt16(400), GRPCStatus.internal), (401, .unauthenticated), (403, .permissionDenied), (404, .unimplemented),
        (429, .unavailable), (502, .unavailable), (503, .unavailable), (504, .unavailable), (200, .unknown),
        (500, .unknown), (418, .unknown),
    ])
    func statusesOfHTTP(_ status: UInt16, _ expected: GRPCStatus) {
        #expect(GRPCStatus(httpStatus: status) == expected)
    }

    @Test(arguments: [
        (HTTP2ErrorCode.noError, GRPCStatus.internal), (.protocolError, .internal), (.internalError, .internal),
        (.flowControlError, .internal), (.settingsTimeout, .internal), (.frameSizeError, .internal),
        (.refusedStream, .unavailable), (.cancel, .cancelled), (.compressionError, .internal),
        (.connectError, .internal), (.enhanceYourCalm, .resourceExhausted),
        (.inadequateSecurity, .permissionDenied), (.streamClosed, .unknown), (HTTP2ErrorCode(rawValue: 99), .unknown),
    ])
    func resets(_ code: HTTP2ErrorCode, _ expected: GRPCStatus) { #expect(GRPCStatus(reset: code) == expected) }

    @Test func statusesAreWrittenAndRead() {
        for status in GRPCStatus.allCases {
            #expect(status.text.description == "\(status.rawValue)")
            #expect(bytes("\(status.rawValue)") { GRPCStatus($0) } == status)
            // A reset says no more than it can: what comes back is the status, or what the code means.
            let again = GRPCStatus(reset: status.resetCode)
            #expect(again == status || GRPCStatus.resetCodes[status.resetCode] == again)
        }
        #expect(bytes("17") { GRPCStatus($0) } == .unknown)
        for text in ["", "01", "-1", "1 ", "a", "12345678901"] { #expect(bytes(text) { GRPCStatus($0) } == nil) }
    }

    @Test func aLocalReplyIsTrailersOnly() throws {
        let link = H2Link()
        link.server.recorder.onRequest = { [server = link.server] stream in
            var scratch = [UInt8](repeating: 0, count: 100)
            scratch.withUnsafeMutableBytes {
                #expect((try? GRPCLocalReply(httpStatus: 503).begin(&server.writer, scratch: $0).get()) == 4)
                server.server.respond(stream, server.writer, endOfStream: true)
            }
        }
        let stream = try #require(
            link.client.request(
                "POST /a.B/C HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nContent-Type: application/grpc\r\n\r\n", body: []))
        link.settle()
        let response = try #require(link.client.recorder.streams[stream.id])
        #expect(response.first[0] == "200")
        #expect(
            response.fields == [
                ReadField("content-type", "application/grpc"), ReadField("grpc-status", "14"),
                ReadField("grpc-message", "Service Unavailable"),
            ])
        #expect(response.isWhole && response.body.isEmpty)
    }

    @Test func messagesArePercentEncoded() {
        func encoded(_ text: String, room: Int = 100) -> String? {
            var buffer = [UInt8](repeating: 0, count: room)
            let count = buffer.withUnsafeMutableBytes { room in bytes(text) { GRPCMessage.encode($0, into: room) } }
            return count.map { String(decoding: buffer[..<$0], as: UTF8.self) }
        }
        #expect(encoded("no healthy upstream") == "no healthy upstream")
        #expect(encoded("100%\r\n\u{e9}\u{7f}") == "100%25%0D%0A%C3%A9%7F")
        #expect(encoded("abc", room: 2) == nil)
        #expect(encoded("%", room: 2) == nil)
    }
}

extension GRPCStatus {
    fileprivate static let resetCodes: [HTTP2ErrorCode: GRPCStatus] = [
        .noError: .internal, .cancel: .cancelled, .internalError: .internal,
    ]
}

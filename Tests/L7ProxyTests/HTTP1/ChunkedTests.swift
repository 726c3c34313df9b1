// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import L7Proxy

/// RFC 9112 section 7.1: the chunked coding, and what a proxy writes of it.
@Suite struct ChunkedTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let body: String
        let data: String?
        let defect: MalformedMessage?

        static func read(_ rule: String, _ body: String, _ data: String) -> Case {
            Case(testDescription: rule, body: body, data: data, defect: nil)
        }

        static func refused(_ rule: String, _ body: String, _ defect: MalformedMessage) -> Case {
            Case(testDescription: rule, body: body, data: nil, defect: defect)
        }
    }

    static let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

    static let cases: [Case] = [
        .read("7.1: chunks", "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "abcde"),
        .read("7.1: no data", "0\r\n\r\n", ""),
        .read(
            "7.1: hexadecimal in either case", "a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n",
            "01234567890123456789"),
        .read("7.1: leading zeros", "0003\r\nabc\r\n000\r\n\r\n", "abc"),
        .read("7.1: data that looks like a chunk", "5\r\n0\r\n\r\n\r\n0\r\n\r\n", "0\r\n\r\n"),
        .read("7.1.1: extensions are ignored", "3;a=b;c=\"d;e\"\r\nabc\r\n0;x\r\n\r\n", "abc"),
        .read("RFC 9110 5.6.3: whitespace before an extension", "3 \t;a\r\nabc\r\n0\r\n\r\n", "abc"),
        .refused("7.1: an empty size", "\r\nabc\r\n0\r\n\r\n", .invalidChunkSize),
        .refused("7.1: no size but an extension", ";a\r\nabc\r\n0\r\n\r\n", .invalidChunkSize),
        .refused("7.1: a prefix", "0x3\r\nabc\r\n0\r\n\r\n", .invalidChunkSize),
        .refused("7.1: a sign", "+3\r\nabc\r\n0\r\n\r\n", .invalidChunkSize),
        .refused("7.1: a minus sign", "-3\r\nabc\r\n0\r\n\r\n", .invalidChunkSize),
        .refused("7.1: an underscore", "1_0\r\nabc\r\n0\r\n\r\n", .invalidChunkSize),
        .refused("7.1: whitespace before the size", " 3\r\nabc\r\n0\r\n\r\n", .invalidChunkSize),
        .refused("7.1: whitespace after the size", "3 \r\nabc\r\n0\r\n\r\n", .invalidChunkSize),
        .refused("7.1: no hexadecimal digit", "3g\r\nabc\r\n0\r\n\r\n", .invalidChunkSize),
        .refused("7.1: NUL after the size", "3\0\r\nabc\r\n0\r\n\r\n", .invalidChunkSize),
        .refused("2.2: LF after the size", "3\nabc\r\n0\r\n\r\n", .bareLineFeed),
        .refused("2.2: CR after the size", "3\rabc\r\n0\r\n\r\n", .bareCarriageReturn),
        .refused("7.1.1: LF in an extension", "3;a\nabc\r\n0\r\n\r\n", .bareLineFeed),
        .refused("7.1.1: CR in an extension", "3;a\rb\r\nabc\r\n0\r\n\r\n", .bareCarriageReturn),
        .refused("7.1.1: NUL in an extension", "3;a\0\r\nabc\r\n0\r\n\r\n", .invalidChunkExtension),
        .refused(
            "7.1.1: too long an extension", "3;\(many("a", 20_000))\r\nabc\r\n0\r\n\r\n",
            .chunkExtensionsTooLarge),
        .refused(
            "7.1.1: too many of them", "\(many("1;aaaaaaa\r\nx\r\n", 2049))0\r\n\r\n",
            .chunkExtensionsTooLarge),
        .refused(
            "7.1: the largest size cannot be reached by overflow", "10000000000000003\r\nabc\r\n0\r\n\r\n",
            .chunkSizeTooLarge),
        .refused("7.1: 2^63", "8000000000000000\r\n", .chunkSizeTooLarge),
        .refused("7.1: too many zeros", "\(many("0", 17))\r\n\r\n", .chunkSizeTooLarge),
        .refused("7.1: data longer than its size", "3\r\nabcd\r\n0\r\n\r\n", .missingChunkEnd),
        .refused("7.1: data followed by LF", "3\r\nabc\n0\r\n\r\n", .missingChunkEnd),
        .refused("7.1: data followed by CR", "3\r\nabc\r0\r\n\r\n", .missingChunkEnd),
        .refused("7.1: data followed by anything", "3\r\nabcXX0\r\n\r\n", .missingChunkEnd),
        .refused("7.1.2: a trailer that frames", "0\r\nContent-Length: 5\r\n\r\n", .forbiddenTrailer),
        .refused(
            "7.1.2: a trailer that frames otherwise", "0\r\nTransfer-Encoding: chunked\r\n\r\n", .forbiddenTrailer),
        .refused("RFC 9110 6.5.1: a trailer that routes", "0\r\nHost: b\r\n\r\n", .forbiddenTrailer),
        .refused("7.1.2: trailers are field lines", "0\r\nA : b\r\n\r\n", .whitespaceBeforeColon),
        .refused("7.1.2: without folds", "0\r\nA: b\r\n c\r\n\r\n", .foldedLine),
        .refused("7.1.2: without a lone LF", "0\r\nA: b\n\r\n", .bareLineFeed),
        .refused(
            "7.1.2: too many bytes", "0\r\nA: \(many("b", 17_000))\r\n\r\n", .trailersTooLarge),
        .refused("7.1.2: too many lines", "0\r\n\(many("A: b\r\n", 101))\r\n", .tooManyFields),
    ]

    @Test(arguments: cases)
    func isReadOrRefused(_ testCase: Case) {
        let reading = Reading.of(.request, Self.head + testCase.body)
        #expect(reading.defect == testCase.defect)
        #expect(reading.message?.body == testCase.data.map { Array($0.utf8) })
    }

    @Test func trailersAreKeptOrDropped() throws {
        let body = "0\r\nGrpc-Status: 0\r\nAuthorization: x\r\nX-Forwarded-For: 1.2.3.4\r\nX-Sum:  7 \r\n\r\n"
        let message = try #require(Reading.of(.request, Self.head + body).message)
        #expect(message.trailers == [.init("Grpc-Status", "0"), .init("X-Sum", "7")])
    }

    @Test func bytesMayBeSkippedUnseen() {
        var fields = FieldTable(capacity: 2)
        var reader = HTTP1BodyReader(.chunked)
        let start = Array("5\r\nab".utf8)
        start.withUnsafeBytes {
            #expect(reader.next($0, trailers: &fields) == .data(offset: 3, count: 2))
        }
        #expect(reader.knownRemaining == 3)
        reader.skip(3)
        let rest = Array("\r\n0\r\n\r\nGET".utf8)
        rest.withUnsafeBytes {
            #expect(reader.next($0, trailers: &fields) == .complete(consumed: 7))
        }
        #expect(reader.isComplete)
    }

    @Test func chunksAreWrittenAsTheyAreRead() throws {
        var buffer = [UInt8](repeating: 0, count: 200)
        var written: [UInt8] = []
        for size in [1, 15, 16, 255, 256, 70_000] {
            let count = buffer.withUnsafeMutableBytes { HTTP1ChunkWriter.begin(size, into: $0) }
            written += buffer[..<count]
            written += [UInt8](repeating: 0x61, count: size)
            written += Array("\r\n".utf8)
        }
        var fields = FieldTable(capacity: 4)
        let source = Array("0\r\nX-A: 1\r\nCookie: no\r\nX-B: 2\r\n\r\n".utf8)
        let end = source.withUnsafeBytes { bytes in
            var reader = HTTP1BodyReader(.chunked)
            #expect(reader.next(bytes, trailers: &fields) == .complete(consumed: source.count))
            return buffer.withUnsafeMutableBytes { HTTP1ChunkWriter.finish(fields, in: bytes.baseAddress!, into: $0) }
        }
        written += buffer[..<(try end.get())]
        let message = try #require(Reading.of(.request, [Array(Self.head.utf8) + written]).message)
        #expect(message.body.count == 1 + 15 + 16 + 255 + 256 + 70_000)
        #expect(message.trailers == [.init("X-A", "1"), .init("X-B", "2")])
    }

    @Test func aTrailerCannotInject() {
        func written(_ name: String, _ value: String) -> Result<Int, WriteFailure> {
            var buffer = [UInt8](repeating: 0, count: 100)
            return buffer.withUnsafeMutableBytes { buffer in
                var writer = HTTP1TrailerWriter(buffer)
                Array(name.utf8).withUnsafeBytes { name in
                    Array(value.utf8).withUnsafeBytes { writer.field(named: name, $0) }
                }
                return writer.finish()
            }
        }
        #expect(written("x-a", "1") == .success(13))
        #expect(written("x-a", "1\r\nb: c") == .failure(.unsafeValue))
        #expect(written("x-a\r\nb", "1") == .failure(.unsafeName))
        #expect(written("content-length", "1") == .failure(.unsafeName))
        #expect(written("x-a", many("b", 100)) == .failure(.noRoom))
    }
}

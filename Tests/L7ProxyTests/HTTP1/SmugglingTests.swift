// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import L7Proxy

/// RFC 9112 section 11.2 and the public literature: messages that two parties would end at different places. Each is
/// refused, by the reason given here, however its bytes arrive (``PrefixTests``).
///
/// Sources: Linhart et al., "HTTP Request Smuggling" (2005); Kettle, "HTTP Desync Attacks" (2019), "HTTP/1.1 must die"
/// (2025); Klein, "HTTP Request Smuggling in 2020"; Jabiyev et al., "T-Reqs" (2021); Kallus et al., the HTTP Garden
/// (2024); Berend, "Funky chunks" (2025).
@Suite struct SmugglingTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let text: String
        let expected: MalformedMessage

        /// - Parameter lines: Field lines with their ends, empty line and body included.
        init(_ name: String, _ lines: String, _ expected: MalformedMessage, first: String = "POST / HTTP/1.1\r\n") {
            testDescription = name
            text = first + "Host: a\r\n" + lines
            self.expected = expected
        }
    }

    private static let chunks = "\r\n0\r\n\r\nGET /admin HTTP/1.1\r\nHost: a\r\n\r\n"
    private static let te = "Transfer-Encoding: chunked\r\n"

    /// Two ways of framing in one head.
    private static let twoFramings: [Case] = [
        .init("CL.TE", "Content-Length: 44\r\n\(te)\(chunks)", .transferEncodingWithContentLength),
        .init("TE.CL", "\(te)Content-Length: 4\r\n\r\n5c\r\n", .transferEncodingWithContentLength),
        .init("CL.CL", "Content-Length: 0\r\nContent-Length: 44\r\n\(chunks)", .conflictingContentLength),
        .init("CL.CL in a list", "Content-Length: 0, 44\r\n\(chunks)", .conflictingContentLength),
        .init("CL.CL in capitals", "Content-Length: 0\r\nCONTENT-LENGTH: 44\r\n\(chunks)", .conflictingContentLength),
        .init("CL.0 with a sign", "Content-Length: +44\r\n\(chunks)", .invalidContentLength),
        .init("CL.0 with a minus sign", "Content-Length: -0\r\n\(chunks)", .invalidContentLength),
        .init("CL with a comma", "Content-Length: 44,\r\n\(chunks)", .invalidContentLength),
        .init("CL with NUL", "Content-Length: 44\0\r\n\(chunks)", .controlCharacter),
        .init("CL with a vertical tab", "Content-Length: \u{0b}44\r\n\(chunks)", .controlCharacter),
        .init("CL with a space inside", "Content-Length: 4 4\r\n\(chunks)", .invalidContentLength),
        .init("CL with an overflow", "Content-Length: 18446744073709551660\r\n\(chunks)", .invalidContentLength),
        .init("TE in HTTP/1.0", "\(te)\(chunks)", .transferEncodingInHTTP10, first: "POST / HTTP/1.0\r\n"),
    ]

    private static func hidden(_ name: String, _ lines: String, _ expected: MalformedMessage) -> Case {
        Case(name, "\(lines)Content-Length: 4\r\n\(chunks)", expected)
    }

    private static func chunked(_ name: String, _ body: String, _ expected: MalformedMessage) -> Case {
        Case(name, "\(te)\r\n\(body)", expected)
    }

    /// A coding that one party sees and the other does not.
    private static let hiddenCodings: [Case] = [
        hidden("TE.TE with another", "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", .chunkedNotFinal),
        hidden("TE.TE with identity", "Transfer-Encoding: identity, chunked\r\n", .unknownTransferCoding),
        hidden("TE.TE, identity last", "Transfer-Encoding: chunked, identity\r\n", .chunkedNotFinal),
        hidden("TE.TE twice", "\(te)\(te)", .repeatedChunked),
        hidden("TE with a space before the colon", "Transfer-Encoding : chunked\r\n", .whitespaceBeforeColon),
        hidden("TE with a tab before the colon", "Transfer-Encoding\t: chunked\r\n", .whitespaceBeforeColon),
        hidden("TE with NUL before the colon", "Transfer-Encoding\0: chunked\r\n", .controlCharacter),
        hidden(
            "TE with an underscore and a fold", "Transfer_Encoding: chunked\r\n Transfer-Encoding: chunked\r\n",
            .foldedLine
        ),
        hidden("TE with a vertical tab", "Transfer-Encoding: \u{0b}chunked\r\n", .controlCharacter),
        hidden("TE with a form feed after it", "Transfer-Encoding: chunked\u{0c}\r\n", .controlCharacter),
        hidden("TE with a prefix", "Transfer-Encoding: xchunked\r\n", .chunkedNotFinal),
        hidden("TE with a suffix", "Transfer-Encoding: chunkedx\r\n", .chunkedNotFinal),
        hidden("TE quoted", "Transfer-Encoding: \"chunked\"\r\n", .invalidTransferEncoding),
        hidden("TE in single quotes", "Transfer-Encoding: 'chunked'\r\n", .chunkedNotFinal),
        hidden("TE with a parameter", "Transfer-Encoding: chunked;x=y\r\n", .invalidTransferEncoding),
        hidden("TE folded", "Transfer-Encoding:\r\n chunked\r\n", .invalidTransferEncoding),
        hidden("TE folded by a tab", "Transfer-Encoding: chunked,\r\n\tchunked\r\n", .chunkedNotFinal),
        hidden("TE after a lone LF", "X: y\nTransfer-Encoding: chunked\r\n", .bareLineFeed),
        hidden("TE after a lone CR", "X: y\rTransfer-Encoding: chunked\r\n", .bareCarriageReturn),
        hidden("TE after CR CR LF", "X: y\r\r\nTransfer-Encoding: chunked\r\n", .bareCarriageReturn),
        hidden("TE with an empty element first", "Transfer-Encoding: ,chunked\r\n", .invalidTransferEncoding),
        hidden("TE with an empty element last", "Transfer-Encoding: chunked,\r\n", .chunkedNotFinal),
        hidden("TE without a value", "Transfer-Encoding:\r\n", .invalidTransferEncoding),
        hidden("TE beyond ASCII", "Transfer-Encoding: \u{ff}chunked\r\n", .invalidTransferEncoding),
        hidden("TE with a name beyond ASCII", "Tran\u{17f}fer-Encoding: chunked\r\n", .invalidFieldName),
        hidden("TE with a colon more", "Transfer-Encoding:: chunked\r\n", .invalidTransferEncoding),
        hidden("TE with a space in its name", "Transfer Encoding: chunked\r\n", .invalidFieldName),
        hidden("TE with a colon in front", ": chunked\r\n", .emptyFieldName),
        hidden("TE with CL in a fold", "X: y\r\n Content-Length: 5\r\n\(te)", .foldedLine),
    ]

    /// Chunks that two parties would measure differently.
    private static let chunkMeasures: [Case] = [
        chunked("chunk-ext ended by LF", "2;\nxx\r\n4c\r\n", .bareLineFeed),
        chunked("chunk-ext with a lone CR", "2;a\rb\r\nxx\r\n0\r\n\r\n", .bareCarriageReturn),
        chunked("chunk-ext with LF in quotes", "2;a=\"\n\"\r\nxx\r\n0\r\n\r\n", .bareLineFeed),
        chunked("chunk-ext with CRLF in quotes", "2;a=\"\r\n\"\r\nxx\r\n0\r\n\r\n", .missingChunkEnd),
        chunked("chunk size ended by LF", "2\nxx\r\n0\r\n\r\n", .bareLineFeed),
        chunked("chunk size with CR in front", "\r2\r\nxx\r\n0\r\n\r\n", .invalidChunkSize),
        chunked("chunk size with a space", "2 \r\nxx\r\n0\r\n\r\n", .invalidChunkSize),
        chunked("chunk size with a prefix", "0x2\r\nxx\r\n0\r\n\r\n", .invalidChunkSize),
        chunked("chunk size with a sign", "+2\r\nxx\r\n0\r\n\r\n", .invalidChunkSize),
        chunked("chunk size that overflows 64 bits", "10000000000000002\r\nxx\r\n0\r\n\r\n", .chunkSizeTooLarge),
        chunked("chunk size that overflows 32 bits is a size", "100000002\r\nxx\r\n0\r\n\r\n\0", .incomplete),
        chunked("chunk longer than its size", "2\r\nxxx\r\n0\r\n\r\n", .missingChunkEnd),
        chunked("chunk ended by LF", "2\r\nxx\n0\r\n\r\n", .missingChunkEnd),
        chunked("chunk with two bytes in place of its end", "2\r\nxxYY0\r\n\r\n", .missingChunkEnd),
        chunked("last chunk ended by LF", "0\n\n", .bareLineFeed),
        chunked("trailer section ended by LF", "0\r\n\n", .bareLineFeed),
        chunked("trailer with CL", "0\r\nContent-Length: 50\r\n\r\n", .forbiddenTrailer),
        chunked("trailer with a lone LF", "0\r\nX: y\nZ: 1\r\n\r\n", .bareLineFeed),
    ]

    /// Requests that two parties would route differently, or split into another number of requests.
    private static let routing: [Case] = [
        .init("two hosts", "Host: b\r\n\r\n", .repeatedHost),
        .init("a host and one in a fold", " Host: b\r\n\r\n", .foldedLine),
        .init("a host list", "\r\n", .invalidHost, first: "GET / HTTP/1.1\r\nHost: a, b\r\nX: "),
        .init("space before the colon of Host", "Host : b\r\n\r\n", .whitespaceBeforeColon),
        .init(
            "a request hidden in a version", "\r\n", .invalidRequestLine, first: "GET / HTTP/1.1 GET /x HTTP/1.1 x\r\n"),
        .init("a target with spaces", "\r\n", .invalidTarget, first: "GET /x HTTP/1.1 HTTP/1.1\r\n"),
        .init("a target with a lone CR", "\r\n", .bareCarriageReturn, first: "GET /\rx HTTP/1.1\r\n"),
        .init("a target with NUL", "\r\n", .controlCharacter, first: "GET /\0 HTTP/1.1\r\n"),
        .init(
            "whitespace before the first field", "\r\n", .whitespaceBeforeFirstField,
            first: "GET / HTTP/1.1\r\n X: y\r\n"),
        .init("a NUL in another value", "X: a\0b\r\n\r\n", .controlCharacter),
        .init("a connection option that is no token", "Connection: close\u{a0}\r\n\r\n", .invalidConnection),
        .init("a body of CONNECT", "Content-Length: 5\r\n\r\n", .bodyOfConnect, first: "CONNECT a:1 HTTP/1.1\r\n"),
    ]

    static let inHead: [Case] = twoFramings + hiddenCodings + routing
    static let cases: [Case] = inHead + chunkMeasures

    @Test(arguments: cases)
    func isRefused(_ testCase: Case) {
        let reading = Reading.of(.request, testCase.text)
        #expect(reading == (testCase.expected == .incomplete ? .incomplete : .failed(testCase.expected)))
    }

    /// A contradiction is found in the head, before a byte of the request could have been sent on.
    @Test(arguments: inHead)
    func isRefusedBeforeItsBody(_ testCase: Case) {
        let bytes = Array(testCase.text.utf8)
        var fields = FieldTable(capacity: 20)
        var parser = HTTP1RequestParser()
        #expect(bytes.withUnsafeBytes { parser.parse($0, into: &fields) } == .failed(testCase.expected))
    }
}

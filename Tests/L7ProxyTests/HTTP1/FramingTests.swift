// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import L7Proxy

/// RFC 9112 sections 6 and 8: where a message ends.
@Suite struct FramingTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let kind: Kind
        let head: String
        let framing: BodyFraming?
        let defect: MalformedMessage?
        let isSuspicious: Bool

        static func framed(
            _ rule: String, _ lines: String, _ framing: BodyFraming, method: String = "POST /"
        ) -> Case {
            let head = "\(method) HTTP/1.1\r\nHost: a\r\n\(lines)"
            return Case(
                testDescription: rule, kind: .request, head: head, framing: framing, defect: nil, isSuspicious: false)
        }

        static func refused(
            _ rule: String, _ lines: String, _ defect: MalformedMessage, method: String = "POST /",
            version: String = "1.1"
        ) -> Case {
            let head = "\(method) HTTP/\(version)\r\nHost: a\r\n\(lines)"
            return Case(
                testDescription: rule, kind: .request, head: head, framing: nil, defect: defect, isSuspicious: false)
        }

        static func answer(
            _ rule: String, _ lines: String, _ framing: BodyFraming, status: Int = 200,
            to method: L7Proxy.Method = .get, version: String = "1.1", isSuspicious: Bool = false
        ) -> Case {
            Case(
                testDescription: rule, kind: .response(to: method, expectsUpgrade: status == 101),
                head: "HTTP/\(version) \(status) X\r\n\(lines)", framing: framing, defect: nil,
                isSuspicious: isSuspicious)
        }

        static func refusedAnswer(
            _ rule: String, _ lines: String, _ defect: MalformedMessage, version: String = "1.1"
        ) -> Case {
            Case(
                testDescription: rule, kind: .response(to: .get), head: "HTTP/\(version) 200 X\r\n\(lines)",
                framing: nil, defect: defect, isSuspicious: false)
        }
    }

    private static let te = "Transfer-Encoding: "
    private static let cl = "Content-Length: "

    static let requests: [Case] = [
        .framed("6.3 rule 7: neither field", "", .none),
        .framed("6.3 rule 6: a length", "\(cl)5\r\n", .length(5)),
        .framed("6.3 rule 6: zero", "\(cl)0\r\n", .none),
        .framed("6.3 rule 6: with any method", "\(cl)5\r\n", .length(5), method: "GET /"),
        .framed("RFC 9110 8.6: leading zeros are digits", "\(cl)005\r\n", .length(5)),
        .framed("RFC 9110 8.6: equal values in a list", "\(cl)5, 5\r\n", .length(5)),
        .framed("RFC 9110 8.6: equal values in lines", "\(cl)5\r\ncontent-length:5\r\n", .length(5)),
        .refused("6.3 rule 5: unequal values in a list", "\(cl)5, 6\r\n", .conflictingContentLength),
        .refused("6.3 rule 5: unequal values in lines", "\(cl)5\r\n\(cl)6\r\n", .conflictingContentLength),
        .refused("6.3 rule 5: values written unlike", "\(cl)5, 05\r\n", .conflictingContentLength),
        .refused("6.3 rule 5: an empty list element", "\(cl)5,\r\n", .invalidContentLength),
        .refused("6.3 rule 5: empty", "\(cl)\r\n", .invalidContentLength),
        .refused("6.3 rule 5: a plus sign", "\(cl)+5\r\n", .invalidContentLength),
        .refused("6.3 rule 5: a minus sign", "\(cl)-5\r\n", .invalidContentLength),
        .refused("6.3 rule 5: a minus zero", "\(cl)-0\r\n", .invalidContentLength),
        .refused("6.3 rule 5: whitespace inside", "\(cl)5 5\r\n", .invalidContentLength),
        .refused("6.3 rule 5: hexadecimal", "\(cl)0x5\r\n", .invalidContentLength),
        .refused("6.3 rule 5: digits of another script", "\(cl)\u{0665}\r\n", .invalidContentLength),
        .refused("6.3 rule 5: a fraction", "\(cl)5.0\r\n", .invalidContentLength),
        .refused("6.3 rule 5: an exponent", "\(cl)1e1\r\n", .invalidContentLength),
        .refused("6.3 rule 5: an underscore", "\(cl)1_0\r\n", .invalidContentLength),
        .refused("6.3 rule 5: quoted", "\(cl)\"5\"\r\n", .invalidContentLength),
        .framed("8.6: the largest", "\(cl)9223372036854775807\r\n", .length(9_223_372_036_854_775_807)),
        .refused("8.6: one more", "\(cl)9223372036854775808\r\n", .invalidContentLength),
        .refused("8.6: 2^64 + 5", "\(cl)18446744073709551621\r\n", .invalidContentLength),
        .refused("8.6: many zeros", "\(cl)00000000000000000005\r\n", .invalidContentLength),
        .framed("6.1: chunked", "\(te)chunked\r\n", .chunked),
        .framed("6.1: codings are case-insensitive", "\(te)ChUnKeD\r\n", .chunked),
        .refused("6.1: a coding before chunked is not understood", "\(te)gzip, chunked\r\n", .unknownTransferCoding),
        .refused("6.1: the same in lines", "\(te)gzip\r\n\(te)chunked\r\n", .unknownTransferCoding),
        .refused("6.1: chunked twice", "\(te)chunked, chunked\r\n", .repeatedChunked),
        .refused("6.1: chunked in two lines", "\(te)chunked\r\n\(te)chunked\r\n", .repeatedChunked),
        .refused("6.3 rule 4: chunked not last", "\(te)chunked, gzip\r\n", .chunkedNotFinal),
        .refused("6.3 rule 4: no chunked", "\(te)gzip\r\n", .chunkedNotFinal),
        .refused("6.3 rule 4: identity is no coding any more", "\(te)identity\r\n", .chunkedNotFinal),
        .refused("6.3 rule 4: not quite chunked", "\(te)xchunked\r\n", .chunkedNotFinal),
        .refused("6.1: empty", "\(te)\r\n", .invalidTransferEncoding),
        .refused("6.1: an empty element", "\(te), chunked\r\n", .invalidTransferEncoding),
        .refused("6.1: an empty last element", "\(te)chunked,\r\n", .chunkedNotFinal),
        .refused("7: chunked has no parameters", "\(te)chunked;a=b\r\n", .invalidTransferEncoding),
        .refused("7: nor an empty one", "\(te)chunked;\r\n", .invalidTransferEncoding),
        .refused("6.1: quoted", "\(te)\"chunked\"\r\n", .invalidTransferEncoding),
        .refused("6.1: two words", "\(te)chunked chunked\r\n", .invalidTransferEncoding),
        .refused("6.1: both fields", "\(te)chunked\r\n\(cl)5\r\n", .transferEncodingWithContentLength),
        .refused("6.1: both, the other way round", "\(cl)0\r\n\(te)chunked\r\n", .transferEncodingWithContentLength),
        .refused("6.1: in HTTP/1.0", "\(te)chunked\r\n", .transferEncodingInHTTP10, version: "1.0"),
        .refused(
            "6.1: in HTTP/1.0 with a length", "\(te)chunked\r\n\(cl)5\r\n", .transferEncodingInHTTP10,
            version: "1.0"),
        .refused("RFC 9110 9.3.6: CONNECT has no body", "\(cl)5\r\n", .bodyOfConnect, method: "CONNECT a:1"),
        .refused("RFC 9110 9.3.6: nor chunks", "\(te)chunked\r\n", .bodyOfConnect, method: "CONNECT a:1"),
    ]

    static let responses: [Case] = [
        .answer("6.3 rule 8: until close", "", .untilClose),
        .answer("6.3 rule 6: a length", "\(cl)5\r\n", .length(5)),
        .answer("6.3 rule 4: chunked", "\(te)chunked\r\n", .chunked),
        .answer("6.3 rule 1: HEAD", "\(cl)5\r\n", .none, to: .head),
        .answer("6.3 rule 1: HEAD and chunked", "\(te)chunked\r\n", .none, to: .head),
        .answer("6.3 rule 1: 304", "\(cl)5\r\n", .none, status: 304),
        .answer("6.3 rule 1: 204", "", .none, status: 204),
        .answer("6.1: 204 with chunks", "\(te)chunked\r\n", .none, status: 204, isSuspicious: true),
        .answer("RFC 9110 8.6: 204 with a length", "\(cl)5\r\n", .none, status: 204, isSuspicious: true),
        .answer("RFC 9110 8.6: 204 with 0 is harmless", "\(cl)0\r\n", .none, status: 204),
        .answer("6.3 rule 1: 100", "", .none, status: 100),
        .answer("6.1: 103 with chunks", "\(te)chunked\r\n", .none, status: 103, isSuspicious: true),
        .answer("6.3 rule 1: 101", "", .tunnel, status: 101),
        .answer("6.3 rule 2: 2xx to CONNECT", "", .tunnel, to: .connect),
        .answer("6.3 rule 2: with a length", "\(cl)5\r\n", .tunnel, to: .connect, isSuspicious: true),
        .answer("6.3 rule 2: 4xx to CONNECT has a body", "\(cl)5\r\n", .length(5), status: 403, to: .connect),
        .answer("6.3 rule 3: chunked wins", "\(te)chunked\r\n\(cl)5\r\n", .chunked, isSuspicious: true),
        .refusedAnswer("6.3 rule 5: unequal lengths", "\(cl)5, 6\r\n", .conflictingContentLength),
        .refusedAnswer("6.3 rule 5: an invalid length", "\(cl)+5\r\n", .invalidContentLength),
        .refusedAnswer("6.1: an unknown coding", "\(te)gzip, chunked\r\n", .unknownTransferCoding),
        .refusedAnswer("6.1: an unknown coding until close", "\(te)gzip\r\n", .unknownTransferCoding),
        .refusedAnswer("6.1: in HTTP/1.0", "\(te)chunked\r\n", .transferEncodingInHTTP10, version: "1.0"),
        .answer("6.3: HTTP/1.0 without fields", "", .untilClose, version: "1.0"),
    ]

    @Test(arguments: requests + responses)
    func framing(_ testCase: Case) {
        let text = Array((testCase.head + "\r\n").utf8)
        var fields = FieldTable(capacity: 20)
        let (progress, framing, options) = text.withUnsafeBytes { bytes -> (HeadProgress, BodyFraming, HeadOptions) in
            if case .response(let method, let expectsUpgrade) = testCase.kind {
                var parser = HTTP1ResponseParser(for: method, expectsUpgrade: expectsUpgrade)
                let progress = parser.parse(bytes, into: &fields)
                return (progress, parser.head.framing, parser.head.options)
            }
            var parser = HTTP1RequestParser()
            let progress = parser.parse(bytes, into: &fields)
            return (progress, parser.head.framing, parser.head.options)
        }
        if let defect = testCase.defect {
            #expect(progress == .failed(defect))
        } else {
            #expect(progress == .complete(length: text.count))
            #expect(framing == testCase.framing)
            #expect(options.contains(.suspiciousFraming) == testCase.isSuspicious)
        }
    }

    @Test func aBodyThatEndsEarlyIsNotWhole() {
        let request = "POST / HTTP/1.1\r\nHost: a\r\n"
        #expect(Reading.of(.request, request + "Content-Length: 5\r\n\r\nabcd") == .incomplete)
        #expect(Reading.of(.request, request + "Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n") == .incomplete)
        #expect(Reading.of(.request, request + "Transfer-Encoding: chunked\r\n\r\n0\r\n") == .incomplete)
        #expect(Reading.of(.response(to: .get), "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcd") == .incomplete)
        #expect(Reading.of(.response(to: .get), "HTTP/1.1 200 OK\r\n\r\nabcd").message?.body == Array("abcd".utf8))
    }

    @Test func whatFollowsAMessageIsLeft() throws {
        let first = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde"
        let message = try #require(Reading.of(.request, first + "GET /2 HTTP/1.1\r\n").message)
        #expect(message.body == Array("abcde".utf8))
        #expect(message.length == first.utf8.count)
    }
}

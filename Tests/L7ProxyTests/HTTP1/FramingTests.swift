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

        init(_ rule: String, _ lines: String, _ framing: BodyFraming, method: String, version: String = "1.1") {
            self.init(rule, .request, "\(method) HTTP/\(version)\r\nHost: a\r\n" + lines, framing, nil)
        }

        init(
            _ rule: String, _ lines: String, _ defect: MalformedMessage, method: String = "POST /",
            version: String = "1.1"
        ) {
            self.init(rule, .request, "\(method) HTTP/\(version)\r\nHost: a\r\n" + lines, nil, defect)
        }

        init(
            _ rule: String, _ kind: Kind, _ head: String, _ framing: BodyFraming?, _ defect: MalformedMessage? = nil,
            isSuspicious: Bool = false
        ) {
            testDescription = rule
            self.kind = kind
            self.head = head
            self.framing = framing
            self.defect = defect
            self.isSuspicious = isSuspicious
        }
    }

    private static let te = "Transfer-Encoding: "
    private static let cl = "Content-Length: "

    static let requests: [Case] = [
        .init("6.3 rule 7: neither field", "", BodyFraming.none, method: "POST /"),
        .init("6.3 rule 6: a length", cl + "5\r\n", .length(5), method: "POST /"),
        .init("6.3 rule 6: zero", cl + "0\r\n", BodyFraming.none, method: "POST /"),
        .init("6.3 rule 6: with any method", cl + "5\r\n", .length(5), method: "GET /"),
        .init("RFC 9110 8.6: leading zeros are digits", cl + "005\r\n", .length(5), method: "POST /"),
        .init("RFC 9110 8.6: equal values in a list", cl + "5, 5\r\n", .length(5), method: "POST /"),
        .init("RFC 9110 8.6: equal values in lines", cl + "5\r\ncontent-length:5\r\n", .length(5), method: "POST /"),
        .init("6.3 rule 5: unequal values in a list", cl + "5, 6\r\n", .conflictingContentLength),
        .init("6.3 rule 5: unequal values in lines", cl + "5\r\n" + cl + "6\r\n", .conflictingContentLength),
        .init("6.3 rule 5: values written unlike", cl + "5, 05\r\n", .conflictingContentLength),
        .init("6.3 rule 5: an empty list element", cl + "5,\r\n", .invalidContentLength),
        .init("6.3 rule 5: empty", cl + "\r\n", .invalidContentLength),
        .init("6.3 rule 5: a plus sign", cl + "+5\r\n", .invalidContentLength),
        .init("6.3 rule 5: a minus sign", cl + "-5\r\n", .invalidContentLength),
        .init("6.3 rule 5: a minus zero", cl + "-0\r\n", .invalidContentLength),
        .init("6.3 rule 5: whitespace inside", cl + "5 5\r\n", .invalidContentLength),
        .init("6.3 rule 5: hexadecimal", cl + "0x5\r\n", .invalidContentLength),
        .init("6.3 rule 5: digits of another script", cl + "\u{0665}\r\n", .invalidContentLength),
        .init("6.3 rule 5: a fraction", cl + "5.0\r\n", .invalidContentLength),
        .init("6.3 rule 5: an exponent", cl + "1e1\r\n", .invalidContentLength),
        .init("6.3 rule 5: an underscore", cl + "1_0\r\n", .invalidContentLength),
        .init("6.3 rule 5: quoted", cl + "\"5\"\r\n", .invalidContentLength),
        .init("8.6: the largest", cl + "9223372036854775807\r\n", .length(9_223_372_036_854_775_807), method: "POST /"),
        .init("8.6: one more", cl + "9223372036854775808\r\n", .invalidContentLength),
        .init("8.6: 2^64 + 5", cl + "18446744073709551621\r\n", .invalidContentLength),
        .init("8.6: many zeros", cl + "00000000000000000005\r\n", .invalidContentLength),
        .init("6.1: chunked", te + "chunked\r\n", .chunked, method: "POST /"),
        .init("6.1: codings are case-insensitive", te + "ChUnKeD\r\n", .chunked, method: "POST /"),
        .init("6.1: a coding before chunked is not understood", te + "gzip, chunked\r\n", .unknownTransferCoding),
        .init("6.1: the same in lines", te + "gzip\r\n" + te + "chunked\r\n", .unknownTransferCoding),
        .init("6.1: chunked twice", te + "chunked, chunked\r\n", .repeatedChunked),
        .init("6.1: chunked in two lines", te + "chunked\r\n" + te + "chunked\r\n", .repeatedChunked),
        .init("6.3 rule 4: chunked not last", te + "chunked, gzip\r\n", .chunkedNotFinal),
        .init("6.3 rule 4: no chunked", te + "gzip\r\n", .chunkedNotFinal),
        .init("6.3 rule 4: identity is no coding any more", te + "identity\r\n", .chunkedNotFinal),
        .init("6.3 rule 4: not quite chunked", te + "xchunked\r\n", .chunkedNotFinal),
        .init("6.1: empty", te + "\r\n", .invalidTransferEncoding),
        .init("6.1: an empty element", te + ", chunked\r\n", .invalidTransferEncoding),
        .init("6.1: an empty last element", te + "chunked,\r\n", .chunkedNotFinal),
        .init("7: chunked has no parameters", te + "chunked;a=b\r\n", .invalidTransferEncoding),
        .init("7: nor an empty one", te + "chunked;\r\n", .invalidTransferEncoding),
        .init("6.1: quoted", te + "\"chunked\"\r\n", .invalidTransferEncoding),
        .init("6.1: two words", te + "chunked chunked\r\n", .invalidTransferEncoding),
        .init("6.1: both fields", te + "chunked\r\n" + cl + "5\r\n", .transferEncodingWithContentLength),
        .init("6.1: both, the other way round", cl + "0\r\n" + te + "chunked\r\n", .transferEncodingWithContentLength),
        .init("6.1: in HTTP/1.0", te + "chunked\r\n", .transferEncodingInHTTP10, version: "1.0"),
        .init(
            "6.1: in HTTP/1.0 with a length", te + "chunked\r\n" + cl + "5\r\n", .transferEncodingInHTTP10,
            version: "1.0"),
        .init("RFC 9110 9.3.6: CONNECT has no body", cl + "5\r\n", .bodyOfConnect, method: "CONNECT a:1"),
        .init("RFC 9110 9.3.6: nor chunks", te + "chunked\r\n", .bodyOfConnect, method: "CONNECT a:1"),
    ]

    private static func answer(
        _ rule: String, _ lines: String, _ framing: BodyFraming?, _ defect: MalformedMessage? = nil, status: Int = 200,
        to method: L7Proxy.Method = .get, version: String = "1.1", isSuspicious: Bool = false
    ) -> Case {
        Case(
            rule, .response(to: method, expectsUpgrade: status == 101), "HTTP/\(version) \(status) X\r\n" + lines,
            framing, defect, isSuspicious: isSuspicious)
    }

    static let responses: [Case] = [
        answer("6.3 rule 8: until close", "", .untilClose),
        answer("6.3 rule 6: a length", cl + "5\r\n", .length(5)),
        answer("6.3 rule 4: chunked", te + "chunked\r\n", .chunked),
        answer("6.3 rule 1: HEAD", cl + "5\r\n", BodyFraming.none, to: .head),
        answer("6.3 rule 1: HEAD and chunked", te + "chunked\r\n", BodyFraming.none, to: .head),
        answer("6.3 rule 1: 304", cl + "5\r\n", BodyFraming.none, status: 304),
        answer("6.3 rule 1: 204", "", BodyFraming.none, status: 204),
        answer("6.1: 204 with chunks", te + "chunked\r\n", BodyFraming.none, status: 204, isSuspicious: true),
        answer("RFC 9110 8.6: 204 with a length", cl + "5\r\n", BodyFraming.none, status: 204, isSuspicious: true),
        answer("RFC 9110 8.6: 204 with 0 is harmless", cl + "0\r\n", BodyFraming.none, status: 204),
        answer("6.3 rule 1: 100", "", BodyFraming.none, status: 100),
        answer("6.1: 103 with chunks", te + "chunked\r\n", BodyFraming.none, status: 103, isSuspicious: true),
        answer("6.3 rule 1: 101", "", .tunnel, status: 101),
        answer("6.3 rule 2: 2xx to CONNECT", "", .tunnel, to: .connect),
        answer("6.3 rule 2: with a length", cl + "5\r\n", .tunnel, to: .connect, isSuspicious: true),
        answer("6.3 rule 2: 4xx to CONNECT has a body", cl + "5\r\n", .length(5), status: 403, to: .connect),
        answer("6.3 rule 3: chunked wins", te + "chunked\r\n" + cl + "5\r\n", .chunked, isSuspicious: true),
        answer("6.3 rule 5: unequal lengths", cl + "5, 6\r\n", nil, .conflictingContentLength),
        answer("6.3 rule 5: an invalid length", cl + "+5\r\n", nil, .invalidContentLength),
        answer("6.1: an unknown coding", te + "gzip, chunked\r\n", nil, .unknownTransferCoding),
        answer("6.1: an unknown coding until close", te + "gzip\r\n", nil, .unknownTransferCoding),
        answer("6.1: in HTTP/1.0", te + "chunked\r\n", nil, .transferEncodingInHTTP10, version: "1.0"),
        answer("6.3: HTTP/1.0 without fields", "", .untilClose, version: "1.0"),
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

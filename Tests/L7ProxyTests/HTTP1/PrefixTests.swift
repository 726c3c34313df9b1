// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import L7Proxy

/// What is read does not depend on how the bytes arrive: byte by byte, and in two pieces at every place.
@Suite struct PrefixTests {
    static let request = """
        POST http://x:1/a/b?c=%41&d HTTP/1.1\r
        host: h\r
        Connection: keep-alive, x-drop, TE\r
        TE: trailers\r
        X-Drop:1\r
        Expect: 100-continue\r
        Transfer-Encoding: chunked\r
        X-Long-Enough-For-A-Vector: 0123456789abcdef0123456789abcdef\r
        \r
        5;ext=1\r
        hello\r
        0b\r
        hello world\r
        0\r
        X-Sum: 1\r
        Cookie: 2\r
        \r

        """

    static let response = """
        HTTP/1.1 200 Fine indeed\r
        Content-Length : 11\r
        Server: s\r
        \r
        hello world
        """

    /// Every text whose verdict the other suites know: the same verdict must come at every split.
    static let refusals: [(kind: Kind, text: String)] = {
        var all: [(kind: Kind, text: String)] = []
        for table in [RequestLineTests.lines, RequestLineTests.targets, RequestLineTests.hosts, FieldTests.cases] {
            for testCase in table { all.append((.request, testCase.text)) }
        }
        for testCase in ChunkedTests.cases { all.append((.request, "\(ChunkedTests.head)\(testCase.body)")) }
        for testCase in FramingTests.requests { all.append((testCase.kind, "\(testCase.head)\r\n")) }
        for testCase in FramingTests.responses { all.append((testCase.kind, "\(testCase.head)\r\n")) }
        for testCase in SmugglingTests.cases { all.append((.request, testCase.text)) }
        return all
    }()

    @Test func wholeMessagesAreWhatTheyAre() throws {
        let message = try #require(Reading.of(.request, Self.request).message)
        #expect(message.body == Array("hellohello world".utf8))
        #expect(message.trailers == [.init("X-Sum", "1")])
        #expect(message.options.isSuperset(of: [.nominatesFields, .acceptsTrailers, .expectContinue, .hasQuery]))
        #expect(message.length == Self.request.utf8.count)
        let answer = try #require(Reading.of(.response(to: .get), Self.response).message)
        #expect(answer.first == ["200", "Fine indeed"])
        #expect(answer.fields.first == .init("Content-Length", "11"))
    }

    @Test(arguments: [(Kind.request, request), (.response(to: .get), response)])
    func everyPrefixIsIncompleteAndEverySplitReadsAlike(_ kind: Kind, _ text: String) {
        let bytes = Array(text.utf8)
        let whole = Reading.of(kind, [bytes])
        #expect(whole.message != nil)
        for count in 0..<bytes.count {
            #expect(Reading.of(kind, [Array(bytes[..<count])]) == .incomplete, "\(count) bytes")
            let halves = Reading.of(kind, [Array(bytes[..<count]), Array(bytes[count...])])
            #expect(halves == whole, "split at \(count)")
        }
        #expect(Reading.of(kind, bytes.map { [$0] }) == whole)
    }

    @Test func everyKnownTextReadsAlikeAtEverySplit() {
        for (kind, text) in Self.refusals {
            let bytes = Array(text.utf8)
            let whole = Reading.of(kind, [bytes])
            // Long ones repeat one byte: their places are sampled.
            let step = max(1, bytes.count / 400)
            for count in stride(from: 0, through: bytes.count, by: step) {
                let halves = Reading.of(kind, [Array(bytes[..<count]), Array(bytes[count...])])
                #expect(halves == whole, "split at \(count): \(text.prefix(200).debugDescription)")
            }
            if bytes.count < 1000 {
                #expect(Reading.of(kind, bytes.map { [$0] }) == whole, "\(text.debugDescription)")
            }
        }
    }

    @Test func aFailureIsFinal() {
        var fields = FieldTable(capacity: 4)
        var parser = HTTP1RequestParser()
        let text = Array("GET / HTTP/1.1\nHost: a\r\n\r\n".utf8)
        text.withUnsafeBytes {
            #expect(parser.parse($0, into: &fields) == .failed(.bareLineFeed))
            #expect(parser.parse($0, into: &fields) == .failed(.bareLineFeed))
        }
        parser.reset()
        #expect(parser.parse(UnsafeRawBufferPointer(start: nil, count: 0), into: &fields) == .incomplete)
    }

    @Test func aParserServesManyRequests() {
        let one = "GET /1 HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\n"
        let two = "GET /2 HTTP/1.1\r\nHost: bb\r\n\r\n"
        let text = Array((one + two).utf8)
        var fields = FieldTable(capacity: 4)
        var parser = HTTP1RequestParser()
        text.withUnsafeBytes { bytes in
            #expect(parser.parse(bytes, into: &fields) == .complete(length: one.utf8.count))
            #expect(fields.count == 2)
            parser.reset()
            let rest = UnsafeRawBufferPointer(rebasing: bytes[one.utf8.count...])
            #expect(parser.parse(rest, into: &fields) == .complete(length: two.utf8.count))
            #expect(fields.count == 1)
            #expect(parser.head.authority.length == 2)
        }
    }
}

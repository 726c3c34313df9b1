// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import L7Proxy

/// RFC 9110 sections 7.6.1, 7.8 and 10.1: the fields of the connection. RFC 9112 section 4: the status line.
@Suite struct ConnectionFieldTests {
    private func options(_ lines: String, version: String = "1.1") -> HeadOptions? {
        Reading.of(.request, "GET / HTTP/\(version)\r\nHost: a\r\n\(lines)\r\n").message?.options
    }

    private func defect(_ lines: String) -> MalformedMessage? {
        Reading.of(.request, "GET / HTTP/1.1\r\nHost: a\r\n\(lines)\r\n").defect
    }

    @Test func optionsOfTheConnection() {
        #expect(options("Connection: close\r\n") == [.close])
        #expect(options("Connection: Keep-Alive\r\n") == [.keepAlive])
        #expect(options("Connection: a, ,CLOSE\r\n") == [.close, .nominatesFields])
        #expect(options("Connection: close-notify\r\n") == [.nominatesFields])
        #expect(options("Connection:\r\n") == [])
        #expect(options("connection: x\r\nConnection: close\r\n") == [.close, .nominatesFields])
        #expect(options("Proxy-Connection: close\r\n") == [])
    }

    @Test func malformedOptionsAreRefused() {
        #expect(defect("Connection: a b\r\n") == .invalidConnection)
        #expect(defect("Connection: \"close\"\r\n") == .invalidConnection)
        #expect(defect("Connection: close;q=1\r\n") == .invalidConnection)
        #expect(defect("Connection: " + many("a,", 31) + "a\r\n") == nil)
        #expect(defect("Connection: " + many("a,", 32) + "a\r\n") == .tooManyConnectionOptions)
        #expect(defect(many("Connection: a\r\n", 33)) == .tooManyConnectionOptions)
    }

    @Test func anUpgradeNeedsBothFieldsAndHTTP11() {
        let isUpgrade = { (lines: String, version: String) in options(lines, version: version)?.contains(.upgrade) }
        #expect(isUpgrade("Connection: Upgrade\r\nUpgrade: websocket\r\n", "1.1") == true)
        #expect(isUpgrade("Upgrade: websocket\r\nConnection: keep-alive, upgrade\r\n", "1.1") == true)
        #expect(isUpgrade("Upgrade: websocket\r\n", "1.1") == false)
        #expect(isUpgrade("Connection: upgrade\r\n", "1.1") == false)
        #expect(isUpgrade("Connection: Upgrade\r\nUpgrade: websocket\r\n", "1.0") == false)
    }

    @Test func anExpectationIsIgnoredInHTTP10() {
        #expect(options("Expect: 100-Continue\r\n") == [.expectContinue])
        #expect(options("Expect: 100-continue\r\n", version: "1.0") == [])
        #expect(options("Expect: 200-ok\r\n") == [])
    }

    @Test func trailersAreAskedForByTE() {
        #expect(options("TE: trailers\r\n") == [.acceptsTrailers])
        #expect(options("TE: gzip;q=0.5, Trailers\r\n") == [.acceptsTrailers])
        #expect(options("TE: gzip\r\n") == [])
    }

    struct StatusCase: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let line: String
        let expected: [String]?
        let defect: MalformedMessage?

        init(_ rule: String, _ line: String, _ expected: [String]? = nil, _ defect: MalformedMessage? = nil) {
            (testDescription, self.line, self.expected, self.defect) = (rule, line, expected, defect)
        }
    }

    static let statusLines: [StatusCase] = [
        .init("4: a status line", "HTTP/1.1 200 OK", ["200", "OK"]),
        .init("4: an empty reason", "HTTP/1.1 204 ", ["204", ""]),
        .init("4: no reason and no space", "HTTP/1.1 204", ["204", ""]),
        .init("4: a reason with spaces and tabs", "HTTP/1.1 200 a\tb ", ["200", "a\tb "]),
        .init("4: HTTP/1.0", "HTTP/1.0 200 OK", ["200", "OK"]),
        .init("4: two spaces before the code", "HTTP/1.1  200 OK", nil, .invalidStatusLine),
        .init("4: no space before the code", "HTTP/1.1200 OK", nil, .invalidStatusLine),
        .init("4: two digits", "HTTP/1.1 20 OK", nil, .invalidStatusLine),
        .init("4: four digits", "HTTP/1.1 2000 OK", nil, .invalidStatusLine),
        .init("4: no digits", "HTTP/1.1 2x0 OK", nil, .invalidStatusLine),
        .init("RFC 9110 15: below 100", "HTTP/1.1 099 OK", nil, .invalidStatusLine),
        .init("RFC 9110 15: above 599", "HTTP/1.1 600 OK", nil, .invalidStatusLine),
        .init("2.3: another version", "HTTP/2.0 200 OK", nil, .unsupportedVersion),
        .init("2.3: no HTTP", "ICY 200 OK ok", nil, .invalidStatusLine),
        .init("2.3: not quite HTTP", "http/1.1 200 OK", nil, .invalidVersion),
        .init("2.2: no empty line before a response", "\r\nHTTP/1.1 200 OK", nil, .invalidStatusLine),
        .init("2.2: no control character in a reason", "HTTP/1.1 200 O\0K", nil, .controlCharacter),
        .init("2.2: no lone CR", "HTTP/1.1 200 O\rK", nil, .bareCarriageReturn),
        .init("RFC 9110 15.2.2: 101 that nobody asked for", "HTTP/1.1 101 X", nil, .unexpectedSwitchingProtocols),
        .init("5.2: a fold", "HTTP/1.1 200 OK\r\nA: b\r\n c", nil, .foldedLine),
        .init("5.1: whitespace in a name", "HTTP/1.1 200 OK\r\nA b: c", nil, .invalidFieldName),
        .init("RFC 6585 5: a large head", "HTTP/1.1 200 \(many("a", 70_000))", nil, .headTooLarge),
    ]

    @Test(arguments: statusLines)
    func statusLine(_ testCase: StatusCase) {
        let text = testCase.line + "\r\nContent-Length: 0\r\n\r\n"
        let reading = Reading.of(.response(to: .get), text)
        #expect(reading.message?.first == testCase.expected)
        #expect(reading.defect == testCase.defect)
    }

    /// RFC 9112 section 5.1: a proxy removes whitespace before the colon from a response.
    @Test func whitespaceBeforeTheColonOfAResponseIsRemoved() {
        let message = Reading.of(.response(to: .get), "HTTP/1.1 200 OK\r\nContent-Length \t: 2\r\nX : y\r\n\r\nab")
            .message
        #expect(message?.fields == [.init("Content-Length", "2"), .init("X", "y")])
        #expect(message?.body == Array("ab".utf8))
        #expect(
            Reading.of(.response(to: .get), "HTTP/1.1 200 OK\r\n : y\r\n\r\n").defect == .whitespaceBeforeFirstField)
    }

    @Test func interimResponsesPrecedeTheFinalOneAndAreBounded() {
        var fields = FieldTable(capacity: 4)
        var parser = HTTP1ResponseParser(for: .get)
        let interim = Array("HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n".utf8)
        interim.withUnsafeBytes { bytes in
            for _ in 0..<16 {
                #expect(parser.parse(bytes, into: &fields) == .complete(length: interim.count))
                #expect(parser.head.isInterim)
                parser.resetAfterInterim()
            }
            #expect(parser.parse(bytes, into: &fields) == .failed(.tooManyInterimResponses))
        }
        parser.reset(for: .head)
        let final = Array("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".utf8)
        final.withUnsafeBytes { bytes in
            #expect(parser.parse(bytes, into: &fields) == .complete(length: final.count))
        }
        #expect(parser.head.framing == BodyFraming.none)
        #expect(parser.head.contentLength == 5)
    }
}

// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import L7Proxy

/// RFC 9112 sections 2 and 3: the request line, its target, and `Host`.
@Suite struct RequestLineTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let text: String
        let expected: MalformedMessage?

        init(_ rule: String, _ text: String, _ expected: MalformedMessage? = nil) {
            testDescription = rule
            self.text = text
            self.expected = expected
        }
    }

    private static let host = "\r\nHost: a\r\n\r\n"

    static let lines: [Case] = [
        .init("2.2: one empty line before a request is ignored", "\r\nGET / HTTP/1.1\(host)"),
        .init("2.2: two are not", "\r\n\r\nGET / HTTP/1.1\(host)", .tooManyEmptyLines),
        .init("2.2: a lone LF ends no line", "GET / HTTP/1.1\nHost: a\n\n", .bareLineFeed),
        .init("2.2: a lone CR is invalid", "GET / HTTP/1.1\rHost: a\r\n\r\n", .bareCarriageReturn),
        .init("2.2: a TLS handshake is no request", "\u{16}\u{03}\u{01}\u{02}", .controlCharacter),
        .init("2.3: the version is case-sensitive", "GET / http/1.1\(host)", .invalidVersion),
        .init("2.3: one digit, dot, one digit", "GET / HTTP/1.10\(host)", .invalidRequestLine),
        .init("2.3: another major version", "GET / HTTP/2.0\(host)", .unsupportedVersion),
        .init("RFC 9113 3.4: the HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", .unsupportedVersion),
        .init("RFC 9110 2.5: a higher minor version is 1.1", "GET / HTTP/1.7\(host)"),
        .init("3: HTTP/0.9", "GET /\r\n\r\n", .invalidRequestLine),
        .init("3: no version but a space", "GET / \r\n\r\n", .invalidRequestLine),
        .init("3: two spaces before the target", "GET  / HTTP/1.1\(host)", .invalidTarget),
        .init("3: two spaces after the target", "GET /  HTTP/1.1\(host)", .invalidTarget),
        .init("3: a tab is no space", "GET\t/ HTTP/1.1\(host)", .invalidMethod),
        .init("3: a space at the end", "GET / HTTP/1.1 \(host)", .invalidRequestLine),
        .init("3: a space at the start", " GET / HTTP/1.1\(host)", .invalidMethod),
        .init("3.1: a method is a token", "GE(T / HTTP/1.1\(host)", .invalidMethod),
        .init("3.1: any token is a method", "M-SEARCH / HTTP/1.1\(host)"),
        .init("3.1: only a method", "GET\r\n\r\n", .invalidRequestLine),
        .init(
            "3: a long method is not implemented", "\(many("A", 33)) / HTTP/1.1\(host)",
            .methodTooLong),
        .init("3: the longest method", "\(many("A", 32)) / HTTP/1.1\(host)"),
        .init("3: the longest target", "GET /\(many("a", 8191)) HTTP/1.1\(host)"),
        .init("3: one byte more", "GET /\(many("a", 8192)) HTTP/1.1\(host)", .targetTooLong),
        .init("3: far more", "GET /\(many("a", 20000)) HTTP/1.1\(host)", .targetTooLong),
        .init("3: a line that is all method", many("A", 20000), .methodTooLong),
    ]

    static let targets: [Case] = [
        .init("3.2: no fragment", "GET /a#b HTTP/1.1\(host)", .invalidTarget),
        .init("3.2: no space", "GET /a b HTTP/1.1\(host)", .invalidTarget),
        .init("3.2: nothing beyond ASCII", "GET /\u{e9} HTTP/1.1\(host)", .invalidTarget),
        .init("3.2: no quotation mark", "GET /\" HTTP/1.1\(host)", .invalidTarget),
        .init("3.2: no backslash in the path", "GET /a\\b HTTP/1.1\(host)", .invalidTarget),
        .init("3.2: a backslash in the query", "GET /a?\\b HTTP/1.1\(host)"),
        .init("3.2.1: a percent sign needs two digits", "GET /%4 HTTP/1.1\(host)", .invalidTarget),
        .init("3.2.1: hexadecimal ones", "GET /%4g HTTP/1.1\(host)", .invalidTarget),
        .init("3.2.1: an escape", "GET /%4f HTTP/1.1\(host)"),
        .init("3.2.1: in a query it may stand alone", "GET /?100% HTTP/1.1\(host)"),
        .init("3.2.1: what browsers leave unescaped", "GET /[a]|{b}^`?x[]=1|2 HTTP/1.1\(host)"),
        .init("3.2.1: a path begins with a slash", "GET a HTTP/1.1\(host)", .invalidTarget),
        .init("3.2.1: a query alone is no path", "GET ?a HTTP/1.1\(host)", .invalidTarget),
        .init("3.2.2: absolute form", "GET http://b/c HTTP/1.1\(host)"),
        .init("3.2.2: its scheme in any case", "GET HTTP://b HTTP/1.1\(host)"),
        .init("3.2.2: another scheme", "GET ftp://b/ HTTP/1.1\(host)", .invalidTarget),
        .init("RFC 9110 4.2.1: an empty host", "GET http:///c HTTP/1.1\(host)", .invalidTarget),
        .init("RFC 9110 4.2.4: user information", "GET http://u:p@b/ HTTP/1.1\(host)", .invalidTarget),
        .init("3.2.2: a fragment", "GET http://b/#c HTTP/1.1\(host)", .invalidTarget),
        .init("3.2.3: authority form with CONNECT", "CONNECT b:443 HTTP/1.1\(host)"),
        .init("3.2.3: it needs a port", "CONNECT b HTTP/1.1\(host)", .targetFormNotAllowed),
        .init("3.2.3: an empty port is none", "CONNECT b: HTTP/1.1\(host)", .targetFormNotAllowed),
        .init("3.2.3: no other form with CONNECT", "CONNECT / HTTP/1.1\(host)", .targetFormNotAllowed),
        .init("3.2.3: no authority form without CONNECT", "GET b:80 HTTP/1.1\(host)", .invalidTarget),
        .init("3.2.4: asterisk form with OPTIONS", "OPTIONS * HTTP/1.1\(host)"),
        .init("3.2.4: without OPTIONS", "GET * HTTP/1.1\(host)", .targetFormNotAllowed),
        .init("3.2.4: more than an asterisk", "OPTIONS ** HTTP/1.1\(host)", .invalidTarget),
    ]

    static let hosts: [Case] = [
        .init("3.2: missing", "GET / HTTP/1.1\r\n\r\n", .missingHost),
        .init("3.2: missing with absolute form", "GET http://a/ HTTP/1.1\r\n\r\n", .missingHost),
        .init("3.2: may be missing in HTTP/1.0", "GET / HTTP/1.0\r\n\r\n"),
        .init("3.2: twice", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", .repeatedHost),
        .init("3.2: twice the same", "GET / HTTP/1.1\r\nHost: a\r\nhOST: a\r\n\r\n", .repeatedHost),
        .init("3.2: twice in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", .repeatedHost),
        .init("3.2: empty", "GET / HTTP/1.1\r\nHost:\r\n\r\n"),
        .init("3.2: a list", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", .invalidHost),
        .init("3.2: a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", .invalidHost),
        .init("3.2: user information", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", .invalidHost),
        .init("3.2: a URI", "GET / HTTP/1.1\r\nHost: http://a\r\n\r\n", .invalidHost),
        .init("3.2: beyond ASCII", "GET / HTTP/1.1\r\nHost: \u{e9}\r\n\r\n", .invalidHost),
        .init("3.2: a port", "GET / HTTP/1.1\r\nHost: a:65535\r\n\r\n"),
        .init("3.2: an empty port", "GET / HTTP/1.1\r\nHost: a:\r\n\r\n"),
        .init("3.2: too large a port", "GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", .invalidHost),
        .init("3.2: no port number", "GET / HTTP/1.1\r\nHost: a:8o\r\n\r\n", .invalidHost),
        .init("3.2: a signed port", "GET / HTTP/1.1\r\nHost: a:+80\r\n\r\n", .invalidHost),
        .init("3.2: a port alone", "GET / HTTP/1.1\r\nHost: :80\r\n\r\n", .invalidHost),
        .init("RFC 3986 3.2.2: IPv6", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n"),
        .init("RFC 3986 3.2.2: IPv6 with IPv4", "GET / HTTP/1.1\r\nHost: [::ffff:10.0.0.1]\r\n\r\n"),
        .init("RFC 3986 3.2.2: eight groups", "GET / HTTP/1.1\r\nHost: [1:2:3:4:5:6:7:8]\r\n\r\n"),
        .init("RFC 3986 3.2.2: nine groups", "GET / HTTP/1.1\r\nHost: [1:2:3:4:5:6:7:8:9]\r\n\r\n", .invalidHost),
        .init("RFC 3986 3.2.2: two gaps", "GET / HTTP/1.1\r\nHost: [1::2::3]\r\n\r\n", .invalidHost),
        .init("RFC 3986 3.2.2: not closed", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", .invalidHost),
        .init("RFC 3986 3.2.2: text after it", "GET / HTTP/1.1\r\nHost: [::1]a\r\n\r\n", .invalidHost),
        .init("RFC 3986 3.2.2: a zone", "GET / HTTP/1.1\r\nHost: [fe80::1%25eth0]\r\n\r\n", .invalidHost),
        .init("RFC 3986 2.1: an escape", "GET / HTTP/1.1\r\nHost: a%2eb\r\n\r\n"),
        .init("RFC 3986 2.1: half an escape", "GET / HTTP/1.1\r\nHost: a%2\r\n\r\n", .invalidHost),
    ]

    @Test(arguments: lines + targets + hosts)
    func isReadOrRefused(_ testCase: Case) {
        let reading = Reading.of(.request, testCase.text)
        #expect(reading.defect == testCase.expected)
        #expect((reading.message != nil) == (testCase.expected == nil), "\(reading)")
    }

    @Test func targetsAreTakenApart() throws {
        func parts(_ line: String) throws -> [String] {
            let message = try #require(Reading.of(.request, line + " HTTP/1.1\r\nHost: h:8\r\n\r\n").message)
            return Array(message.first[2...]) + [message.authority]
        }
        #expect(try parts("GET /a/b?c?d") == ["/a/b", "c?d", "h:8"])
        #expect(try parts("GET /?") == ["/", "", "h:8"])
        #expect(try parts("GET http://x:1/a?b") == ["/a", "b", "x:1"])
        #expect(try parts("GET https://x?b") == ["", "b", "x"])
        #expect(try parts("OPTIONS http://x") == ["", "", "x"])
        #expect(try parts("OPTIONS *") == ["*", "", "h:8"])
        #expect(try parts("CONNECT [::1]:443") == ["", "", "[::1]:443"])
    }

    @Test func methodsAreCaseSensitive() {
        let names: [(String, L7Proxy.Method)] = [
            ("GET", .get), ("HEAD", .head), ("POST", .post), ("PUT", .put), ("DELETE", .delete), ("CONNECT", .connect),
            ("OPTIONS", .options), ("TRACE", .trace), ("PATCH", .patch), ("get", .other), ("GETS", .other),
            ("CONNECS", .other), ("OPTIONs", .other), ("P", .other), ("PU", .other),
        ]
        for (name, method) in names {
            Array(name.utf8).withUnsafeBytes { #expect(Method($0.baseAddress!, $0.count) == method, "\(name)") }
        }
    }

    @Test func aRefusalSaysWhichStatusAnswersIt() {
        #expect(MalformedMessage.targetTooLong.requestStatus == 414)
        #expect(MalformedMessage.headTooLarge.requestStatus == 431)
        #expect(MalformedMessage.tooManyFields.requestStatus == 431)
        #expect(MalformedMessage.methodTooLong.requestStatus == 501)
        #expect(MalformedMessage.unknownTransferCoding.requestStatus == 501)
        #expect(MalformedMessage.unsupportedVersion.requestStatus == 505)
        #expect(MalformedMessage.transferEncodingWithContentLength.requestStatus == 400)
    }
}

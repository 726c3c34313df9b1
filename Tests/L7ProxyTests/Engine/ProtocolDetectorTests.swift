// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import L7Proxy

/// What a connection's first bytes say.
@Suite struct ProtocolDetectorTests {
    private typealias Verdict = ProtocolDetector.Verdict

    private static func verdict(_ bytes: some Sequence<UInt8>) -> Verdict {
        Array(bytes).withUnsafeBytes { ProtocolDetector.verdict(on: $0) }
    }

    /// A begin, what it is, and after how many bytes that is known.
    struct Case: Sendable, CustomTestStringConvertible {
        let bytes: [UInt8]
        let verdict: ProtocolDetector.Verdict
        let known: Int
        var testDescription: String { String(decoding: bytes, as: UTF8.self).debugDescription }

        init(_ text: String, _ verdict: ProtocolDetector.Verdict, _ known: Int) {
            (bytes, self.verdict, self.known) = (Array(text.utf8), verdict, known)
        }

        init(_ bytes: [UInt8], _ verdict: ProtocolDetector.Verdict, _ known: Int) {
            (self.bytes, self.verdict, self.known) = (bytes, verdict, known)
        }
    }

    private static let longToken = String(repeating: "M", count: 32)

    static let cases: [Case] = [
        Case("", .undecided, 0),
        // HTTP/1 (RFC 9112 sections 2.2, 3 and 3.2).
        Case("GET / HTTP/1.1\r\n", .http, 5), Case("POST /a HTTP/1.0\r\n", .http, 6),
        Case("OPTIONS * HTTP/1.1\r\n", .http, 9), Case("get / HTTP/1.1\r\n", .http, 5),
        Case("PROPFIND /x HTTP/1.1\r\n", .http, 10), Case("M-SEARCH * HTTP/1.1\r\n", .http, 10),
        Case("\(longToken) / HTTP/1.1\r\n", .http, 34), Case("\r\nGET / HTTP/1.1\r\n", .http, 7),
        Case("\nGET / HTTP/1.1\r\n", .http, 6), Case("GET http://web/ HTTP/1.1\r\n", .http, 11),
        Case("GET HTTPS://web/ HTTP/1.1\r\n", .http, 12), Case("CONNECT web:80 HTTP/1.1\r\n", .http, 9),
        Case("CONNECT [::1]:80 HTTP/1.1\r\n", .http, 9), Case("GET /", .http, 5),
        Case("\r\n\(longToken) https://x", .http, ProtocolDetector.longest),
        // HTTP/2 (RFC 9113 section 3.4).
        Case("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", .http, 5),
        // TLS (RFC 8446 section 5.1).
        Case([22, 3, 1, 2, 0, 1, 0, 1, 252], .tls, 6), Case([22, 3, 3, 0, 4, 1, 0, 0, 0], .tls, 6),
        Case([22, 3, 4, 64, 0, 1], .tls, 6), Case([22, 2, 1, 2, 0, 1], .other, 2),
        Case([22, 3, 5, 2, 0, 1], .other, 3), Case([22, 3, 1, 0, 3, 1], .other, 5),
        Case([22, 3, 1, 64, 1, 1], .other, 5), Case([22, 3, 1, 0, 64, 2], .other, 6),
        Case([22, 3, 1, 0, 64], .undecided, 0),
        Case([21, 3, 1, 0, 2, 2], .other, 1), Case([128, 46, 1, 3, 1], .other, 1),
        // Anything else, also what is like HTTP.
        Case("SSH-2.0-OpenSSH_9.7\r\n", .other, 20), Case("EHLO mail.example.org\r\n", .other, 6),
        Case("GET key\r\n", .other, 5), Case("GET  / HTTP/1.1\r\n", .other, 5), Case("GET\t/ HTTP/1.1\r\n", .other, 4),
        Case(" GET / HTTP/1.1\r\n", .other, 1), Case("\r\n\r\nGET / HTTP/1.1\r\n", .other, 3),
        Case("\rGET / HTTP/1.1\r\n", .other, 2), Case("GET\r\n", .other, 4), Case("GET ftp://x/", .other, 5),
        Case("GET httpx://x/", .other, 9), Case("GET http:/x", .other, 11),
        Case("\(longToken)M / HTTP/1.1", .other, 33),
        Case("CONNECT {\"verbose\":true}\r\n", .other, 9), Case("CONNECT\naccept-version:1.2\n", .other, 8),
        Case("*1\r\n$4\r\nPING\r\n", .other, 3), Case([0, 0, 0, 8, 4, 210, 22, 47], .other, 1),
        Case([74, 0, 0, 0, 10], .other, 2), Case("PING", .undecided, 0), Case("GET http", .undecided, 0),
        Case("\r\n", .undecided, 0), Case("GET ", .undecided, 0), Case(longToken, .undecided, 0),
    ]

    @Test(arguments: cases) func isTold(_ one: Case) { #expect(Self.verdict(one.bytes) == one.verdict) }

    /// Every prefix is undecided until it is known, and is told the same from then on.
    @Test(arguments: cases) func isToldAsSoonAsItIsKnown(_ one: Case) {
        for length in 0...one.bytes.count {
            let isKnown = one.verdict != .undecided && length >= one.known
            #expect(Self.verdict(one.bytes[..<length]) == (isKnown ? one.verdict : .undecided), "\(length) bytes")
        }
    }

    /// No request that the parser takes passes for anything else; and after ``ProtocolDetector/longest`` bytes all is known.
    @Test func everyRequestIsHTTP() {
        var random = SeededGenerator(seed: 9)
        let parts: [[String]] = [
            ["", "", "", "\r\n", "\n", "\r", " "],
            [
                "GET", "POST", "OPTIONS", "CONNECT", "PRI", "get", "X-1", "!#$%&'*+-.^_`|~", Self.longToken,
                "\(Self.longToken)x",
                "",
            ],
            [" ", " ", " ", "\t", "  ", ""],
            [
                "/", "/a?b", "*", "http://web", "HTTPS://web/", "https://[::1]:1/", "web:80", "[::1]:80", "%41:1",
                "key", "{",
            ],
            [" HTTP/1.1\r\nHost: web\r\n\r\n", " HTTP/1.0\r\n\r\n", " HTTP/2.0\r\n\r\nSM\r\n\r\n", "\r\n"],
        ]
        var accepted = 0
        for _ in 0..<5000 {
            let bytes = parts.flatMap { Array(($0.randomElement(using: &random) ?? "").utf8) }
            var fields = FieldTable(capacity: 8)
            var parser = HTTP1RequestParser()
            let progress = bytes.withUnsafeBytes { parser.parse($0, into: &fields) }
            let verdict = Self.verdict(bytes)
            if bytes.count >= ProtocolDetector.longest { #expect(verdict != .undecided, "\(bytes)") }
            guard case .complete = progress else { continue }
            accepted += 1
            #expect(verdict == .http, "\(String(decoding: bytes, as: UTF8.self))")
        }
        #expect(accepted > 150)
    }
}

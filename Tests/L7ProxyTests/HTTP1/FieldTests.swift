// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import L7Proxy

/// RFC 9112 section 5 and RFC 9110 section 5: field lines, their limits, and the names that are known.
@Suite struct FieldTests {
    typealias Case = RequestLineTests.Case

    private static func request(_ lines: String) -> String { "GET / HTTP/1.1\r\nHost: a\r\n" + lines + "\r\n" }

    static let cases: [Case] = [
        .init("5.1: no whitespace before the colon", request("A : b\r\n"), .whitespaceBeforeColon),
        .init("5.1: nor before that of a known name", request("Content-Length : 1\r\n"), .whitespaceBeforeColon),
        .init("5.1: no tab", request("A\t: b\r\n"), .whitespaceBeforeColon),
        .init("5.1: no whitespace in a name", request("A b: c\r\n"), .invalidFieldName),
        .init("5.1: an empty name", request(": b\r\n"), .emptyFieldName),
        .init("5.1: no colon", request("Ab\r\n"), .missingColon),
        .init("RFC 9110 5.1: a name is a token", request("A(: b\r\n"), .invalidFieldName),
        .init("RFC 9110 5.1: ASCII only", request("\u{e9}: b\r\n"), .invalidFieldName),
        .init("RFC 9110 5.1: every tchar", request("!#$%&'*+-.^_`|~9aZ: b\r\n")),
        .init("5.2: a fold", request("A: b\r\n c\r\n"), .foldedLine),
        .init("5.2: a fold by tab", request("A: b\r\n\tc\r\n"), .foldedLine),
        .init("5.2: a fold that looks like a field", request("A: b\r\n C: d\r\n"), .foldedLine),
        .init(
            "2.2: whitespace before the first field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", .whitespaceBeforeFirstField),
        .init("2.2: a lone LF", request("A: b\nC: d\r\n"), .bareLineFeed),
        .init("2.2: a lone CR in a value", request("A: b\rc\r\n"), .bareCarriageReturn),
        .init("2.2: CR CR LF", request("A: b\r\r\n"), .bareCarriageReturn),
        .init("2.2: LF CR", request("A: b\n\r"), .bareLineFeed),
        .init("RFC 9110 5.5: NUL in a value", request("A: b\0c\r\n"), .controlCharacter),
        .init("RFC 9110 5.5: NUL in a name", request("A\0: b\r\n"), .controlCharacter),
        .init("RFC 9110 5.5: vertical tab", request("A: \u{0b}b\r\n"), .controlCharacter),
        .init("RFC 9110 5.5: form feed", request("A: b\u{0c}\r\n"), .controlCharacter),
        .init("RFC 9110 5.5: backspace", request("A: b\u{08}c\r\n"), .controlCharacter),
        .init("RFC 9110 5.5: DEL", request("A: b\u{7f}\r\n"), .controlCharacter),
        .init("RFC 9110 5.5: tabs and obs-text are values", request("A: b\tc\u{e9}\r\n")),
        .init("RFC 9110 5.5: an empty value", request("A:\r\nB: \r\nC:\t \r\n")),
        .init("RFC 6585 5: the longest name", request("\(many("a", 256)): b\r\n")),
        .init("RFC 6585 5: one byte more", request("\(many("a", 257)): b\r\n"), .fieldNameTooLong),
        .init(
            "RFC 6585 5: too many bytes", request("A: \(many("b", 70_000))\r\n"), .headTooLarge
        ),
        .init("RFC 6585 5: too many lines", request(many("A: b\r\n", 100)), .tooManyFields),
        .init("RFC 6585 5: as many as may be", request(many("A: b\r\n", 99))),
    ]

    @Test(arguments: cases)
    func isReadOrRefused(_ testCase: Case) {
        let reading = Reading.of(.request, testCase.text)
        #expect(reading.defect == testCase.expected)
        #expect((reading.message != nil) == (testCase.expected == nil), "\(reading)")
    }

    @Test func controlCharactersAreRefusedWhereverTheyAre() {
        for control in (UInt8(0)..<0x20).filter({ $0 != 0x09 }) + [0x7f] {
            // Every place of a line of 40 bytes, so that every lane of a vector and the rest are covered.
            for place in 0..<40 {
                var line = Array("X-Name: 0123456789abcdef0123456789abcdef".utf8)
                line[place] = control
                var text = Array("GET / HTTP/1.1\r\nHost: a\r\n".utf8)
                text += line
                text += Array("\r\n\r\n".utf8)
                let reading = Reading.of(.request, [text])
                #expect(reading.message == nil, "byte \(control) at \(place)")
            }
        }
    }

    @Test func whitespaceAroundAValueIsNotPartOfIt() throws {
        let message = try #require(Reading.of(.request, Self.request("A: \t b c\t \r\nB:d\r\n")).message)
        #expect(message.fields == [.init("Host", "a"), .init("A", "b c"), .init("B", "d")])
    }

    @Test func linesOfOneNameKeepTheirOrder() throws {
        let message = try #require(Reading.of(.request, Self.request("A: 1\r\nB: 2\r\na: 3\r\n")).message)
        #expect(message.fields.dropFirst() == [.init("A", "1"), .init("B", "2"), .init("a", "3")])
    }

    @Test func theHeadMayBeExactlyAsLargeAsItsLimit() {
        var limits = HTTP1Limits()
        let text = Self.request("A: b\r\n")
        limits.headBytes = UInt32(text.utf8.count)
        #expect(Reading.of(.request, text, limits: limits).message != nil)
        limits.headBytes -= 1
        #expect(Reading.of(.request, text, limits: limits) == .failed(.headTooLarge))
    }

    @Test func everyKnownNameIsRecognisedInAnyCaseAndNothingElse() {
        func recognised(_ text: String) -> FieldName {
            Array(text.utf8).withUnsafeBytes { FieldNameIndex.shared.recognise($0.baseAddress!, $0.count) }
        }
        for name in FieldName.allCases where name != .other {
            let text = name.text.description
            #expect(recognised(text) == name)
            #expect(recognised(text.uppercased()) == name)
            #expect(recognised(text + "x") == .other)
            #expect(recognised("x" + text) == .other)
            for place in text.indices {
                var changed = text
                changed.replaceSubrange(place...place, with: "_")
                #expect(recognised(changed) == .other, "\(changed)")
            }
        }
        #expect(recognised("a") == .other)
        #expect(recognised(many("a", 300)) == .other)
    }

    @Test func aTableFindsAndDropsByName() throws {
        let text = Array(Self.request("X-A: 1\r\nCookie: c\r\nx-a: 2\r\n").utf8)
        var fields = FieldTable(capacity: 10)
        var parser = HTTP1RequestParser()
        text.withUnsafeBytes { bytes in
            #expect(parser.parse(bytes, into: &fields) == .complete(length: text.count))
            let base = bytes.baseAddress!
            let name = Array("x-A".utf8)
            name.withUnsafeBytes {
                #expect(fields.first(named: $0, in: base) == 1)
                fields.drop(1)
                #expect(fields.first(named: $0, in: base) == 3)
                #expect(fields.first(named: $0, in: base, from: 4) == nil)
            }
            #expect(fields.first(.cookie) == 2)
            #expect(fields.drop(.cookie) == 1)
            #expect(fields.first(.cookie) == nil)
        }
    }
}

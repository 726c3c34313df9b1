// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import MeshAdmin

@Suite struct LineFramerTests {
    static let stream = Array("{\"a\":1}\n\n{\"bc\":[2,3]}\nx\n".utf8)
    static let lines = ["{\"a\":1}", "", "{\"bc\":[2,3]}", "x"]

    private static func take(_ framer: inout LineFramer) throws -> [String] {
        var lines: [String] = []
        while let line = try framer.next() { lines.append(String(decoding: line, as: UTF8.self)) }
        return lines
    }

    /// Wherever the stream is cut into two reads, the lines are the same, and none comes before its newline.
    @Test func everyPrefixGivesTheLinesThatAreComplete() throws {
        for cut in 0...Self.stream.count {
            var framer = LineFramer(limit: 64)
            framer.append(Self.stream[..<cut])
            let before = try Self.take(&framer)
            #expect(before.count == Self.stream[..<cut].count { $0 == UInt8(ascii: "\n") }, "\(cut) bytes")
            framer.append(Self.stream[cut...])
            #expect(before + (try Self.take(&framer)) == Self.lines, "\(cut) bytes")
            #expect(framer.pending == 0)
        }
    }

    @Test func byteByByteGivesTheSameLines() throws {
        var framer = LineFramer(limit: 64)
        var lines: [String] = []
        for byte in Self.stream {
            framer.append([byte])
            lines += try Self.take(&framer)
        }
        #expect(lines == Self.lines)
    }

    @Test func aLineOfExactlyTheLimitIsTaken() throws {
        var framer = LineFramer(limit: 4)
        framer.append(Array("abcd\n".utf8))
        #expect(try Self.take(&framer) == ["abcd"])
    }

    @Test(arguments: ["abcde\n", "abcde", "ab\nabcde"])
    func aLongerLineIsRefusedAsSoonAsItIsCertain(text: String) {
        var framer = LineFramer(limit: 4)
        framer.append(Array(text.utf8))
        #expect(throws: LineFramer.LineTooLong(limit: 4)) { _ = try Self.take(&framer) }
    }

    /// What was taken is freed: a long-lived connection does not grow.
    @Test func takenLinesAreNotKept() throws {
        var framer = LineFramer(limit: 1024)
        let chunk = Array((String(repeating: "x", count: 1000) + "\n").utf8)
        for _ in 0..<1000 {
            framer.append(chunk)
            #expect(try Self.take(&framer).count == 1)
        }
        #expect(framer.heldBytes < 128 * 1024)
    }
}

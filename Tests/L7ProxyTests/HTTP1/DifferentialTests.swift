// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import L7Proxy

/// Many thousands of generated and damaged messages are read by us and by h11, a Python parser; whatever we accept, it
/// must read alike. `Differential/h11_compare.py` compares, and lists the differences that are meant.
@Suite struct DifferentialTests {
    private struct Record: Encodable {
        var kind: String
        var input: String
        var ours: Ours
    }

    private struct Ours: Encodable {
        var verdict: String
        var reason = ""
        var first: [String] = []
        var minor: UInt8 = 1
        var fields: [[String]] = []
        var body = ""
        var trailers: [[String]] = []
        var length = 0
    }

    private struct Summary: Decodable {
        var classes: [String: Int]
        var differences: [String]
    }

    private static let python = ProcessInfo.processInfo.environment["PYTHON"] ?? "/usr/bin/python3"

    /// Whether h11 is installed; `make test-root` does not take no for an answer.
    private static let canRun =
        getenv("MESH_REQUIRE_ROOT") != nil || (try? run([python, "-c", "import h11"]))?.status == 0

    @Test(.enabled(if: canRun, "needs python3-h11: scripts/bootstrap.sh --test"))
    func whatWeAcceptAnotherParserReadsAlike() throws {
        var generator = MessageGenerator(seed: 3)
        let encoder = JSONEncoder()
        var lines = Data()
        for index in 0..<30_000 {
            let isRequest = index % 3 != 0
            let text = isRequest ? generator.request() : generator.response()
            let input = generator.chance(40) ? Array(text.utf8) : generator.damaged(text)
            lines += try encoder.encode(Self.record(isRequest: isRequest, input)) + Data("\n".utf8)
        }
        for testCase in SmugglingTests.cases {
            lines += try encoder.encode(Self.record(isRequest: true, Array(testCase.text.utf8))) + Data("\n".utf8)
        }
        let summary = try Self.compare(lines)
        #expect(summary.differences.isEmpty, "\(summary.differences.joined(separator: "\n"))")
        // The comparison is worth something only if it compares: most of what is not damaged is accepted.
        #expect(summary.classes["alike", default: 0] > 8000, "\(summary.classes)")
        #expect(summary.classes["ours is stricter", default: 0] > 500, "\(summary.classes)")
        print("h11:", summary.classes.sorted { $0.key < $1.key })
    }

    /// The comparison itself can fail: a reading with one field, body or end changed is reported.
    @Test(.enabled(if: canRun, "needs python3-h11: scripts/bootstrap.sh --test"))
    func aWrongReadingIsNoticed() throws {
        let input = Array("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhiGET".utf8)
        let right = Self.record(isRequest: true, input)
        var wrong = [right, right, right, right]
        wrong[0].ours.fields[0][1] = "b"
        wrong[1].ours.body = Self.hexadecimal([0x68])
        wrong[2].ours.length -= 1
        wrong[3].ours.first[1] = "/b"
        var lines = Data()
        for record in [right] + wrong { lines += try JSONEncoder().encode(record) + Data("\n".utf8) }
        let summary = try Self.compare(lines)
        #expect(summary.classes["alike"] == 1)
        #expect(summary.differences.count == wrong.count)
    }

    private static func compare(_ lines: Data) throws -> Summary {
        let name = "sockmesh-h11-\(getpid())-\(UInt32.random(in: 0...UInt32.max)).jsonl"
        let file = FileManager.default.temporaryDirectory.appendingPathComponent(name)
        try lines.write(to: file)
        defer { try? FileManager.default.removeItem(at: file) }
        let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("Differential/h11_compare.py").path
        let (status, output) = try run([python, script, file.path])
        try #require(status == 0, "\(String(decoding: output, as: UTF8.self))")
        return try JSONDecoder().decode(Summary.self, from: output)
    }

    private static func record(isRequest: Bool, _ input: [UInt8]) -> Record {
        let kind = isRequest ? Kind.request : .response(to: .get)
        var ours: Ours
        switch Reading.of(kind, [input]) {
        case .incomplete: ours = Ours(verdict: "incomplete")
        case .failed(let defect): ours = Ours(verdict: "failed", reason: "\(defect)")
        case .complete(let message):
            ours = Ours(verdict: "complete")
            ours.first = Array(message.first[..<2])
            ours.minor = message.minorVersion
            ours.fields = message.fields.map { [$0.name, $0.value] }
            ours.body = hexadecimal(message.body)
            ours.trailers = message.trailers.map { [$0.name, $0.value] }
            ours.length = message.length
        }
        return Record(kind: isRequest ? "request" : "response", input: hexadecimal(input), ours: ours)
    }

    private static func hexadecimal(_ bytes: [UInt8]) -> String {
        let digits = Array("0123456789abcdef".utf8)
        return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }

    private static func run(_ command: [String]) throws -> (status: Int32, output: Data) {
        let process = Process()
        let pipe = Pipe()
        process.executableURL = URL(fileURLWithPath: command[0])
        process.arguments = Array(command.dropFirst())
        process.standardOutput = pipe
        try process.run()
        let output = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return (process.terminationStatus, output)
    }
}

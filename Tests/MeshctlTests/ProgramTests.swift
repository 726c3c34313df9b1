// SPDX-License-Identifier: Apache-2.0

import AdminTestSupport
import Foundation
import Glibc
import MeshAdmin
import Testing

@testable import meshctl

/// The program under test.
enum Program {
    /// Beside the test bundle, where the build puts both.
    static func path() throws -> String {
        var buffer = [CChar](repeating: 0, count: 4096)
        let count = readlink("/proc/self/exe", &buffer, buffer.count - 1)
        try #require(count > 0)
        let path = String(decoding: buffer.prefix(count).map(UInt8.init(bitPattern:)), as: UTF8.self)
        return "\(path[..<(try #require(path.lastIndex(of: "/")))])/meshctl"
    }
}

/// The built program against a fake agent: exit codes and what goes to which output.
@Suite(.serialized, .timeLimit(.minutes(1))) struct ProgramTests {
    private static func run(_ words: String..., input: String = "") throws -> (status: Int32, output: String) {
        try Shell.run([try Program.path()] + words, input: input)
    }

    @Test func answersExitWithZero() throws {
        let agent = try FakeAgent()
        for words in [
            ["status"], ["status", "--wait", "--timeout", "5s"], ["workloads"], ["services"], ["flows"],
            ["policy", "get"], ["policy", "explain", "a/b", "c/d:1"],
            ["policy", "explain", "a/b", "c/d:1", "GET", "/x?y", "-H", "a: b", "-H", "Host: c"],
            ["policy", "rollback"],
            ["policy", "rollback", "--list"], ["policy", "delete", "netpol", "a/b"], ["version"],
        ] {
            for format in ["table", "json", "yaml"] {
                let (status, output) = try Shell.run(
                    [try Program.path(), "--socket", agent.socket] + words + ["-o", format])
                #expect(status == 0, "\(words) \(format): \(output)")
                #expect(!output.isEmpty || words == ["policy", "get"])
                if format == "json" {
                    #expect(throws: Never.self, "\(words): \(output)") {
                        try JSONDecoder().decode(Anything.self, from: Data(output.utf8))
                    }
                }
            }
        }
        _ = try agent.stop()
    }

    @Test func applyReadsStandardInputAndSaysWhatChanged() throws {
        let agent = try FakeAgent()
        let (status, output) = try Self.run(
            "policy", "apply", "-f", "-", "--socket", agent.socket, input: "kind: NetworkPolicy\n")
        #expect(status == 0)
        #expect(output == "created  NetworkPolicy shop/deny-all\nenforced as generation 8, after 1.3ms\n")
        let bad = try Self.run("policy", "apply", "-f", "-", "--socket", agent.socket, input: "bad")
        #expect(bad.status == 5)
        #expect(bad.output == "meshctl: 1 of 1 documents is refused\n  a.yaml:1: error: not a policy\n")
        _ = try agent.stop()
    }

    @Test func everyFailureHasItsExitCode() throws {
        let agent = try FakeAgent(reasons: ["never"])
        let socket = ["--socket", agent.socket]
        let cases: [(words: [String], status: Int32)] = [
            (["connections"] + socket, 1),
            (["dance"], 2),
            (["policy", "get", "Pod"] + socket, 2),
            (["status", "--socket", "/nowhere/n1.sock"], 3),
            (["policy", "apply", "-f", "/nowhere.yaml"] + socket, 5),
            (["policy", "explain", "a/b", "c/d:1", "--exit-code"] + socket, 6),
            (["status", "--wait", "--timeout", "200ms"] + socket, 7),
            (["status", "--wait", "--timeout", "200ms", "--socket", "/nowhere/n1.sock"], 3),
            (["policy", "get", "netpol", "a/b"] + socket, 8),
        ]
        for entry in cases {
            let (status, output) = try Shell.run([try Program.path()] + entry.words)
            #expect(status == entry.status, "\(entry.words): \(output)")
            #expect(!output.isEmpty)
        }
        _ = try agent.stop()
    }

    @Test func aFollowedEventIsOneLineOfJSON() throws {
        let agent = try FakeAgent()
        let reader = """
            import subprocess, sys
            follower = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE)
            sys.stdout.buffer.write(b"".join(follower.stdout.readline() for _ in range(5)))
            follower.kill()
            """
        let (status, output) = try Shell.run([
            "/usr/bin/python3", "-c", reader, try Program.path(), "flows", "--follow", "--last", "3", "-o", "json",
            "--socket", agent.socket,
        ])
        #expect(status == 0)
        let lines = output.split(separator: "\n")
        #expect(lines.count == 5)
        for line in lines {
            #expect(throws: Never.self) { try JSONDecoder().decode(FlowEvent.self, from: Data(line.utf8)) }
        }
        #expect(try agent.join().cancelled == 1)
    }

    @Test func helpAndCompletionAreNoFailures() throws {
        for words in [
            ["--help"], ["policy", "apply", "--help"], ["--version"], ["--generate-completion-script", "bash"],
        ] {
            let (status, output) = try Shell.run([try Program.path()] + words)
            #expect(status == 0, "\(words)")
            #expect(!output.isEmpty)
        }
    }

    /// Every exit code is explained, and no other is.
    @Test func theDocumentHasEveryExitCode() throws {
        let source = #filePath
        let root = source[..<(try #require(source.range(of: "/Tests/MeshctlTests/")).lowerBound)]
        let document = String(
            decoding: try Data(contentsOf: URL(filePath: "\(root)/docs/errors.md")), as: UTF8.self)
        for status in ExitStatus.allCases {
            #expect(
                document.contains("| \(status.rawValue) |") || document.contains("| \(status.rawValue), ")
                    || document.contains(", \(status.rawValue) |"), "\(status)")
        }
        for code in AdminError.Code.allCases {
            #expect(document.contains("| `\(code.rawValue)` | \(ExitStatus(code).rawValue) |"), "\(code)")
        }
    }
}

/// Any JSON value.
private struct Anything: Decodable {
    init(from decoder: any Decoder) throws {
        if let object = try? decoder.container(keyedBy: Key.self) {
            for key in object.allKeys { _ = try object.decode(Anything.self, forKey: key) }
        } else if var array = try? decoder.unkeyedContainer() {
            while !array.isAtEnd { _ = try array.decode(Anything.self) }
        } else {
            let value = try decoder.singleValueContainer()
            guard
                (try? value.decode(String.self)) != nil || (try? value.decode(Double.self)) != nil
                    || (try? value.decode(Bool.self)) != nil || value.decodeNil()
            else { throw DecodingError.dataCorruptedError(in: value, debugDescription: "no JSON value") }
        }
    }

    private struct Key: CodingKey {
        let stringValue: String
        let intValue: Int? = nil
        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }
}

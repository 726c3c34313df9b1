// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import MeshAdmin
import Testing

@testable import meshctl

@Suite struct GlobalOptionWordsTests {
    @Test(
        arguments: [
            (["status"], ["status"]),
            (["--socket", "S", "status", "--wait"], ["status", "--socket", "S", "--wait"]),
            (["policy", "--socket", "S", "apply", "-f", "x"], ["policy", "apply", "--socket", "S", "-f", "x"]),
            (["--node=n1", "policy", "-o", "json", "get"], ["policy", "get", "--node=n1", "-o", "json"]),
            (["status", "--socket", "S"], ["status", "--socket", "S"]),
            (["run", "--pod", "a/b", "--", "--socket", "x"], ["run", "--pod", "a/b", "--", "--socket", "x"]),
            (["--help"], ["--help"]), (["--socket"], ["--socket"]), ([], []),
            (["nonsense", "--socket", "S"], ["nonsense", "--socket", "S"]),
        ] as [([String], [String])])
    func moveBehindTheCommand(words: [String], expected: [String]) {
        #expect(GlobalOptionWords.afterCommand(words, root: Meshctl.self) == expected)
    }

    @Test func theCommandUnderstandsThem() throws {
        let words = ["--socket", "/s", "policy", "-o", "yaml", "get", "netpol"]
        let command = try Meshctl.parseAsRoot(GlobalOptionWords.afterCommand(words, root: Meshctl.self))
        let get = try #require(command as? PolicyGet)
        #expect(get.agent.path == "/s")
        #expect(get.output.output == .yaml)
        #expect(get.kind == "netpol")
    }
}

@Suite struct CommandLineTests {
    @Test(arguments: [
        ["status", "--timeout", "3s"], ["flows", "--last", "-1"], ["flows", "--from", "A B"],
        ["flows", "--verdict", "x"],
        ["policy", "apply"], ["policy", "explain", "a/b", "c/d"],
        ["policy", "explain", "a/b", "c/d:1", "GET"], ["policy", "explain", "a/b", "c/d:1", "-H", "a: b"],
        ["policy", "rollback", "--list", "--to", "3"],
        ["run", "--pod", "a/b"], ["run", "--pod", "a/b", "ls"], ["status", "--socket", "a", "--node", "b"],
        ["uninstall", "--check", "--purge"], ["connections", "--limit", "0"], ["status", "-o", "xml"], ["dance"],
        ["ca", "rotate", "--use", "--intermediate"], ["ca", "rotate", "--force"],
        ["status", "--wait", "--timeout", "soon"], ["metrics", "x", "--raw"], ["metrics", "--raw", "-o", "json"],
    ])
    func whatMakesNoSenseIsAUsageError(words: [String]) {
        let error = #expect(throws: (any Error).self) { _ = try Meshctl.parseAsRoot(words) }
        if let error { #expect(Meshctl.exitCode(for: error) == .validationFailure) }
    }

    @Test func everyCommandOfTheContractExists() throws {
        let names = Meshctl.configuration.subcommands.compactMap { $0.configuration.commandName }
        #expect(
            names == [
                "check", "status", "workloads", "services", "routes", "policy", "connections", "flows", "metrics",
                "identity", "ca", "run", "uninstall", "version",
            ])
        let policy = Policy.configuration.subcommands.compactMap { $0.configuration.commandName }
        #expect(policy == ["apply", "get", "delete", "diff", "rollback", "explain"])
        let authority = Authority.configuration.subcommands.compactMap { $0.configuration.commandName }
        #expect(authority == ["init", "show", "rotate", "revoke", "serve", "token"])
    }

    @Test func everythingAfterTheDashesBelongsToTheCommand() throws {
        let run = try #require(
            try Meshctl.parseAsRoot(["run", "--pod", "a/b", "--", "nginx", "-g", "x", "--", "--help"]) as? Run)
        #expect(run.command == ["nginx", "-g", "x", "--", "--help"])
    }
}

@Suite struct FlowTargetTests {
    @Test(arguments: [
        ("shop/db:5432", "shop/db", 5432, "TCP"), ("shop/dns:53/udp", "shop/dns", 53, "UDP"),
        ("shop/dns:53/UDP", "shop/dns", 53, "UDP"), ("10.0.0.1:80/tcp", "10.0.0.1", 80, "TCP"),
        ("[fd00::1]:80", "fd00::1", 80, "TCP"), ("service/shop/db:1/udp", "service/shop/db", 1, "UDP"),
    ])
    func isRead(text: String, destination: String, port: Int, proto: String) throws {
        let target = try FlowTarget(text)
        #expect(target.destination == destination)
        #expect(Int(target.port) == port)
        #expect(target.protocol == proto)
    }

    @Test(arguments: [
        ("shop/db", "it has no port"), ("shop/db:", "'' is not a port"), ("shop/db:0", "'0' is not a port"),
        ("shop/db:65536", "is not a port"), ("shop/db:http", "'http' is not a port"),
        ("shop/db:1/sctp", "'sctp' is neither"), ("fd00::1:80", "needs brackets"), (":80", "nothing is before"),
        ("a:1/udp/tcp", "is neither"),
    ])
    func theWrongPartIsNamed(text: String, expected: String) {
        let error = #expect(throws: AdminError.self) { try FlowTarget(text) }
        #expect(error?.message.contains(expected) == true, "\(error?.message ?? "")")
    }
}

@Suite struct WaitLimitTests {
    @Test(arguments: [("30", 30), ("30s", 30), ("500ms", 0.5), ("2m", 120), ("1.5h", 5400)])
    func isRead(text: String, seconds: Double) throws {
        #expect(abs(try WaitLimit(text).seconds - seconds) < 1e-9)
    }

    @Test(arguments: ["", "s", "0", "-1s", "soon", "1d", "inf", "nan"])
    func otherTextIsRefused(text: String) {
        #expect(throws: AdminError.self) { try WaitLimit(text) }
    }
}

@Suite struct PolicyNameTests {
    @Test(arguments: [
        ("NetworkPolicy", "NetworkPolicy"), ("netpol", "NetworkPolicy"), ("AUTHZ", "AuthorizationPolicy"),
        ("peerauthentications", "PeerAuthentication"),
    ])
    func kindsHaveAliases(text: String, kind: String) throws {
        #expect(try PolicyName.kind(text) == kind)
    }

    @Test func otherKindsAndNamesAreRefused() {
        #expect(throws: AdminError.self) { try PolicyName.kind("Pod") }
        for text in ["web", "/web", "shop/", "a/b/c", ""] {
            #expect(throws: AdminError.self) { try PolicyName.split(text) }
        }
    }
}

@Suite struct ManifestFilesTests {
    private static func withDirectory(_ body: (String) throws -> Void) throws {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent("meshctl-\(UUID().uuidString)")
        try FileManager.default.createDirectory(
            at: directory.appendingPathComponent("more"), withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        for (name, text) in [("b.yaml", "b"), ("a.yml", "a"), (".c.yaml", "c"), ("d.txt", "d"), ("more/e.json", "e")] {
            try Data(text.utf8).write(to: directory.appendingPathComponent(name))
        }
        try body(directory.path)
    }

    @Test func aDirectoryGivesItsManifestsByName() throws {
        try Self.withDirectory { directory in
            let flat = try ManifestFiles.read([directory], recursive: false)
            #expect(flat.map(\.name) == ["\(directory)/a.yml", "\(directory)/b.yaml"])
            let deep = try ManifestFiles.read([directory + "/"], recursive: true)
            #expect(deep.map(\.content) == ["a", "b", "e"])
        }
    }

    @Test func filesKeepTheirOrderAndStandardInputIsNamed() throws {
        try Self.withDirectory { directory in
            let files = try ManifestFiles.read(["\(directory)/d.txt", "-", "\(directory)/a.yml"], recursive: false) {
                Data("in".utf8)
            }
            #expect(files.map(\.content) == ["d", "in", "a"])
            #expect(files[1].name == "<stdin>")
        }
    }

    @Test func whatCannotBeReadIsNamed() throws {
        try Self.withDirectory { directory in
            func message(_ names: [String], _ input: Data = Data()) -> String {
                #expect(throws: AdminError.self) { try ManifestFiles.read(names, recursive: false) { input } }?.message
                    ?? ""
            }
            #expect(message(["\(directory)/x.yaml"]) == "\(directory)/x.yaml: no such file or directory")
            #expect(message(["-", "-"]).contains("only once"))
            #expect(message(["-"], Data([0xff, 0xfe])) == "<stdin>: not UTF-8 text")
            try FileManager.default.createDirectory(atPath: "\(directory)/none", withIntermediateDirectories: false)
            #expect(message(["\(directory)/none"]) == "\(directory)/none: no manifests in this directory")
        }
    }
}

@Suite struct LineDiffTests {
    @Test func equalTextsHaveNoDiff() {
        #expect(LineDiff.unified("a\nb\n", "a\nb\n") == "")
        #expect(LineDiff.unified("", "") == "")
    }

    @Test func aChangeHasThreeLinesAround() {
        let before = (1...9).map { "\($0)\n" }.joined()
        let after = before.replacingOccurrences(of: "5\n", with: "five\n")
        #expect(LineDiff.unified(before, after) == "@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n")
    }

    @Test func farChangesAreHunksOfTheirOwn() {
        let before = (1...30).map { "\($0)\n" }.joined()
        let after = "0\n" + before.replacingOccurrences(of: "20\n", with: "")
        #expect(
            LineDiff.unified(before, after)
                == "@@ -1,3 +1,4 @@\n+0\n 1\n 2\n 3\n@@ -17,7 +18,6 @@\n 17\n 18\n 19\n-20\n 21\n 22\n 23\n")
    }

    @Test func aNewTextIsAllAdded() {
        #expect(LineDiff.unified("", "a\nb\n") == "@@ -0,0 +1,2 @@\n+a\n+b\n")
        #expect(LineDiff.unified("a\n", "") == "@@ -1,1 +0,0 @@\n-a\n")
    }
}

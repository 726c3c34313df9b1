// SPDX-License-Identifier: Apache-2.0

import AdminTestSupport
import Glibc
import LinuxIO
import Testing

@testable import MeshAdmin

@Suite(.serialized) struct SocketFileTests {
    private static func refusal(_ socket: String) -> AdminError? {
        #expect(throws: AdminError.self) { _ = try AdminClient(path: socket, name: "test") }
    }

    @Test func aMissingSocketNamesTheOnesThatExist() throws {
        let directory = try TestDirectory.make()
        defer { TestDirectory.remove(directory) }
        #expect(Self.refusal("\(directory)/n1.sock")?.hint?.contains("is mesh-agent running?") == true)
        let other = try UnixListener(path: "\(directory)/n2.sock", group: nil, mode: 0o600)
        let error = Self.refusal("\(directory)/n1.sock")
        #expect(error?.code == .unreachable)
        #expect(error?.hint?.contains("\(directory)/n2.sock") == true)
        #expect(SocketFiles.usual(hostname: "N1", in: directory) == other.path)
    }

    @Test func theHostsOwnSocketIsPreferredAndNoneIsGuessedAmongMany() throws {
        let directory = try TestDirectory.make()
        defer { TestDirectory.remove(directory) }
        let first = try UnixListener(path: "\(directory)/a.sock", group: nil, mode: 0o600)
        let second = try UnixListener(path: "\(directory)/b.sock", group: nil, mode: 0o600)
        #expect(SocketFiles.usual(hostname: "b", in: directory) == second.path)
        #expect(SocketFiles.usual(hostname: "c", in: directory) == "\(directory)/c.sock")
        _ = consume first
    }

    @Test func aSocketThatADeadProcessLeftIsReplaced() throws {
        let directory = try TestDirectory.make()
        defer { TestDirectory.remove(directory) }
        let path = "\(directory)/n1.sock"
        let (status, text) = try Shell.run(
            "/usr/bin/python3", "-c", "import socket,sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])", path)
        #expect(status == 0, "\(text)")
        #expect(Self.refusal(path)?.message.contains("has ended") == true)
        let listener = try UnixListener(path: path, group: nil, mode: 0o640)
        var entry = stat()
        #expect(stat(path, &entry) == 0)
        #expect(entry.st_mode & 0o777 == 0o640)
        _ = consume listener
        #expect(access(path, F_OK) != 0)
        #expect(access("\(path).lock", F_OK) != 0)
    }

    @Test func aSecondListenerIsRefusedAndTheFirstIsLeftAlone() throws {
        let agent = try FakeAgent()
        let error = #expect(throws: SystemError.self) {
            _ = try UnixListener(path: agent.socket, group: nil, mode: 0o600)
        }
        #expect(error?.errnoCode == EADDRINUSE)
        #expect(error?.hint == "process \(getpid()) listens")
        var client = try agent.client()
        #expect(try client.one(StatusRequest()).node == "n1")
        _ = try agent.stop()
    }

    /// As `meshctl uninstall` does while the agent still runs.
    @Test func aListenerWhoseFilesWereRemovedLeavesThoseOfItsSuccessor() throws {
        let directory = try TestDirectory.make()
        defer { TestDirectory.remove(directory) }
        let path = "\(directory)/n1.sock"
        let first = try UnixListener(path: path, group: nil, mode: 0o600)
        #expect(unlink(path) == 0)
        #expect(unlink("\(path).lock") == 0)
        let second = try UnixListener(path: path, group: nil, mode: 0o600)
        _ = consume first
        #expect(access(path, F_OK) == 0)
        #expect(access("\(path).lock", F_OK) == 0)
        _ = consume second
        #expect(access(path, F_OK) != 0)
    }

    @Test func aFileThatIsNoSocketIsNotRemoved() throws {
        let directory = try TestDirectory.make()
        defer { TestDirectory.remove(directory) }
        let path = "\(directory)/n1.sock"
        let file = try OwnedDescriptor(open: path, flags: O_CREAT | O_WRONLY, mode: 0o600)
        let error = #expect(throws: SystemError.self) { _ = try UnixListener(path: path, group: nil, mode: 0o600) }
        #expect(error?.hint?.contains("not a socket") == true)
        #expect(access(path, F_OK) == 0)
        _ = consume file
    }

    @Test func aPathThatDoesNotFitIsRefused() {
        let path = "/tmp/" + String(repeating: "x", count: 110)
        let error = #expect(throws: SystemError.self) { _ = try UnixStream(connectingTo: path, timeout: .seconds(1)) }
        #expect(error?.errnoCode == ENAMETOOLONG)
    }
}

@Suite(
    .serialized, .enabled(if: geteuid() == 0 || getenv("MESH_REQUIRE_ROOT") != nil, "needs root; use `make test-root`"))
struct PermissionTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let testDescription: String
        /// User and supplementary groups of the client.
        let user: UInt32
        let groups: [UInt32]
        let mayConnect: Bool
        let mayRead: Bool
        let mayWrite: Bool
    }

    /// Numbers that no group of the machine has.
    static let admin = AdminGroup(name: "mesh-readers", number: 61_234)
    static let write = AdminGroup(name: "mesh-writers", number: 61_235)

    static let cases = [
        Case(testDescription: "root", user: 0, groups: [], mayConnect: true, mayRead: true, mayWrite: true),
        Case(
            testDescription: "nobody", user: 65_534, groups: [], mayConnect: false, mayRead: false, mayWrite: false),
        Case(
            testDescription: "reader", user: 65_534, groups: [61_234], mayConnect: true, mayRead: true,
            mayWrite: false),
        Case(
            testDescription: "writer", user: 65_534, groups: [61_234, 61_235], mayConnect: true, mayRead: true,
            mayWrite: true),
        Case(
            testDescription: "writer who is no reader cannot reach the socket", user: 65_534, groups: [61_235],
            mayConnect: false, mayRead: false, mayWrite: false),
    ]

    private static let client = """
        import json, socket, sys
        s = socket.socket(socket.AF_UNIX)
        try:
            s.connect(sys.argv[1])
        except PermissionError:
            sys.exit("EACCES")
        f = s.makefile("r")
        def say(value):
            try:
                s.sendall((json.dumps(value) + "\\n").encode())
            except BrokenPipeError:
                pass  # refused before it was read: the reason waits to be read
            return f.readline()
        print(say({"hello": {"protocol": 1, "name": "python"}}), end="")
        print(say({"id": 1, "method": sys.argv[2], "arguments": json.loads(sys.argv[3])}), end="")
        """

    private static func say(_ testCase: Case, _ socket: String, _ method: String, _ arguments: String) throws -> String
    {
        let groups =
            testCase.groups.isEmpty
            ? "--clear-groups" : "--groups=\(testCase.groups.map(String.init).joined(separator: ","))"
        return try Shell.run(
            "/usr/bin/setpriv", "--reuid=\(testCase.user)", "--regid=65534", groups, "/usr/bin/python3", "-c", client,
            socket, method, arguments
        ).output
    }

    @Test(.timeLimit(.minutes(1)), arguments: cases)
    func rightsFollowFromUserAndGroups(_ testCase: Case) throws {
        let agent = try FakeAgent(authorization: AdminAuthorization(adminGroup: Self.admin, writeGroup: Self.write))
        let read = try Self.say(testCase, agent.socket, "generations", "{}")
        let write = try Self.say(testCase, agent.socket, "policy.rollback", "{}")
        #expect(read.contains("EACCES") == !testCase.mayConnect, "\(read)")
        #expect(read.contains("\"item\"") == testCase.mayRead, "\(read)")
        #expect(write.contains("\"item\"") == testCase.mayWrite, "\(write)")
        if testCase.mayConnect, !testCase.mayWrite {
            #expect(write.contains("permissionDenied") && write.contains("mesh-writers"), "\(write)")
            #expect(write.contains("(uid 65534)"), "\(write)")
        }
        _ = try agent.stop()
    }

    /// The file's permissions are one lock, SO_PEERCRED the other: with the first open, the second still holds.
    @Test(.timeLimit(.minutes(1))) func aPeerWithoutRightsIsRefusedEvenIfItReachesTheSocket() throws {
        let agent = try FakeAgent(authorization: AdminAuthorization(adminGroup: Self.admin))
        try #require(chmod(agent.socket, 0o666) == 0)
        let answer = try Self.say(Self.cases[1], agent.socket, "generations", "{}")
        #expect(answer.contains("permissionDenied") && answer.contains("mesh-readers"), "\(answer)")
        #expect(!answer.contains("\"item\""))
        _ = try agent.stop()
    }

    @Test(.timeLimit(.minutes(1))) func withoutGroupsOnlyRootReachesTheSocket() throws {
        let agent = try FakeAgent()
        #expect(try Self.say(Self.cases[2], agent.socket, "generations", "{}").contains("EACCES"))
        #expect(try Self.say(Self.cases[0], agent.socket, "generations", "{}").contains("\"item\""))
        _ = try agent.stop()
    }
}

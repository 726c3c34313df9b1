// SPDX-License-Identifier: Apache-2.0

import AdminTestSupport
import Glibc
import LinuxIO
import MeshAdmin
import Testing

@testable import meshctl

/// A namespace and a cgroup as an agent would prepare them.
private struct FakePod: ~Copyable {
    let namespace: NetworkNamespace
    let cgroup: Cgroup
    let target: RunTarget

    init(name: String) throws {
        let namespace = try NetworkNamespace.makeNew()
        let mount = try #require(try Mounts.current().cgroup2)
        let cgroup = Cgroup(path: "\(mount)/admin-run-\(getpid())-\(name)")
        try cgroup.create()
        let target = RunTarget(
            netns: "/proc/\(getpid())/fd/\(namespace.rawDescriptor)", netnsCookie: try namespace.cookie(),
            cgroup: cgroup.path, redirection: RedirectionReport(.enabled))
        // Last: a noncopyable value must not throw half initialised.
        self.namespace = namespace
        self.cgroup = cgroup
        self.target = target
    }

    /// `net:[INODE]`, as /proc shows it.
    func link() throws -> String { "net:[\(try namespace.fileIdentity().inode)]" }

    deinit {
        // The processes have ended; the kernel may take a moment to see them gone.
        for _ in 0..<1000 where rmdir(cgroup.path) != 0 && errno == EBUSY { usleep(10_000) }
    }
}

@Suite(
    .serialized, .timeLimit(.minutes(1)),
    .enabled(if: geteuid() == 0 || getenv("MESH_REQUIRE_ROOT") != nil, "needs root; use `make test-root`"))
struct RunTests {
    private static func run(
        _ target: RunTarget, _ options: [String] = [], _ command: [String]
    ) throws -> (status: Int32, output: String) {
        let agent = try FakeAgent(run: target)
        let words = ["run", "--pod", "shop/web", "--socket", agent.socket] + options + ["--"] + command
        let result = try Shell.run([try Program.path()] + words)
        _ = try agent.stop()
        return result
    }

    @Test func theCommandIsInThePodsNamespaceAndCgroup() throws {
        let pod = try FakePod(name: "place")
        let (status, output) = try Self.run(
            pod.target, [],
            ["sh", "-c", "readlink /proc/self/ns/net; grep ^0: /proc/self/cgroup; ls -1 /proc/self/fd | wc -l"])
        #expect(status == 0, "\(output)")
        let lines = output.split(separator: "\n").map(String.init)
        let name = pod.cgroup.path.split(separator: "/").last.map(String.init)
        #expect(lines.first == (try pod.link()))
        #expect(lines.dropFirst().first?.split(separator: "/").last.map(String.init) == name)
        // None of meshctl's own is left: as many as without it.
        let plain = try Shell.run("/bin/sh", "-c", "ls -1 /proc/self/fd | wc -l").output
        #expect(lines.last.map { $0 + "\n" } == plain)
    }

    @Test func theExitStatusIsTheCommandsOwn() throws {
        let pod = try FakePod(name: "status")
        #expect(try Self.run(pod.target, [], ["sh", "-c", "exit 42"]).status == 42)
        let missing = try Self.run(pod.target, [], ["admin-no-such-command"])
        #expect(missing.status == 127)
        #expect(missing.output.contains("'admin-no-such-command': No such file or directory"))
        #expect(try Self.run(pod.target, [], ["/etc/passwd"]).status == 126)
    }

    @Test func aNamespaceThatWasReplacedIsNotEntered() throws {
        let pod = try FakePod(name: "stale")
        var target = pod.target
        target.netnsCookie += 1
        let (status, output) = try Self.run(target, [], ["true"])
        #expect(status == 125)
        #expect(output.contains("the namespace was replaced"), "\(output)")
    }

    @Test func anotherUserHasNoPrivilegesLeft() throws {
        let pod = try FakePod(name: "user")
        let (status, output) = try Self.run(
            pod.target, ["--user", "nobody"], ["sh", "-c", "id -un; id -Gn; echo $USER; grep CapEff /proc/self/status"])
        #expect(status == 0, "\(output)")
        let lines = output.split(separator: "\n").map(String.init)
        #expect(lines.first == "nobody")
        #expect(lines.dropFirst().first?.contains("root") == false)
        #expect(lines.dropFirst(2).first == "nobody")
        #expect(lines.last?.hasSuffix("0000000000000000") == true)
        #expect(try Self.run(pod.target, ["--user", "admin-nobody"], ["true"]).status == 125)
    }

    @Test func mountsOfItsOwnShowTheNamespacesDevices() throws {
        let pod = try FakePod(name: "mounts")
        let (status, output) = try Self.run(pod.target, ["--netns-mounts"], ["ls", "/sys/class/net"])
        #expect(status == 0)
        #expect(output == "lo\n")
        // Outside nothing has changed.
        #expect(try Mounts.current().cgroup2 != nil)
    }

    @Test func withoutAnAgentNothingIsStarted() throws {
        let (status, output) = try Shell.run([
            try Program.path(), "run", "--pod", "a/b", "--socket", "/nowhere/n1.sock", "--", "echo", "started",
        ])
        #expect(status == 125)
        #expect(!output.contains("started"))
    }
}

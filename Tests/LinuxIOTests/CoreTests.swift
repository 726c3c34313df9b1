// SPDX-License-Identifier: Apache-2.0

import Glibc
import Testing

@testable import LinuxIO

@Suite struct MountTableTests {
    @Test func aLineWithOptionalFieldsAndEscapesIsRead() throws {
        let mounts = Mounts(
            parsing: """
                31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
                41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:4 master:1 - cgroup2 cgroup2 rw
                42 23 0:39 /part /mnt/with\\040blank rw - bpf bpf rw
                nonsense
                """)
        #expect(mounts.all.count == 3)
        #expect(mounts.cgroup2 == "/sys/fs/cgroup/unified")
        #expect(mounts.bpffs == ["/mnt/with blank"])
        #expect(mounts.all.last?.root == "/part")
    }

    @Test func aMountOfTheHierarchysRootIsPreferred() {
        let mounts = Mounts(
            parsing: """
                41 31 0:38 / /whole rw - cgroup2 cgroup2 rw
                42 31 0:38 /kubepods /part rw - cgroup2 cgroup2 rw
                """)
        #expect(mounts.cgroup2 == "/whole")
        #expect(Mounts(parsing: "1 2 0:3 / /x rw - tmpfs tmpfs rw").cgroup2 == nil)
    }
}

@Suite struct SystemErrorTests {
    @Test func theMessageSaysCallSubjectCauseAndHint() {
        let error = SystemError("open", "/nowhere", errnoCode: ENOENT, hint: "create it")
        #expect(error.description == "open /nowhere: No such file or directory (create it)")
    }

    @Test func aMissingFileIsNamed() {
        #expect(throws: SystemError("open", "/nowhere/at/all", errnoCode: ENOENT)) {
            try SmallFile.read("/nowhere/at/all")
        }
    }

    @Test func aFileThatIsNoNamespaceIsRefused() {
        #expect(
            throws: SystemError("open", "/etc/hosts", errnoCode: EINVAL, hint: "not a namespace; is it still mounted?")
        ) {
            _ = try NetworkNamespace(path: "/etc/hosts").path
        }
        #expect(throws: SystemError.self) { _ = try NetworkNamespace(path: "/proc/self/ns/mnt").path }
    }
}

@Suite(
    .serialized, .enabled(if: geteuid() == 0 || getenv("MESH_REQUIRE_ROOT") != nil, "needs root; use `make test-root`"))
struct NamespaceAndCgroupTests {
    @Test func aBodyRunsInsideAndItsResultComesOut() throws {
        let here = try NetworkNamespace.currentCookie()
        let other = try NetworkNamespace.makeNew()
        let inside = try other.run { () throws(SystemError) -> UInt64 in try NetworkNamespace.currentCookie() }
        #expect(inside == (try other.cookie()))
        #expect(inside != here)
        #expect(try NetworkNamespace.currentCookie() == here)
        #expect(try NetworkNamespace.current().fileIdentity() != other.fileIdentity())
    }

    @Test func anErrorOfTheBodyComesOut() throws {
        let other = try NetworkNamespace.makeNew()
        #expect(throws: SystemError("x", errnoCode: EXDEV)) {
            try other.run { () throws(SystemError) in throw SystemError("x", errnoCode: EXDEV) }
        }
    }

    @Test func aSocketMadeInsideBelongsToTheNamespace() throws {
        let other = try NetworkNamespace.makeNew()
        let made = try other.run { () throws(SystemError) -> OwnedDescriptor in
            OwnedDescriptor(
                adopting: try SystemError.check("socket") { socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0) })
        }
        var length = socklen_t(MemoryLayout<UInt64>.size)
        var cookie: UInt64 = 0
        #expect(getsockopt(made.rawValue, SOL_SOCKET, 71, &cookie, &length) == 0)
        #expect(cookie == (try other.cookie()))
    }

    @Test func aSubtreeIsMadeListedAndRemoved() throws {
        let root = try #require(try Mounts.current().cgroup2)
        let top = Cgroup(path: "\(root)/linuxio-test-\(getpid())")
        defer { try? top.remove() }
        let leaf = Cgroup(path: top.path + "/pods/a_b")
        try leaf.create()
        try leaf.create()
        #expect(try top.subtree().map(\.path) == [top.path, top.path + "/pods", leaf.path])
        #expect(leaf.isWithin(top))
        #expect(!Cgroup(path: top.path + "x").isWithin(top))
        #expect(try leaf.processes().isEmpty)

        var child = pid_t()
        let arguments: [UnsafeMutablePointer<CChar>?] = [strdup("sleep"), strdup("30"), nil]
        defer { for argument in arguments { free(argument) } }
        #expect(posix_spawn(&child, "/bin/sleep", nil, nil, arguments, nil) == 0)
        try leaf.add(child)
        #expect(try leaf.processes() == [child])
        #expect(try Cgroup.ofProcess(child) == leaf)
        #expect(throws: SystemError.self) { try top.remove() }
        kill(child, SIGKILL)
        var status: CInt = 0
        waitpid(child, &status, 0)
        try top.remove()
        #expect(!top.exists)
    }

    @Test func aCgroupOutsideTheHierarchyIsRefused() {
        #expect(throws: SystemError.self) { try Cgroup(path: "/tmp/sockmesh-no-cgroup").create() }
    }

    @Test func aGracePeriodEnds() throws {
        #expect(Membarrier.isSupported)
        try Membarrier.waitForGracePeriod()
    }
}

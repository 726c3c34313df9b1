// SPDX-License-Identifier: Apache-2.0

import AdminTestSupport
import Glibc
import Testing

@testable import LinuxIO

/// Entering changes the whole process, so each test does it in a child: this program cannot fork, meshctl is tested
/// with an agent. Here: what can be refused before anything is changed, and accounts.
@Suite(
    .serialized, .enabled(if: geteuid() == 0 || getenv("MESH_REQUIRE_ROOT") != nil, "needs root; use `make test-root`"))
struct PodEntryTests {
    @Test func aNamespaceThatDoesNotExistIsNamedBeforeAnythingChanges() throws {
        let before = try SmallFile.readText("/proc/self/cgroup")
        let error = #expect(throws: SystemError.self) {
            try PodEntry.enter(cgroup: "/nowhere", netns: "/run/netns/admin-none", cookie: 1)
        }
        #expect(error?.subject == "/run/netns/admin-none")
        #expect(try SmallFile.readText("/proc/self/cgroup") == before)
    }

    @Test func aMissingCgroupIsNamedAndTheNamespaceIsNotEntered() throws {
        let cookie = try NetworkNamespace.currentCookie()
        let error = #expect(throws: SystemError.self) {
            try PodEntry.enter(cgroup: "/nowhere", netns: "/proc/self/ns/net", cookie: cookie)
        }
        #expect(error?.subject == "/nowhere/cgroup.procs")
        #expect(try NetworkNamespace.currentCookie() == cookie)
    }

    @Test func whatCannotBeExecutedSaysWhy() {
        #expect(PodEntry.execute(["/nowhere/admin-command"]).errnoCode == ENOENT)
        #expect(PodEntry.execute(["/etc/passwd"]).errnoCode == EACCES)
    }
}

@Suite struct AccountTests {
    @Test func rootIsFoundByNameAndNumber() {
        let root = Accounts.user("root")
        #expect(root?.number == 0)
        #expect(root?.group == 0)
        #expect(root?.home == "/root")
        #expect(Accounts.groupNumber("root") == 0)
        #expect(Accounts.nameFromFile(.users, number: 0) == "root")
        #expect(Accounts.nameFromFile(.groups, number: 0) == "root")
    }

    @Test func whoDoesNotExistIsNotFound() {
        #expect(Accounts.user("no-such-user-here") == nil)
        #expect(Accounts.groupNumber("no-such-group-here") == nil)
        #expect(Accounts.nameFromFile(.users, number: 4_000_000_001) == nil)
    }
}

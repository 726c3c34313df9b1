// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxIO
import Testing

@testable import SockOps

extension KernelTests {
    @Suite struct BPFLinkTests {
        @Test func aProgramRunsWhileItsLinkLives() throws {
            let object = try Fixture.loaded()
            let counts = try PerCPUCounters(object.map("fixture_counts"))
            let group = try TestCgroup("link")
            let directory = try group.cgroup.open()
            do {
                let link = try BPFLink(
                    attaching: object.program("fixture_create"), to: directory.rawValue, at: .socketCreate,
                    targetName: "test")
                #expect(try link.state().target == group.cgroup.id())
                #expect(try link.state().programID == object.program("fixture_create").id)
                try InCgroup.makeSocket(group.cgroup)
                #expect(try counts.sum(0) == 1)
                #expect(try BPFProgram.attached(to: directory.rawValue, as: .socketCreate).count == 1)
            }
            try InCgroup.makeSocket(group.cgroup)
            #expect(try counts.sum(0) == 1)
            #expect(try BPFProgram.attached(to: directory.rawValue, as: .socketCreate).isEmpty)
        }

        @Test func aPinnedLinkIsAdoptedAndUpdatedInPlace() throws {
            let pins = try PinDirectory("adopt")
            let group = try TestCgroup("adopt")
            let directory = try group.cgroup.open()
            let path = "\(pins.path)/link"
            let id: UInt32
            do {
                let old = try Fixture.loaded()
                let link = try BPFLink(
                    attaching: old.program("fixture_create"), to: directory.rawValue, at: .socketCreate,
                    targetName: "test")
                try link.pin(path)
                id = try link.state().id
            }
            // Nothing of the first object is left in this process; the pin keeps the attachment.
            let file = try Fixture.file()
            try file.setConstant("fixture_verdict", to: UInt32(0))
            let new = try file.load()
            try InCgroup.makeSocket(group.cgroup)
            let link = try BPFLink(pinned: path)
            #expect(try link.update(to: new.program("fixture_create")))
            #expect(try link.state().id == id)
            #expect(try link.state().programID == new.program("fixture_create").id)
            #expect(throws: SystemError("socket", errnoCode: EPERM)) { try InCgroup.makeSocket(group.cgroup) }

            let error = #expect(throws: BPFError.self) { try link.update(to: new.program("fixture_lookup")) }
            #expect(error?.operation == .update)
            try link.detach()
            try InCgroup.makeSocket(group.cgroup)
        }

        @Test func aLinkDiesWithItsCgroup() throws {
            let object = try Fixture.loaded()
            let group = try TestCgroup("dead")
            let program = try object.program("fixture_create")
            let directory = try group.cgroup.open()
            let link = try BPFLink(
                attaching: program, to: directory.rawValue, at: .socketCreate, targetName: "test")
            #expect(try link.update(to: program))
            try group.cgroup.remove()
            // The kernel releases the cgroup's programs from a work queue.
            #expect(try eventually { try link.state().target == 0 })
            #expect(try !link.update(to: program))
        }

        @Test func aLinkDiesWithItsNamespace() throws {
            let object = try Fixture.loaded()
            let program = try object.program("fixture_lookup")
            let link = try attachToNewNamespace(program)
            #expect(try eventually { try link.state().target == 0 })
            #expect(try !link.update(to: program))
        }

        /// The namespace dies when this returns: nothing but the link refers to it.
        private func attachToNewNamespace(_ program: borrowing BPFProgram) throws -> BPFLink {
            let namespace = try NetworkNamespace.makeNew()
            let link = try BPFLink(
                attaching: program, to: namespace.rawDescriptor, at: .socketLookup, targetName: "namespace")
            #expect(try link.state().target == namespace.fileIdentity().inode)
            #expect(try link.update(to: program))
            return link
        }

        @Test func pinsThatAreNoLinksAreRefused() throws {
            let pins = try PinDirectory("nolink")
            try Fixture.loaded().map("fixture_hash").pin("\(pins.path)/hash")
            #expect(throws: BPFError.self) { _ = try BPFLink(pinned: "\(pins.path)/hash").state() }
            #expect(throws: BPFError.self) { _ = try BPFLink(pinned: "\(pins.path)/absent").state() }
            let error = #expect(throws: BPFError.self) {
                try Fixture.loaded().map("fixture_hash").pin("/tmp/sockops-no-bpffs")
            }
            #expect(error?.operation == .pin)
        }
    }
}

/// Polls for twenty seconds: for what the kernel does from a work queue.
func eventually(_ condition: () throws -> Bool) rethrows -> Bool {
    for _ in 0..<2000 {
        if try condition() { return true }
        usleep(10_000)
    }
    return try condition()
}

enum InCgroup {
    /// Makes and closes a TCP socket in a process that is in `cgroup`.
    ///
    /// - Throws: ``SystemError`` of `socket`, as the process met it.
    static func makeSocket(_ cgroup: Cgroup) throws {
        let script = "import socket,sys\ntry: socket.socket()\nexcept OSError as e: sys.exit(e.errno)"
        try InCgroup.run(cgroup, "/usr/bin/python3", "-c", script)
    }

    private static func run(_ cgroup: Cgroup, _ command: String...) throws {
        // The shell joins the cgroup before it becomes the command.
        let words = ["/bin/sh", "-c", "echo 0 > \(cgroup.path)/cgroup.procs && exec \"$@\"", "sh"] + command
        let arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        defer { for argument in arguments { free(argument) } }
        var child = pid_t()
        try #require(posix_spawn(&child, "/bin/sh", nil, nil, arguments, environ) == 0)
        var status: CInt = 0
        waitpid(child, &status, 0)
        let code = (status >> 8) & 0xff
        if code != 0 { throw SystemError("socket", errnoCode: code) }
    }
}

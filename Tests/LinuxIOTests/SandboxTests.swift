// SPDX-License-Identifier: Apache-2.0

import Glibc
import Testing

@testable import LinuxIO

@Suite(
    .serialized, .enabled(if: geteuid() == 0 || getenv("MESH_REQUIRE_ROOT") != nil, "needs root; use `make test-root`"))
struct SandboxTests {
    @Test func aSocketIsMadeInAnotherCgroupAndNamespace() throws {
        let root = try #require(try Mounts.current().cgroup2)
        let group = Cgroup(path: "\(root)/linuxio-sandbox-\(getpid())")
        try group.create()
        defer { try? group.remove() }
        let namespace = try NetworkNamespace.makeNew()
        let made = try Sandbox.makeSocket(in: group, namespace, domain: AF_INET, type: CInt(SOCK_STREAM.rawValue))
        var cookie: UInt64 = 0
        var length = socklen_t(MemoryLayout<UInt64>.size)
        #expect(getsockopt(made.rawValue, SOL_SOCKET, 71, &cookie, &length) == 0)
        #expect(cookie == (try namespace.cookie()))
        #expect(fcntl(made.rawValue, F_GETFD) & FD_CLOEXEC != 0)
        // The helper has ended and been waited for: its cgroup can go while the socket lives.
        #expect(try group.processes().isEmpty)
        try group.remove()
        #expect(!group.exists)
    }

    @Test func aRefusalInsideComesOut() throws {
        let root = try #require(try Mounts.current().cgroup2)
        let namespace = try NetworkNamespace.makeNew()
        #expect(throws: SystemError("socket", "in \(root)", errnoCode: EAFNOSUPPORT)) {
            _ = try Sandbox.makeSocket(in: Cgroup(path: root), namespace, domain: 200, type: 1).rawValue
        }
        #expect(throws: SystemError.self) {
            _ = try Sandbox.makeSocket(in: Cgroup(path: "\(root)/absent"), namespace, domain: AF_INET, type: 1).rawValue
        }
    }

    @Test func joinedNamespacesReachEachOther() throws {
        let first = try NetworkNamespace.makeNew()
        let second = try NetworkNamespace.makeNew()
        try Sandbox.join(
            first, second, device: "mesh0", addresses: (0xC000_0201, 0xC000_0202), prefixLength: 30)
        func datagramSocket(_ namespace: borrowing NetworkNamespace) throws -> OwnedDescriptor {
            try namespace.run { () throws(SystemError) -> OwnedDescriptor in
                OwnedDescriptor(
                    adopting: try SystemError.check("socket") { socket(AF_INET, CInt(SOCK_DGRAM.rawValue), 0) })
            }
        }
        let receiver = try datagramSocket(second)
        let sender = try datagramSocket(first)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(9000).bigEndian
        address.sin_addr.s_addr = UInt32(0xC000_0202).bigEndian
        let size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let sent = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { address -> Int in
                #expect(bind(receiver.rawValue, address, size) == 0)
                return sendto(sender.rawValue, "ping", 4, 0, address, size)
            }
        }
        #expect(sent == 4)
        var ready = pollfd(fd: receiver.rawValue, events: Int16(POLLIN), revents: 0)
        #expect(poll(&ready, 1, 20_000) == 1)
        #expect(throws: SystemError.self) {
            try Sandbox.join(first, second, device: "mesh0", addresses: (1, 2), prefixLength: 30)
        }
    }
}

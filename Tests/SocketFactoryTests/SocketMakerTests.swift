// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxIO
import MeshModel
import ProxyProtocol
import Testing

@testable import SocketFactory

/// Sockets inside a namespace, made from outside.
@Suite(
    .serialized, .enabled(if: geteuid() == 0 || getenv("MESH_REQUIRE_ROOT") != nil, "needs root; use `make test-root`"))
struct SocketMakerTests {
    private static let loopback = IPAddress(v4: 0x7f00_0001)

    /// A namespace whose loopback device is up; IPv6 as the kernel has it.
    private static func namespace() throws -> NetworkNamespace {
        let made = try NetworkNamespace.makeNew()
        try made.run { () throws(SystemError) in
            let child = try ChildProcess(starting: "/sbin/ip", arguments: ["link", "set", "lo", "up"])
            var ready = pollfd(fd: child.descriptor, events: Int16(POLLIN), revents: 0)
            _ = poll(&ready, 1, 20_000)
            guard child.reap() == 0 else { throw SystemError("ip link set lo up", errnoCode: EINVAL) }
        }
        return made
    }

    private static func shared(_ namespace: borrowing NetworkNamespace) throws -> SharedDescriptor {
        SharedDescriptor(try namespace.duplicateDescriptor())
    }

    /// SO_NETNS_COOKIE
    private static func cookie(of socket: SharedDescriptor) -> UInt64 {
        var (cookie, length) = (UInt64(0), socklen_t(8))
        #expect(getsockopt(socket.rawValue, SOL_SOCKET, 71, &cookie, &length) == 0)
        return cookie
    }

    private static func option(_ socket: SharedDescriptor, _ name: CInt) -> CInt {
        var (value, length) = (CInt(0), socklen_t(4))
        #expect(getsockopt(socket.rawValue, SOL_SOCKET, name, &value, &length) == 0)
        return value
    }

    @Test func listenersAreInThePodAndNobodyElseCanHaveTheirPort() throws {
        let namespace = try Self.namespace()
        let cookie = try namespace.cookie()
        var maker = SocketMaker()
        try maker.add(Self.shared(namespace), netns: cookie)
        var ports: Set<UInt16> = []
        for key in ListenerKey.all(of: cookie) where key.family == .ipv4 {
            let made = try maker.listener(key, backlog: 64)
            #expect(Self.cookie(of: made.socket) == cookie)
            #expect(Self.option(made.socket, SO_ACCEPTCONN) == 1)
            #expect(Self.option(made.socket, SO_REUSEPORT) == 0 && Self.option(made.socket, SO_REUSEADDR) == 0)
            #expect(fcntl(made.socket.rawValue, F_GETFL) & O_NONBLOCK != 0)
            #expect(made.port > 0)
            ports.insert(made.port)
        }
        #expect(ports.count == 2)
    }

    @Test func anIPv6ListenerTakesIPv6Only() throws {
        let namespace = try Self.namespace()
        let cookie = try namespace.cookie()
        var maker = SocketMaker()
        try maker.add(Self.shared(namespace), netns: cookie)
        // Not on a kernel without IPv6.
        guard access("/proc/net/if_inet6", F_OK) == 0 else { return }
        let key = ListenerKey(netns: cookie, direction: .inbound, family: .ipv6)
        let made = try maker.listener(key, backlog: 1)
        var (value, length) = (CInt(0), socklen_t(4))
        #expect(getsockopt(made.socket.rawValue, CInt(IPPROTO_IPV6), 26, &value, &length) == 0)
        #expect(value == 1)
    }

    @Test func aLegIsBoundToThePodsAddressAndNoPort() throws {
        let namespace = try Self.namespace()
        let cookie = try namespace.cookie()
        var maker = SocketMaker()
        try maker.add(Self.shared(namespace), netns: cookie)
        let made = try maker.leg(netns: cookie, source: Self.loopback)
        #expect(Self.cookie(of: made.socket) == cookie)
        #expect(try InetSocket.port(of: made.socket) == 0)
        // Many more than there are ports: none is taken before it connects.
        var legs: [SharedDescriptor] = []
        for _ in 0..<200 { legs.append(try maker.leg(netns: cookie, source: Self.loopback).socket) }
        #expect(throws: SystemError("bind", errnoCode: EADDRNOTAVAIL)) {
            try maker.leg(netns: cookie, source: IPAddress(v4: 0x0a01_0203)).port
        }
    }

    @Test func aRemovedNamespaceIsLetGo() throws {
        var maker = SocketMaker()
        let cookie: UInt64
        do {
            let namespace = try Self.namespace()
            cookie = try namespace.cookie()
            try maker.add(Self.shared(namespace), netns: cookie)
        }
        // It lives, by the maker alone.
        let key = ListenerKey(netns: cookie, direction: .outbound, family: .ipv4)
        #expect(try maker.listener(key, backlog: 1).port > 0)
        maker.remove(netns: cookie)
        #expect(throws: SystemError.self) { try maker.listener(key, backlog: 1).port }
    }

    @Test func aNamespaceUnderAnotherNameIsRefused() throws {
        let namespace = try Self.namespace()
        #expect(Self.refusal(of: try Self.shared(namespace)) == ESTALE)
        let null = SharedDescriptor(try OwnedDescriptor(open: "/dev/null", flags: O_RDONLY))
        #expect(Self.refusal(of: null) == EINVAL)
    }

    private static func refusal(of descriptor: SharedDescriptor) -> CInt? {
        var maker = SocketMaker()
        do throws(SystemError) {
            try maker.add(descriptor, netns: 1)
            return nil
        } catch {
            return error.errnoCode
        }
    }
}

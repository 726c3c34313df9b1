// SPDX-License-Identifier: Apache-2.0

import CMeshABI
import Glibc
import LinuxIO
import ProxyProcess
import Testing

@testable import SockOps

extension KernelTests {
    @Suite struct ProxyTests {
        private static let address: UInt32 = 0x0a00_0001

        private static func listener(outbound: UInt16, inbound: UInt16 = 0) -> mesh_listener {
            var listener = mesh_listener()
            listener.address.0 = mesh_ip(ipv4: address)
            listener.outbound = (outbound, 0)
            listener.inbound = (0, inbound)
            return listener
        }

        private static func tcpSocket() throws -> OwnedDescriptor {
            try OwnedDescriptor(
                adopting: SystemError.check("socket") { socket(AF_INET6, CInt(SOCK_STREAM.rawValue), 0) })
        }

        @Test func aProxyIsLiveWhenSaidSo() throws {
            let node = try TestNode("live")
            let plane = try node.start()
            // A noncopyable value's property cannot be named inside the macro.
            var isLive = plane.isProxyLive
            #expect(!isLive)
            plane.isProxyLive = true
            #expect(plane.maps.control.snapshot.proxy_live == 1)
            plane.isProxyLive = false
            isLive = plane.isProxyLive
            #expect(!isLive)
        }

        @Test func portsOfAListenerChangeWhereItsRowStands() throws {
            let node = try TestNode("listener")
            let plane = try node.start()
            try plane.setListener(Self.listener(outbound: 1000), in: 77)
            try plane.setListener(Self.listener(outbound: 2000, inbound: 3000), in: 77)
            let row = try #require(try plane.maps.listeners.get(77))
            #expect(row.outbound.0 == 2000)
            #expect(row.inbound.1 == 3000)
            var moved = Self.listener(outbound: 4000)
            moved.address.0 = mesh_ip(ipv4: Self.address + 1)
            try plane.setListener(moved, in: 77)
            #expect(try plane.maps.listeners.get(77)?.outbound.0 == 4000)
            #expect(try plane.maps.listeners.get(77)?.address.0.word.3 == (Self.address + 1).bigEndian)
            try plane.removeListener(in: 77)
            try plane.removeListener(in: 77)
            #expect(try plane.maps.listeners.get(77) == nil)
        }

        @Test func theInboundListenerIsAListeningSocketAndIsNotKeptOpen() throws {
            let node = try TestNode("inbound")
            let plane = try node.start()
            do {
                let socket = try Self.tcpSocket()
                let error = #expect(throws: BPFError.self) { try plane.setInbound(socket.rawValue, .ipv6, in: 77) }
                #expect(error?.errnoCode == EOPNOTSUPP)
                #expect(listen(socket.rawValue, 1) == 0)
                try plane.setInbound(socket.rawValue, .ipv6, in: 77)
                #expect(try plane.maps.inbound6.keys() == [77])
            }
            #expect(try eventually { try plane.maps.inbound6.keys().isEmpty })
        }

        @Test func aMarkIsKeptWithItsSocket() throws {
            let node = try TestNode("mark")
            let plane = try node.start()
            let socket = try Self.tcpSocket()
            #expect(try plane.maps.legs.get(socket.rawValue) == nil)
            let leg = mesh_leg.dial(mesh_ip(ipv4: Self.address), port: 80, netns: 5, identity: 300)
                .showing(client: mesh_ip(ipv4: 7), port: 4000)
            try plane.mark(socket.rawValue, as: leg)
            let read = try #require(try plane.maps.legs.get(socket.rawValue))
            #expect(UInt32(read.role) == MESH_LEG_DIAL.rawValue)
            #expect(read.destination.word.3 == Self.address.bigEndian)
            #expect((read.port, read.netns, read.identity, read.client_port) == (80, 5, 300, 4000))
            try plane.mark(socket.rawValue, as: .listener)
            #expect(try UInt32(#require(try plane.maps.legs.get(socket.rawValue)).role) == MESH_LEG_LISTEN.rawValue)
            let error = #expect(throws: BPFError.self) { try plane.mark(-1, as: .listener) }
            #expect(error?.errnoCode == EBADF)
        }

        @Test func theFactorysProgramsAreOnItsCgroupOnly() throws {
            let node = try TestNode("factory")
            let plane = try node.start()
            #expect(plane.configuration.factoryCgroup.isWithin(plane.configuration.cgroup))
            #expect(try node.attached(.getsockopt).isEmpty)
            #expect(try node.attached(.getsockopt, of: .factoryCgroup).count == 1)
            #expect(try node.attached(.socketCreate, of: .factoryCgroup).count == 1)
        }

        @Test func aSocketThatIsNotTheFactorysHasNoOrigin() throws {
            let socket = try Self.tcpSocket()
            let error = #expect(throws: SystemError.self) { try KernelOrigin(ofAccepted: socket.rawValue) }
            #expect(error?.errnoCode == EOPNOTSUPP || error?.errnoCode == ENOPROTOOPT)
        }
    }
}

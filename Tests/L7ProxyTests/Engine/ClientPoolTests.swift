// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxIO
import MeshModel
import Synchronization
import Testing

@testable import L7Proxy

/// Connections to backends that show one client's address each.
@Suite(.serialized) struct ClientPoolTests {
    private final class Legs: Sendable {
        let clients = Mutex<[ProxyEndpoint?]>([])
        var all: [ProxyEndpoint?] { clients.withLock { $0 } }
    }

    private static func rig(_ port: UInt16, _ legs: Legs, perClient: Bool) throws -> Rig {
        var policies = Rig.Policies()
        policies.service.poolsPerClient = perClient
        return try Rig(
            [port], policies: policies,
            legs: { request in
                legs.clients.withLock { $0.append(request.client) }
                return Rig.connect(request)
            })
    }

    /// A client whose address is 127.0.0.`last`.
    private static func client(_ last: UInt32, _ rig: Rig) throws -> TestConnection {
        let raw = try SystemError.check("socket") { socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0) }
        func call(
            _ name: String, _ host: UInt32, _ port: UInt16,
            _ body: (CInt, UnsafePointer<sockaddr>, socklen_t) -> CInt
        ) throws {
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = port.bigEndian
            address.sin_addr.s_addr = (0x7f00_0000 | host).bigEndian
            try withUnsafePointer(to: &address) {
                try $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                    _ = try SystemError.check(name) { body(raw, pointer, socklen_t(MemoryLayout<sockaddr_in>.size)) }
                }
            }
        }
        try call("bind", last, 0) { bind($0, $1, $2) }
        try call("connect", 1, rig.port) { connect($0, $1, $2) }
        return TestConnection(raw)
    }

    private static func get(_ client: TestConnection) -> Bool {
        client.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n")
        return client.readMessage().hasPrefix("HTTP/1.1 200 ")
    }

    @Test func eachClientHasItsOwnIfThePolicySaysSo() throws {
        let backend = try TestBackend { _ in TestBackend.ok() }
        let legs = Legs()
        let rig = try Self.rig(backend.port, legs, perClient: true)
        var ports: [UInt16] = []
        for round in 0..<2 {
            for last in [UInt32(1), 2, 3] {
                let client = try Self.client(last, rig)
                #expect(Self.get(client) && Self.get(client))
                if round == 0 { ports.append(rig.recorder.all.last?.origin.clientPort ?? 0) }
            }
        }
        // One for each, also for its second connection, with a port that was its own.
        let expected = (1...3).map { ProxyEndpoint(address: IPAddress("127.0.0.\($0)")!, port: ports[$0 - 1]) }
        #expect(legs.all == expected && backend.connections == 3)
        #expect(ports.allSatisfy { $0 > 0 })
    }

    @Test func otherwiseTheyShare() throws {
        let backend = try TestBackend { _ in TestBackend.ok() }
        let legs = Legs()
        let rig = try Self.rig(backend.port, legs, perClient: false)
        for last in [UInt32(1), 2, 3] { #expect(try Self.get(Self.client(last, rig))) }
        #expect(legs.all == [nil] && backend.connections == 1)
    }

    @Test func podsSeeWhoComesFromOutsideIfTheirServiceSaysSo() throws {
        var policy = ServicePolicy()
        policy.poolsPerClient = true
        let pod = IPAddress("10.1.0.9")!
        let service = ProxyService(
            name: Rig.service, port: 80, addresses: [Rig.address], endpoints: [ClusterEndpoint(pod, port: 8080)],
            policy: policy)
        let other = ProxyService(
            name: NamespacedName(namespace: "shop", name: "other"), port: 80, addresses: [],
            endpoints: [ClusterEndpoint(pod, port: 9090)])
        let snapshot = ProxySnapshot(generation: 1, services: [service, other])
        func shows(_ port: UInt16, _ direction: ConnectionOrigin.Direction) -> Bool {
            snapshot.binding(
                ConnectionOrigin(
                    destination: pod, destinationPort: port, client: IPAddress("192.0.2.1")!, clientPort: 1,
                    direction: direction)
            ).showsClient
        }
        #expect(shows(8080, .inbound) && !shows(9090, .inbound) && !shows(8081, .inbound))
    }
}

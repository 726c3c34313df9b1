// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import MeshModel
import Synchronization
import Testing

@testable import L7Proxy

/// Connections to ports that are said not to speak HTTP.
@Suite(.serialized) struct RelayTests {
    /// Says the same, until the client's end, and then how many bytes these were.
    static func echo() throws -> TestBackend {
        try TestBackend { backend, connection, _ in
            var count = 0
            while case .bytes(let bytes) = connection.receive() {
                count += bytes.count
                connection.send(bytes: bytes)
            }
            connection.send("\(count) bytes")
            backend.keep("\(count)")
        }
    }

    private static func isGone(_ rig: Rig) -> Bool {
        Poll.until {
            let counters = rig.counters()
            return counters.connections == 0 && counters.upstreams == 0 && counters.exchanges == 0
                && counters.buffers == 0 && counters.relays == 0
        }
    }

    @Test(arguments: ["tcp", "tls", "https", "mysql"]) func nothingIsRead(_ appProtocol: String) throws {
        let backend = try Self.echo()
        let rig = try Rig([backend.port], appProtocol: appProtocol)
        let client = rig.client()
        // A request as any.
        client.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n")
        #expect(client.read(until: "\r\n\r\n") == "GET / HTTP/1.1\r\nHost: web\r\n\r\n")
        #expect(rig.counters().relays == 1)
        client.send("\u{0}\n")
        client.endOutput()
        let (rest, end) = client.readToEnd()
        #expect(rest == "\u{0}\n31 bytes" && end == .end, "each end passes alone")
        let record = rig.recorder.wait(for: 1)[0]
        #expect(record.reason == .tunnelEnded && record.requestBytes == 31 && record.responseBytes == 39)
        #expect(record.flags == (appProtocol == "tcp" || appProtocol == "mysql" ? [.tcp] : [.tcp, .tls]))
        #expect(record.status == 0 && record.attempts == 1 && record.endpoint.port == backend.port)
        #expect(Self.isGone(rig) && rig.counters().requests == 0)
    }

    @Test func aServerMayBegin() throws {
        let backend = try TestBackend { _, connection, _ in
            connection.send("220 ready\r\n")
            connection.send("250 \(connection.read(until: "\r\n"))")
        }
        // Were anything waited for, it would be this long.
        let rig = try Rig([backend.port], appProtocol: "tcp") { $0.detectTimeout = 60_000 }
        let client = rig.client()
        #expect(client.read(until: "\r\n") == "220 ready\r\n")
        client.send("EHLO a\r\n")
        #expect(client.readToEnd() == ("250 EHLO a\r\n", .end))
    }

    @Test func aServersEndLeavesTheOtherDirectionOpen() throws {
        let backend = try TestBackend { backend, connection, _ in
            connection.send("all")
            connection.endOutput()
            backend.keep(connection.readToEnd().text)
        }
        let rig = try Rig([backend.port], appProtocol: "tcp")
        let client = rig.client()
        #expect(client.readToEnd() == ("all", .end))
        client.send("and then")
        client.endOutput()
        #expect(Poll.until { backend.requests == ["and then"] })
    }

    @Test func aClientsResetIsPassedOn() throws {
        let backend = try TestBackend { backend, connection, _ in
            connection.send("go")
            backend.keep("\(connection.readToEnd().end)")
        }
        let rig = try Rig([backend.port], appProtocol: "tcp")
        let client = rig.client()
        #expect(client.read(until: "go") == "go")
        client.reset()
        #expect(Poll.until { !backend.requests.isEmpty } && backend.requests == ["reset"])
        #expect(rig.recorder.wait(for: 1)[0].reason == .clientGone && Self.isGone(rig))
    }

    /// A server that closes before it has read all resets the connection; what it has said is still for the client.
    @Test func aServersResetIsPassedOnAfterItsBytes() throws {
        let backend = try TestBackend { _, connection, _ in
            _ = connection.read(until: "more")
            connection.send("no")
            connection.reset()
        }
        let rig = try Rig([backend.port], appProtocol: "tcp")
        let client = rig.client()
        client.send("more")
        #expect(client.readToEnd() == ("no", .reset))
        #expect(rig.recorder.wait(for: 1)[0].reason == .backendReset && Self.isGone(rig))
    }

    @Test func aSlowSideStopsTheOtherAndNotTheProxysMemory() throws {
        let gate = Gate()
        let backend = try TestBackend(receiveBuffer: 4096) { backend, connection, _ in
            gate.wait()
            var count = 0
            while case .bytes(let bytes) = connection.receive() { count += bytes.count }
            backend.keep("\(count)")
        }
        let rig = try Rig([backend.port], appProtocol: "tcp")
        let client = rig.client()
        let length = 16 << 20
        try DetachedThread.start {
            client.send(bytes: [UInt8](repeating: 0x61, count: length))
            client.endOutput()
        }
        var held: [UInt64] = []
        #expect(
            Poll.until {
                held.append(rig.counters().buffers)
                return held.count > 50 && held.suffix(20).allSatisfy { $0 == 1 }
            })
        #expect(held.allSatisfy { $0 <= 2 })
        gate.open()
        #expect(Poll.until { backend.requests == ["\(length)"] })
        #expect(rig.recorder.wait(for: 1)[0].requestBytes == UInt64(length))
    }

    @Test func eachHasAConnectionOfItsOwnThatShowsItsClient() throws {
        let backend = try Self.echo()
        let shown = Mutex<[ProxyEndpoint?]>([])
        let rig = try Rig(
            [backend.port], appProtocol: "tcp",
            legs: { request in
                shown.withLock { $0.append(request.client) }
                return Rig.connect(request)
            })
        for _ in 0..<3 {
            let client = rig.client()
            client.send("x")
            client.endOutput()
            _ = client.readToEnd()
        }
        let clients = rig.recorder.wait(for: 3).map {
            ProxyEndpoint(address: $0.origin.client, port: $0.origin.clientPort)
        }
        #expect(shown.withLock { $0 } == clients && Set(clients).count == 3 && backend.connections == 3)
    }

    // MARK: - What does not come about

    enum Fault: CaseIterable {
        case noEndpoint, refused, noSocket

        var reason: ReasonCode {
            switch self {
            case .noEndpoint: .noEndpoint
            case .refused: .connectFailed
            case .noSocket: .legRefused
            }
        }
    }

    @Test(arguments: Fault.allCases) func whatFailsIsReset(_ fault: Fault) throws {
        let closed = try StreamSocket.listen(at: .loopback(port: 0))
        let port = StreamSocket.localEndpoint(closed.rawValue)?.port ?? 0
        _ = consume closed
        let rig = try Rig(
            fault == .noEndpoint ? [] : [port], appProtocol: "tcp",
            legs: { fault == .noSocket ? .refused : Rig.connect($0) })
        #expect(rig.client().receive() == .reset)
        let record = rig.recorder.wait(for: 1)[0]
        #expect(record.reason == fault.reason && record.sentAt == 0 && Self.isGone(rig))
    }

    @Test func connectionsAreBoundedByTheService() throws {
        let backend = try Self.echo()
        var policies = Rig.Policies()
        policies.service.cluster.limits.connections = 1
        let rig = try Rig([backend.port], appProtocol: "tcp", policies: policies)
        let first = rig.client()
        first.send("x")
        #expect(first.read(count: 1) == [0x78])
        #expect(rig.client().receive() == .reset)
        #expect(rig.recorder.wait(for: 1)[0].reason == .circuitOpen)
        first.endOutput()
        _ = first.readToEnd()
        #expect(Self.isGone(rig))
        let next = rig.client()
        next.send("y")
        #expect(next.read(count: 1) == [0x79])
    }

    @Test func anIdleOneIsReset() throws {
        let backend = try TestBackend { backend, connection, _ in
            connection.send("hello")
            backend.keep("\(connection.readToEnd().end)")
        }
        let rig = try Rig([backend.port], appProtocol: "tcp") { $0.tunnelIdleTimeout = 40 }
        let (text, end) = rig.client().readToEnd()
        #expect(text == "hello" && end == .reset)
        #expect(Poll.until { backend.requests == ["reset"] })
        #expect(rig.recorder.wait(for: 1)[0].reason == .responseStalled && Self.isGone(rig))
    }

    @Test func aDrainLetsItEndUntilTheDeadline() throws {
        let backend = try Self.echo()
        let rig = try Rig([backend.port], appProtocol: "tcp")
        let (one, two) = (rig.client(), rig.client())
        for client in [one, two] {
            client.send("x")
            #expect(client.read(count: 1) == [0x78])
        }
        let drained = Gate()
        rig.worker.drain(milliseconds: 60_000) { drained.open() }
        #expect(rig.counters().relays == 2)
        one.send("y")
        one.endOutput()
        #expect(one.readToEnd() == ("y2 bytes", .end))
        rig.worker.drain(milliseconds: 0) {}
        #expect(two.receive() == .reset && Poll.until { drained.isOpen })
        #expect(rig.recorder.wait(for: 2)[1].reason == .drainDeadline)
    }

    // MARK: - Policy

    private static func policy(
        _ action: AuthorizationPolicy.Action, _ set: (inout AuthorizationPolicy.Operation) -> Void
    ) -> AuthorizationPolicy {
        var operation = AuthorizationPolicy.Operation()
        set(&operation)
        return AuthorizationPolicy(
            metadata: ObjectMetadata(name: "p", namespace: "shop"), action: action, rules: [.init(to: [operation])])
    }

    @Test func whatAPolicyOfRequestsDeniesIsReset() throws {
        let backend = try Self.echo()
        for policy in [Self.policy(.allow) { $0.methods = ["GET"] }, Self.policy(.deny) { $0.paths = ["/admin"] }] {
            let rig = try Rig([backend.port], appProtocol: "tcp", policies: .init(authorization: [policy]))
            #expect(rig.client().receive() == .reset)
            let record = rig.recorder.wait(for: 1)[0]
            #expect(record.reason == .denied && record.decision >= 0 && Self.isGone(rig))
        }
        let ports = Self.policy(.allow) { $0.ports = [backend.port] }
        let rig = try Rig([backend.port], appProtocol: "tcp", policies: .init(authorization: [ports]))
        let client = rig.client()
        client.send("x")
        #expect(client.read(count: 1) == [0x78])
        #expect(backend.connections == 1)
    }

    /// The backend is connected already, for a client that has said nothing.
    @Test func aPolicyThatComesBeforeTheFirstWordHolds() throws {
        let backend = try Self.echo()
        let rig = try Rig([backend.port], appProtocol: nil) { $0.detectTimeout = 1 }
        let client = rig.client()
        #expect(Poll.until { backend.connections == 1 })
        rig.publish([backend.port], policies: .init(authorization: [Self.policy(.deny) { $0.methods = ["GET"] }]))
        client.send("anything else\r\n")
        #expect(client.receive() == .reset)
        #expect(rig.recorder.wait(for: 1)[0].reason == .denied && Self.isGone(rig))
    }

    @Test func aPolicyThatComesLaterEndsIt() throws {
        let backend = try TestBackend { backend, connection, _ in
            connection.send("x")
            backend.keep("\(connection.readToEnd().end)")
        }
        let rig = try Rig([backend.port], appProtocol: "tcp")
        let client = rig.client()
        #expect(client.read(count: 1) == [0x78])
        // Another one of the same kind does not.
        rig.publish([backend.port], policies: .init(authorization: [Self.policy(.allow) { $0.ports = [backend.port] }]))
        #expect(rig.counters().relays == 1)
        rig.publish([backend.port], policies: .init(authorization: [Self.policy(.deny) { $0.methods = ["GET"] }]))
        #expect(client.receive() == .reset && Poll.until { backend.requests == ["reset"] })
        let record = rig.recorder.wait(for: 1)[0]
        #expect(record.reason == .denied && record.decision >= 0 && record.generation == 4)
    }

    /// There is nothing that could be lost: the client's connection ends in order, as one that waits for a request.
    @Test func aDrainEndsItBeforeTheFirstWord() throws {
        let backend = try TestBackend { backend, connection, _ in backend.keep(connection.readToEnd().text) }
        let rig = try Rig([backend.port], appProtocol: nil) { $0.detectTimeout = 1 }
        let client = rig.client()
        #expect(Poll.until { backend.connections == 1 })
        let drained = Gate()
        rig.worker.drain(milliseconds: 60_000) { drained.open() }
        #expect(client.receive() == .end)
        client.close()
        #expect(Poll.until { drained.isOpen && backend.requests == [""] })
        #expect(rig.recorder.all.isEmpty && Self.isGone(rig))
    }
}

// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import Synchronization
import Testing

@testable import L7Proxy

/// Commands of other threads: legs, listeners, drain.
@Suite(.serialized) struct WorkerTests {
    private static let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

    private final class Tickets: Sendable {
        let all = Mutex<[LegRequest]>([])
        var count: Int { all.withLock { $0.count } }
    }

    @Test func aLegThatComesLaterServesWhoWaits() throws {
        let backend = try TestBackend { _ in TestBackend.ok() }
        let tickets = Tickets()
        let rig = try Rig(
            [backend.port],
            legs: { request in
                tickets.all.withLock { $0.append(request) }
                return .pending
            })
        let clients = [rig.client(), rig.client()]
        for client in clients { client.send(Self.get) }
        #expect(Poll.until { tickets.count == 2 })
        let request = tickets.all.withLock { $0[0] }
        #expect(request.network == Rig.network && request.port == backend.port)
        // One connection is enough for both, one after the other.
        let socket = StreamSocket.connect(to: .loopback(port: backend.port))
        rig.worker.deliver(OwnedDescriptor(adopting: CInt(socket)), to: request.ticket)
        for client in clients { #expect(client.readMessage() == TestBackend.ok()) }
        #expect(backend.connections == 1)
        rig.worker.refuse(tickets.all.withLock { $0[1].ticket })
        #expect(Poll.until { rig.counters().upstreams == 1 })
    }

    @Test func waitingIsBoundedInNumberAndTime() throws {
        let rig = try Rig(
            [1],
            configure: {
                $0.connectTimeout = 1000
                $0.waitingPerPool = 1
            }, legs: { _ in .pending })
        let first = rig.client()
        first.send(Self.get)
        #expect(Poll.until { rig.counters().dials == 1 })
        let second = rig.client()
        second.send(Self.get)
        #expect(second.readMessage().hasPrefix("HTTP/1.1 503 "))
        #expect(first.readMessage().hasPrefix("HTTP/1.1 504 "))
        #expect(rig.recorder.wait(for: 2).map(\.reason) == [.tooManyWaiting, .connectTimeout])
        #expect(Poll.until { rig.counters().upstreams == 0 })
    }

    @Test func allWhoWaitAreToldWhenLegsAreRefused() throws {
        let tickets = Tickets()
        let rig = try Rig(
            [1],
            legs: { request in
                tickets.all.withLock { $0.append(request) }
                return tickets.count > 2 ? .refused : .pending
            })
        let clients = [rig.client(), rig.client()]
        for client in clients { client.send(Self.get) }
        #expect(Poll.until { tickets.count == 2 })
        for request in tickets.all.withLock({ $0 }) { rig.worker.refuse(request.ticket) }
        for client in clients { #expect(client.readMessage().hasPrefix("HTTP/1.1 503 ")) }
        #expect(Poll.until { rig.counters().upstreams == 0 && rig.counters().exchanges == 0 })
    }

    @Test func aRefusedLegIs503() throws {
        let rig = try Rig([1], legs: { _ in .refused })
        let client = rig.client()
        client.send(Self.get)
        #expect(client.readMessage().hasPrefix("HTTP/1.1 503 "))
        #expect(rig.recorder.wait(for: 1)[0].reason == .legRefused)
    }

    @Test func drainEndsIdleConnectionsAndAnnouncesTheEndOnOthers() throws {
        // RFC 9112 section 9.6.
        let open = Gate()
        let backend = try TestBackend { _, connection, _ in
            while !connection.readHead().isEmpty {
                _ = Poll.until { open.isOpen }
                connection.send(TestBackend.ok())
            }
        }
        let rig = try Rig([backend.port])
        let idle = rig.client()
        let busy = rig.client()
        busy.send(Self.get)
        #expect(Poll.until { rig.counters().connections == 2 && backend.connections == 1 })
        let drained = Gate()
        rig.worker.drain(milliseconds: 60_000) { drained.open() }
        #expect(idle.readToEnd() == ("", .end))
        idle.close()
        #expect(!drained.isOpen)
        open.open()
        let (text, end) = busy.readToEnd()
        #expect(text.contains("Connection: close") && end == .end)
        busy.close()
        #expect(Poll.until { drained.isOpen })
        #expect(TestConnection(port: rig.port).readToEnd().text == "", "nobody listens")
    }

    @Test func drainForgetsAHeadThatIsNotWhole() throws {
        let backend = try TestBackend { _ in TestBackend.ok() }
        let rig = try Rig([backend.port])
        let client = rig.client()
        client.send("GET / HTTP/1.1\r\nHo")
        #expect(Poll.until { rig.counters().exchanges == 1 })
        let drained = Gate()
        rig.worker.drain(milliseconds: 60_000) { drained.open() }
        #expect(client.readToEnd() == ("", .end))
        client.close()
        #expect(Poll.until { drained.isOpen })
        #expect(rig.counters().exchanges == 0)
    }

    @Test func drainCutsWhatIsOpenAtItsDeadline() throws {
        let backend = try TestBackend { _, connection, _ in _ = connection.readToEnd() }
        let rig = try Rig([backend.port])
        let client = rig.client()
        client.send(Self.get)
        #expect(Poll.until { backend.connections == 1 })
        let drained = Gate()
        rig.worker.drain(milliseconds: 20) { drained.open() }
        #expect(client.readToEnd() == ("", .reset))
        #expect(Poll.until { drained.isOpen })
        #expect(rig.recorder.wait(for: 1)[0].reason == .drainDeadline)
    }

    @Test func aRemovedListenerAcceptsNoMoreAndItsConnectionsGoOn() throws {
        let backend = try TestBackend { _ in TestBackend.ok() }
        let rig = try Rig([backend.port])
        let client = rig.client()
        client.send(Self.get)
        _ = client.readMessage()
        rig.worker.removeListener(tag: 1)
        _ = rig.counters()
        #expect(TestConnection(port: rig.port).readToEnd().text == "")
        client.send(Self.get)
        #expect(client.readMessage() == TestBackend.ok())
    }
}

// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Synchronization
import Testing

@testable import L7Proxy

/// What has begun in clear when its pod, of this node or another, takes tunnels: what begins after that goes through one.
@Suite(.serialized) struct InClearTests {
    /// Whose the backend's pod is.
    enum Place: CaseIterable {
        case here, elsewhere

        /// As it was, but that somebody else is reached through tunnels.
        var before: Rig.Policies {
            self == .here ? .init(local: .allow) : .init(remote: [IPAddress("192.0.2.1")!])
        }

        var after: Rig.Policies {
            self == .here ? .init(local: .needsProxy) : .init(remote: [IPAddress("127.0.0.1")!])
        }
    }

    private static func get(_ client: TestConnection) -> String {
        client.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n")
        return client.readMessage()
    }

    private static func isGone(_ rig: Rig) -> Bool { Poll.until { rig.counters().upstreams == 0 } }

    @Test(arguments: Place.allCases, ["http", "kubernetes.io/h2c"])
    func aKeptConnectionCarriesNoMoreRequests(_ place: Place, _ appProtocol: String) throws {
        let seen = HTTP2Seen()
        let backend =
            try appProtocol == "http"
            ? TestBackend { _ in TestBackend.ok() }
            : TestBackend(http2: seen) { peer, stream, _ in peer.respond(stream, 200) }
        let rig = try Rig([backend.port], appProtocol: appProtocol)
        let client = rig.client()
        #expect(Self.get(client).hasPrefix("HTTP/1.1 200 "))
        rig.publish([backend.port], policies: place.before)
        #expect(Self.get(client).hasPrefix("HTTP/1.1 200 "))
        #expect(backend.connections == 1)
        rig.publish([backend.port], policies: place.after)
        #expect(Self.isGone(rig))
        // The one that is asked for now would have to be a tunnel's end.
        #expect(Self.get(client).hasPrefix("HTTP/1.1 503 "))
        #expect(rig.recorder.wait(for: 3).map(\.reason) == [.forwarded, .forwarded, .legRefused])
        #expect(backend.requests.count + seen.requests.count == 2)
    }

    @Test(arguments: Place.allCases, ["http", "kubernetes.io/h2c"])
    func aRequestUnderWayIsTheLastOfItsConnection(_ place: Place, _ appProtocol: String) throws {
        let (began, gate, seen) = (Gate(), Gate(), HTTP2Seen())
        let backend =
            try appProtocol == "http"
            ? TestBackend { _ in
                began.open()
                gate.wait()
                return TestBackend.ok()
            }
            : TestBackend(http2: seen) { peer, stream, _ in
                began.open()
                gate.wait()
                peer.respond(stream, 200)
            }
        let rig = try Rig([backend.port], appProtocol: appProtocol)
        let client = rig.client()
        client.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n")
        began.wait()
        rig.publish([backend.port], policies: place.after)
        #expect(rig.counters().upstreams == 1)
        gate.open()
        #expect(client.readMessage().hasPrefix("HTTP/1.1 200 "))
        #expect(Self.isGone(rig))
        #expect(Self.get(client).hasPrefix("HTTP/1.1 503 "))
        #expect(backend.requests.count + seen.requests.count == 1)
    }

    @Test(arguments: Place.allCases) func aWebSocketEnds(_ place: Place) throws {
        let backend = try TestBackend { backend, connection, _ in
            _ = connection.readHead()
            connection.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nhi")
            backend.keep("\(connection.readToEnd().end)")
        }
        let rig = try Rig([backend.port])
        let client = rig.client()
        client.send("GET / HTTP/1.1\r\nHost: web\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        #expect(client.read(until: "\r\n\r\nhi").hasSuffix("hi"))
        rig.publish([backend.port], policies: place.before)
        #expect(rig.counters().upstreams == 1)
        rig.publish([backend.port], policies: place.after)
        #expect(client.receive() == .reset && Self.isGone(rig))
        #expect(Poll.until { backend.requests == ["reset"] })
        #expect(rig.recorder.wait(for: 1)[0].reason == .denied)
    }

    @Test(arguments: Place.allCases, ["tcp", nil]) func aRelayEnds(_ place: Place, _ appProtocol: String?) throws {
        let backend = try TestBackend { backend, connection, _ in
            backend.keep(connection.readToEnd().text)
        }
        let rig = try Rig([backend.port], appProtocol: appProtocol) { $0.detectTimeout = 1 }
        let client = rig.client()
        if appProtocol != nil { client.send("x") }
        #expect(Poll.until { backend.connections == 1 && rig.counters().relays == (appProtocol == nil ? 0 : 1) })
        rig.publish([backend.port], policies: place.before)
        #expect(rig.counters().upstreams == 1)
        rig.publish([backend.port], policies: place.after)
        // Of a silent client this is looked at when somebody begins.
        if appProtocol == nil { client.send("secret") }
        #expect(client.receive() == .reset)
        #expect(rig.recorder.wait(for: 1)[0].reason == .denied && Self.isGone(rig))
        #expect(Poll.until { backend.requests.count == 1 } && backend.requests[0] == (appProtocol == nil ? "" : "x"))
    }

    /// What went in clear is not told as having been encrypted, whatever has been said since.
    @Test func theRecordSaysByWhatARequestWent() throws {
        let backend = try TestBackend { _ in TestBackend.ok() }
        let ticket = Mutex<LegTicket?>(nil)
        let rig = try Rig(
            [backend.port],
            legs: { request in
                guard backend.connections > 0 else { return Rig.connect(request) }
                ticket.withLock { $0 = request.ticket }
                return .pending
            })
        let client = rig.client()
        #expect(Self.get(client).hasPrefix("HTTP/1.1 200 "))
        rig.publish([backend.port], policies: Place.here.after)
        client.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n")
        #expect(Poll.until { ticket.withLock { $0 != nil } })
        let (near, far) = try LocalEnd.pair()
        rig.worker.deliver(near, to: try #require(ticket.withLock { $0 }))
        let tunnel = TestConnection(far.descriptor)
        #expect(tunnel.readHead().hasPrefix("GET / HTTP/1.1\r\n"))
        tunnel.send(TestBackend.ok())
        #expect(client.readMessage().hasPrefix("HTTP/1.1 200 "))
        #expect(rig.recorder.wait(for: 2).map { $0.flags.contains(.tunnelled) } == [false, true])
        // It is kept as any other.
        rig.publish([backend.port], policies: Place.here.after)
        #expect(rig.counters().upstreams == 1)
    }
}

// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import MeshModel
import Testing

@testable import L7Proxy

/// `connection.idleTimeout` of a MeshPolicy, of connections to backends that carry nothing.
@Suite(.serialized) struct IdleTimeTests {
    private static func policies(_ milliseconds: UInt64) -> Rig.Policies {
        var settings = MeshPolicySettings()
        settings.idleTimeout = GatewayDuration(milliseconds: milliseconds)
        return Rig.Policies(service: ServicePolicy(settings, zone: nil, node: nil))
    }

    /// Greets, and keeps how the connection ends.
    private static func greeter() throws -> TestBackend {
        try TestBackend { backend, connection, _ in
            connection.send("x")
            backend.keep("\(connection.readToEnd().end)")
        }
    }

    private static func isKept(_ rig: Rig) -> Bool { rig.counters().upstreams > 0 }

    @Test func aKeptConnectionIsClosed() throws {
        let backend = try TestBackend(replying: { _ in TestBackend.ok() })
        let rig = try Rig([backend.port], policies: Self.policies(20))
        let client = rig.client()
        client.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n")
        #expect(client.readMessage().hasPrefix("HTTP/1.1 200 "))
        #expect(Poll.until { !Self.isKept(rig) })
        // The client's own connection is not what it is about.
        client.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n")
        #expect(client.readMessage().hasPrefix("HTTP/1.1 200 ") && backend.connections == 2)
    }

    @Test func oneOfHTTP2IsClosedToo() throws {
        let backend = try TestBackend(http2: HTTP2Seen()) { peer, stream, _ in peer.respond(stream, 200) }
        let rig = try Rig([backend.port], appProtocol: "kubernetes.io/h2c", policies: Self.policies(20))
        let client = rig.client()
        client.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n")
        #expect(client.readMessage().hasPrefix("HTTP/1.1 200 "))
        #expect(Poll.until { !Self.isKept(rig) })
    }

    /// A connection that is kept already follows a newer policy when it is next looked at.
    @Test func zeroKeepsAConnectionUntilAnotherPolicyComes() throws {
        let backend = try TestBackend(replying: { _ in TestBackend.ok() })
        let rig = try Rig([backend.port], policies: Self.policies(0)) { $0.upstreamIdleTimeout = 10 }
        let client = rig.client()
        client.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n")
        #expect(client.readMessage().hasPrefix("HTTP/1.1 200 "))
        // For longer than without a policy.
        for _ in 0..<40 { _ = Poll.pause() }
        #expect(Self.isKept(rig))
        rig.publish([backend.port], policies: Self.policies(1))
        #expect(Poll.until { !Self.isKept(rig) })
    }

    @Test func aRelayInWhichNothingMovesIsReset() throws {
        let backend = try Self.greeter()
        let rig = try Rig([backend.port], appProtocol: "tcp", policies: Self.policies(20))
        #expect(rig.client().readToEnd() == ("x", .reset))
        #expect(Poll.until { backend.requests == ["reset"] })
        #expect(rig.recorder.wait(for: 1)[0].reason == .responseStalled)
    }

    @Test func zeroKeepsARelayUntilAnotherPolicyComes() throws {
        let backend = try Self.greeter()
        let rig = try Rig([backend.port], appProtocol: "tcp", policies: Self.policies(0)) { $0.tunnelIdleTimeout = 10 }
        let client = rig.client()
        #expect(client.read(count: 1) == [0x78])
        for _ in 0..<40 { _ = Poll.pause() }
        #expect(rig.counters().relays == 1)
        rig.publish([backend.port], policies: Self.policies(1))
        #expect(client.receive() == .reset)
    }

    /// A relay that began under the usual hour does not wait for its end first.
    @Test func aPolicyThatComesLaterIsForRelaysThatThereAre() throws {
        let backend = try Self.greeter()
        let rig = try Rig([backend.port], appProtocol: "tcp")
        let client = rig.client()
        #expect(client.read(count: 1) == [0x78])
        rig.publish([backend.port], policies: Self.policies(20))
        #expect(client.receive() == .reset)
    }
}

// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import MeshModel
import Synchronization
import Testing

@testable import L7Proxy

/// Connections that the kernel has let in under a policy which the worker does not have, and requests that wait while one
/// comes.
@Suite(.serialized) struct PolicyHoldTests {
    private static let request = "GET /admin HTTP/1.1\r\nHost: web\r\n\r\n"
    private static let closed: AuthorizationPolicy = {
        var operation = AuthorizationPolicy.Operation()
        operation.paths = ["/admin"]
        return AuthorizationPolicy(
            metadata: ObjectMetadata(name: "closed", namespace: "shop"), action: .deny,
            rules: [.init(to: [operation])])
    }()

    @Test func aConnectionOfANewerPolicyWaitsForIt() throws {
        let backend = try TestBackend { _ in TestBackend.ok() }
        let rig = try Rig([backend.port], policyGeneration: 2)
        rig.worker.enforce(policy: 1)
        let client = rig.client()
        client.send(Self.request)
        try Self.wait { rig.counters().connections == 1 }
        // Several turns of the worker later nothing of it was read.
        for _ in 0..<5 { #expect(rig.counters().requests == 0) }
        rig.publish([backend.port], policies: .init(authorization: [Self.closed]))
        rig.worker.enforce(policy: 2)
        #expect(client.readMessage().hasPrefix("HTTP/1.1 403 "), "by the policy that it has waited for")
        #expect(rig.recorder.wait(for: 1).map(\.reason) == [.denied] && backend.requests.isEmpty)
    }

    @Test func oneThatTheWorkerHasIsNotWaitedFor() throws {
        let backend = try TestBackend { _ in TestBackend.ok() }
        let rig = try Rig([backend.port], policyGeneration: 2) { $0.policyPatience = 1_000_000 }
        rig.worker.enforce(policy: 2)
        let client = rig.client()
        client.send(Self.request)
        #expect(client.readMessage().hasPrefix("HTTP/1.1 200 "))
        // A number that is lower changes nothing.
        rig.worker.enforce(policy: 1)
        client.send(Self.request)
        #expect(client.readMessage().hasPrefix("HTTP/1.1 200 "))
    }

    @Test(arguments: [true, false]) func whoHasWaitedLongOrAreManyAreRefused(isLong: Bool) throws {
        let backend = try TestBackend { _ in TestBackend.ok() }
        let rig = try Rig([backend.port], policyGeneration: 2) {
            if isLong { $0.policyPatience = 1 } else { $0.heldConnections = 0 }
        }
        rig.worker.enforce(policy: 1)
        let client = rig.client()
        client.send(Self.request)
        #expect(client.readMessage().hasPrefix("HTTP/1.1 503 "))
        #expect(rig.recorder.wait(for: 1).map(\.reason) == [.policyPending] && backend.requests.isEmpty)
        rig.worker.enforce(policy: 2)
        client.send(Self.request)
        #expect(client.readMessage().hasPrefix("HTTP/1.1 200 "), "the connection lives on")
    }

    @Test func aHeldConnectionThatEndsIsForgotten() throws {
        let rig = try Rig([], policyGeneration: 2) { $0.heldConnections = 1 }
        for _ in 0..<3 {
            let client = rig.client()
            try Self.wait { rig.counters().connections == 1 }
            client.reset()
            rig.worker.enforce(policy: 2)
            try Self.wait { rig.counters().connections == 0 }
        }
    }

    @Test func aDrainDoesNotWaitForAPolicy() throws {
        let rig = try Rig([], policyGeneration: 2)
        let client = rig.client()
        client.send(Self.request)
        try Self.wait { rig.counters().connections == 1 }
        let done = Mutex(false)
        rig.worker.drain(milliseconds: 60_000) { done.withLock { $0 = true } }
        #expect(client.readMessage().hasPrefix("HTTP/1.1 503 "))
        client.close()
        try Self.wait { done.withLock { $0 } }
    }

    /// Judged when it was routed, and again when the socket for it is here: what was published meanwhile holds.
    @Test(arguments: [false, true]) func aRequestThatWaitsForItsSocketIsJudgedAgain(isHTTP2: Bool) throws {
        let backend = try TestBackend { _ in TestBackend.ok() }
        let asked = Mutex<LegRequest?>(nil)
        let rig = try Rig(
            [backend.port], appProtocol: isHTTP2 ? "kubernetes.io/h2c" : nil,
            legs: { request in
                asked.withLock { $0 = request }
                return .pending
            })
        let client = rig.client()
        client.send(Self.request)
        try Self.wait { asked.withLock { $0 != nil } }
        rig.publish([backend.port], policies: .init(authorization: [Self.closed]))
        let inForce = Mutex(false)
        rig.worker.whenInForce { inForce.withLock { $0 = true } }
        try Self.wait { inForce.withLock { $0 } }
        let leg = try #require(asked.withLock { $0 })
        guard case .descriptor(let descriptor) = Rig.connect(leg) else { throw Failure() }
        rig.worker.deliver(OwnedDescriptor(adopting: descriptor), to: leg.ticket)
        #expect(client.readMessage().hasPrefix("HTTP/1.1 403 "))
        #expect(rig.recorder.wait(for: 1).map(\.reason) == [.denied])
        // What begins a connection of HTTP/2 is no request.
        if !isHTTP2 { #expect(backend.requests.isEmpty) }
    }

    /// A pod of this node that is in no record could be anybody: no rule about who asks can be decided.
    @Test func whoIsNotKnownYetIsNotLetThrough() throws {
        let backend = try TestBackend { _ in TestBackend.ok() }
        let rig = try Rig([backend.port])
        let destination = ProxyDestination(
            addresses: [IPAddress("127.0.0.1")!], authorizer: RequestAuthorizer([Self.closed]))
        let service = ProxyService(
            name: Rig.service, port: 80, addresses: [Rig.address],
            endpoints: [ClusterEndpoint(IPAddress("127.0.0.1")!, port: backend.port)])
        rig.worker.publish(ProxySnapshot(generation: 9, services: [service], destinations: [destination]))
        let client = rig.client()
        client.send("GET /open HTTP/1.1\r\nHost: web\r\n\r\n")
        #expect(client.readMessage().hasPrefix("HTTP/1.1 503 "))
        #expect(rig.recorder.wait(for: 1).map(\.reason) == [.policyPending] && backend.requests.isEmpty)
    }

    private struct Failure: Error {}

    private static func wait(_ condition: () -> Bool) throws {
        let isMet = Poll.until(condition)
        try #require(isMet)
    }
}

// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Synchronization
import Testing

@testable import L7Proxy

/// Requests that wait long for their answer, while configurations come and go.
@Suite(.serialized) struct SnapshotHoldTests {
    private final class Weak {
        weak var snapshot: ProxySnapshot?
        init(_ snapshot: ProxySnapshot) { self.snapshot = snapshot }
    }

    /// A rule for everything whose responses tell its version; tried again after a 503.
    private static func rule(_ version: Int, named name: String = "web") -> HTTPRoute.Rule {
        HTTPRoute.Rule(
            filters: [.responseHeaderModifier(HeaderModifier(set: [HeaderField("x-version", "\(version)")]))],
            backends: [RouteBackend(reference: RouteBackendReference(name: name, port: 80), weight: 1)],
            retry: RouteRetry(codes: [503], attempts: 1, backoff: GatewayDuration(milliseconds: 1)))
    }

    /// A backend whose answers wait for `gate`; that of the first two connections is `first`.
    private static func slow(_ gate: Gate, _ first: String = TestBackend.ok()) throws -> TestBackend {
        try TestBackend { backend, connection, number in
            backend.keep(connection.readMessage())
            gate.wait()
            connection.send(number < 2 ? first : TestBackend.ok("again"))
            while !connection.readMessage().isEmpty { connection.send(TestBackend.ok("again")) }
        }
    }

    /// Publishes, and waits until requests are judged by it.
    private static func publish(_ snapshot: ProxySnapshot, _ rig: Rig, policy: UInt32) throws {
        rig.worker.publish(snapshot)
        rig.worker.enforce(policy: policy)
        let done = Gate()
        rig.worker.whenInForce { done.open() }
        let isInForce = Poll.until { done.isOpen }
        try #require(isInForce, "a newer configuration waits for nobody")
    }

    private static func snapshot(_ backend: TestBackend, _ version: Int, _ rules: [HTTPRoute.Rule]) -> ProxySnapshot {
        Rig.snapshot([backend.port], others: [:], rules: rules, generation: UInt64(100 + version))
    }

    @Test func longPollsNeitherKeepOldConfigurationsNorNewOnesOut() throws {
        let gate = Gate()
        let backend = try Self.slow(gate)
        let rig = try Rig([backend.port]) { $0.heldSnapshots = 2 }
        var snapshots: [Weak] = []
        var clients: [TestConnection] = []
        let count = 12
        for version in 0..<count {
            let snapshot = Self.snapshot(backend, version, [Self.rule(version)])
            snapshots.append(Weak(snapshot))
            try Self.publish(snapshot, rig, policy: UInt32(version + 1))
            let client = rig.client()
            client.send("GET /poll HTTP/1.1\r\nHost: web\r\n\r\n")
            clients.append(client)
            let isThere = Poll.until { backend.requests.count == version + 1 }
            try #require(isThere)
        }
        // The newest, two that are held, and what the last to go leaves behind it.
        #expect(Poll.until { snapshots.count { $0.snapshot != nil } <= 3 })
        gate.open()
        let versions = clients.map { client -> String in
            let answer = client.readMessage()
            #expect(answer.hasPrefix("HTTP/1.1 200 "))
            return answer.split(separator: "\r\n").first { $0.hasPrefix("x-version: ") }.map { "\($0.dropFirst(11))" }
                ?? "-"
        }
        // Those whose configuration had to go follow their rule as it came to be; the last ones have their own.
        #expect(versions.suffix(3) == ["9", "10", "11"])
        #expect(versions.prefix(count - 3).allSatisfy { (Int($0) ?? 0) >= 3 }, "\(versions)")
        let records = rig.recorder.wait(for: count)
        #expect(records.allSatisfy { $0.reason == .forwarded && $0.attempts == 1 && $0.rule == 0 && $0.service == 0 })
        #expect(Poll.until { snapshots.count { $0.snapshot != nil } == 1 }, "nobody holds another")
    }

    @Test(arguments: [(true, "200", "again"), (false, "503", "")])
    func aRuleThatIsGoneIsNotRetriedNorItsAnswerChanged(_ isThere: Bool, _ status: String, _ body: String) throws {
        let gate = Gate()
        let backend = try Self.slow(gate, "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
        let rig = try Rig([backend.port]) { $0.heldSnapshots = 1 }
        try Self.publish(Self.snapshot(backend, 0, [Self.rule(0)]), rig, policy: 1)
        let client = rig.client()
        client.send("GET /poll HTTP/1.1\r\nHost: web\r\n\r\n")
        #expect(Poll.until { backend.requests.count == 1 })
        // One that is held as well, so that the first has to go.
        try Self.publish(Self.snapshot(backend, 1, [Self.rule(1)]), rig, policy: 2)
        let other = rig.client()
        other.send("GET /other HTTP/1.1\r\nHost: web\r\n\r\n")
        #expect(Poll.until { backend.requests.count == 2 })
        try Self.publish(Self.snapshot(backend, 2, isThere ? [Self.rule(2)] : []), rig, policy: 3)
        gate.open()
        let answer = client.readMessage()
        #expect(answer.hasPrefix("HTTP/1.1 \(status) ") && answer.hasSuffix("\r\n\r\n\(body)"))
        #expect(answer.contains("x-version: 2") == isThere)
        #expect(other.readMessage().contains("x-version: 1"))
        #expect(Poll.until { rig.counters().exchanges == 0 && rig.counters().buffers <= 2 })
    }

    @Test func aRequestThatHasNoConnectionYetIsAnsweredIfItsServiceIsGone() throws {
        let asked = Mutex<LegRequest?>(nil)
        let rig = try Rig(
            [1], configure: { $0.heldSnapshots = 0 },
            legs: { request in
                asked.withLock { $0 = request }
                return .pending
            })
        let client = rig.client()
        client.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n")
        #expect(Poll.until { asked.withLock { $0 != nil } })
        let empty = ProxySnapshot(generation: 100, services: [])
        try Self.publish(empty, rig, policy: 1)
        #expect(client.readMessage().hasPrefix("HTTP/1.1 503 "))
        #expect(rig.recorder.wait(for: 1).map(\.reason) == [.noEndpoint])
    }
}

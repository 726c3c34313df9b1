// SPDX-License-Identifier: Apache-2.0

import AdminTestSupport
import Glibc
import LinuxIO
import Testing

@testable import MeshAdmin

/// A real server and a real client over a real socket.
@Suite(.serialized) struct ServerTests {
    @Test(.timeLimit(.minutes(1))) func callsAreAnswered() throws {
        let agent = try FakeAgent()
        var client = try agent.client()
        #expect(client.node == "n1")
        #expect(client.agent == "mesh-agent test")
        #expect(try client.one(StatusRequest()) == Samples.status())
        #expect(try client.list(WorkloadsRequest()) == [Samples.workload(number: 0)])
        #expect(try client.list(PoliciesRequest()).isEmpty)
        #expect(
            try client.one(ExplainRequest(source: "a", destination: "b", port: 1, protocol: "TCP")).verdict == .deny)
        _ = try agent.stop()
    }

    @Test(.timeLimit(.minutes(1))) func aListMuchLargerThanTheBufferArrivesWhole() throws {
        var limits = AdminLimits()
        limits.outbound = 64 << 10
        let agent = try FakeAgent(limits: limits)
        var client = try agent.client()
        let items = try client.list(WorkloadsRequest(namespace: "5000"))
        #expect(items.map(\.name) == (0..<5000).map { "web-\($0)" })
        _ = try agent.stop()
    }

    @Test(.timeLimit(.minutes(1))) func errorsCarryCodeMessageAndHintAndTheConnectionLivesOn() throws {
        let agent = try FakeAgent()
        var client = try agent.client()
        let failed = #expect(throws: AdminError.self) { try client.list(ConnectionsRequest()) }
        #expect(failed == AdminError(.failed, "the map is gone", hint: "restart the agent"))
        let missing = #expect(throws: AdminError.self) { try client.list(PoliciesRequest(name: "x")) }
        #expect(missing?.code == .notFound)
        #expect(try client.list(GenerationsRequest()) == [Samples.generation])
        _ = try agent.stop()
    }

    @Test(.timeLimit(.minutes(1))) func aChangeAnswersWhenItIsDoneAndOnlyOnce() throws {
        let agent = try FakeAgent()
        var client = try agent.client()
        var notices: [AdminClient.Notice] = []
        let content = String(repeating: "x", count: 3 << 20)
        let request = ApplyPoliciesRequest(files: [ManifestFile(name: "a.yaml", content: content)])
        #expect(try client.one(request, notice: { notices.append($0) }) == Samples.change)
        #expect(notices == [.progress("root (uid 0) sent \(content.utf8.count) bytes")])
        let error = #expect(throws: AdminError.self) {
            try client.one(ApplyPoliciesRequest(files: [ManifestFile(name: "a.yaml", content: "bad")]))
        }
        #expect(error?.findings.map(\.description) == ["a.yaml:1: error: not a policy"])
        #expect(try client.one(DeletePolicyRequest(policy: Samples.policy)) == Samples.change)
        _ = try agent.stop()
    }

    @Test(.timeLimit(.minutes(1))) func waitingReportsEveryChangeOfTheReasonsAndEndsWhenReady() throws {
        let agent = try FakeAgent(reasons: ["starting"])
        var client = try agent.client()
        let reports = try client.list(StatusRequest(wait: true, timeoutSeconds: 30))
        #expect(reports.map(\.notReady) == [["starting"], ["pod shop/web is pending"], []])
        _ = try agent.stop()
    }

    @Test(.timeLimit(.minutes(1))) func waitingTooLongFailsWithTheReasons() throws {
        let agent = try FakeAgent(reasons: ["never"])
        var client = try agent.client()
        let error = #expect(throws: AdminError.self) {
            try client.list(StatusRequest(wait: true, timeoutSeconds: 0.3))
        }
        #expect(error?.code == .timeout)
        #expect(error?.message.contains("never") == true)
        // The wait is over for the server too: the connection serves the next call.
        #expect(try client.one(StatusRequest()).ready == false)
        _ = try agent.stop()
    }

    @Test(.timeLimit(.minutes(1))) func aFollowerGetsTheRememberedEventsFirstAndIsForgottenWhenItLeaves() throws {
        let agent = try FakeAgent()
        var numbers: [UInt32] = []
        do {
            var client = try agent.client()
            try client.call(FlowsRequest(follow: true, last: 3), patience: .seconds(10)) { (event) throws(AdminError) in
                numbers.append(event.generation)
                return numbers.count == 5 ? .stop : .more
            }
        }
        #expect(numbers == [0, 1, 2, 3, 4])
        let outcome = try agent.join()
        #expect(outcome.cancelled == 1)
        #expect(outcome.clients == 0)
    }

    @Test(.timeLimit(.minutes(1))) func aFollowerThatReadsTooLateIsToldHowManyEventsItLost() throws {
        var limits = AdminLimits()
        limits.outbound = 4096
        let agent = try FakeAgent(limits: limits)
        var items = 0
        var lost: UInt64 = 0
        do {
            var client = try agent.client()
            try client.call(
                FlowsRequest(follow: true, last: 1000), patience: .seconds(10),
                notice: { (notice) throws(AdminError) in
                    if case .lost(let count) = notice { lost += count }
                    // Two remembered, a thousand pushed: none may be missing from the account.
                    if UInt64(items) + lost == 1002 { throw AdminError(.busy, "done") }
                },
                { (_) throws(AdminError) in
                    items += 1
                    return UInt64(items) + lost == 1002 ? .stop : .more
                })
        } catch let error as AdminError {
            #expect(error == AdminError(.busy, "done"))
        }
        #expect(lost > 900)
        #expect(items > 2)
        _ = try agent.join()
    }

    @Test(.timeLimit(.minutes(1))) func anItemThatIsTooLargeIsAnErrorOfItsOwn() throws {
        var limits = AdminLimits()
        limits.response = 1 << 20
        let agent = try FakeAgent(limits: limits)
        var client = try agent.client()
        var received = 0
        let error = #expect(throws: AdminError.self) {
            try client.call(ServicesRequest(namespace: "huge")) { (_) throws(AdminError) in
                received += 1
                return .more
            }
        }
        #expect(error?.code == .tooLarge)
        #expect(received == 1)
        _ = try agent.stop()
    }

    @Test(.timeLimit(.minutes(1))) func theLastStepIsSentBeforeTheAgentEnds() throws {
        let agent = try FakeAgent()
        var client = try agent.client()
        let steps = try client.list(UninstallRequest())
        #expect(steps.count == 100)
        _ = try agent.join()
    }
}

// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import MeshAdmin
import MeshAgent

struct Check: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check", abstract: "Check whether Sockmesh can run here, and how well it does.",
        discussion: "Needs no agent. If one runs, its self-test of the fast path is part of the answer.")

    @OptionGroup var agent: AgentAddress
    @OptionGroup var output: OutputOptions

    func run() throws {
        var report = LocalNode.check()
        report.items += try agentItems()
        try Console.print(report, as: output.output) { CheckText.render($0.items) }
        if !report.passed { throw ExitStatus.failure }
    }

    private func agentItems() throws(AdminError) -> [CheckItem] {
        do throws(AdminError) {
            var client = try agent.connect()
            let status = try client.one(StatusRequest())
            let ready =
                status.ready
                ? CheckItem("agent", .passed, "node \(status.node) is ready, generation \(status.generation)")
                : CheckItem(
                    "agent", .warning, "node \(status.node) is not ready: \(status.notReady.joined(separator: "; "))")
            let gate =
                status.acceleration.enabled
                ? CheckItem("acceleration", .passed, "the fast path is on")
                : CheckItem("acceleration", .warning, "the fast path is off: \(status.acceleration.reason ?? "")")
            return [ready, gate] + status.acceleration.selfTest
        } catch {
            // Whoever names an agent asks about that one.
            if agent.socket != nil || agent.node != nil { throw error }
            return [CheckItem("agent", .skipped, error.message, hint: error.hint)]
        }
    }
}

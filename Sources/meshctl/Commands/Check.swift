// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import MeshAdmin
import MeshAgent

struct Check: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check", abstract: "Check whether Sockmesh can run here, and how well it does.",
        discussion: """
            Needs no agent. If one runs, its self-test of the fast path is part of the answer; else the self-test is run \
            now, if the caller is root.
            """)

    @OptionGroup var agent: AgentAddress
    @OptionGroup var output: OutputOptions

    @Flag(help: "List everything that was looked at, not only what is not well.")
    var all = false

    func run() throws {
        var progress = ProgressLine()
        progress.show("looking at the kernel")
        var report = LocalNode.check()
        progress.show("looking for an agent")
        let ofAgent = try agentItems()
        if let ofAgent {
            report.items += ofAgent
        } else if report.passed {
            progress.show("testing the fast path")
            report.items += LocalNode.selfTest()
        }
        progress.clear()
        try Console.print(report, as: output.output) { CheckText.render($0.items, all: all) }
        if !report.passed { throw ExitStatus.failure }
    }

    /// What the agent says, its own self-test included; `nil` if none listens.
    private func agentItems() throws(AdminError) -> [CheckItem]? {
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
            return error.code == .unreachable ? nil : [CheckItem("agent", .skipped, error.message, hint: error.hint)]
        }
    }
}

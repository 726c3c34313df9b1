// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Glibc
import MeshAdmin

struct Status: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Show the state of the node: readiness, generation, counters, findings.")

    @OptionGroup var agent: AgentAddress
    @OptionGroup var output: OutputOptions

    @Flag(help: "Wait until the node is ready: policy in force, pods enrolled. Also for an agent that is starting.")
    var wait = false

    @Option(
        help: ArgumentHelp("How long to wait at most, for example 30s or 2m.", valueName: "time"),
        transform: { try WaitLimit($0) })
    var timeout: WaitLimit?

    func validate() throws {
        if timeout != nil, !wait { throw ValidationError("--timeout goes with --wait.") }
    }

    func run() throws {
        guard wait else {
            var client = try agent.connect()
            try Console.print(try client.one(StatusRequest()), as: output.output, table: StatusText.render)
            return
        }
        let limit = Duration.seconds(timeout?.seconds ?? 60)
        let deadline = ContinuousClock.now + limit
        var progress = ProgressLine()
        defer { progress.clear() }
        var client = try connect(before: deadline, &progress)
        let left = max(.milliseconds(1), deadline - .now)
        let seconds = Double(left.components.seconds) + Double(left.components.attoseconds) / 1e18
        var last: StatusReport?
        try client.call(
            StatusRequest(wait: true, timeoutSeconds: seconds), patience: left + .seconds(5)
        ) { (report) throws(AdminError) in
            progress.show(StatusText.waiting(report))
            last = report
            return .more
        }
        progress.clear()
        guard let last else { throw AdminError(.failed, "the agent ended the wait without a status") }
        try Console.print(last, as: output.output, table: StatusText.render)
    }

    /// Tries again as long as nobody listens or answers: an agent that was just started may take its time.
    private func connect(
        before deadline: ContinuousClock.Instant, _ progress: inout ProgressLine
    ) throws(AdminError) -> AdminClient {
        while true {
            do throws(AdminError) {
                return try agent.connect()
            } catch {
                guard [.unreachable, .busy, .timeout].contains(error.code) else { throw error }
                guard ContinuousClock.now < deadline else { throw error }
                progress.show(error.message)
                usleep(50_000)
            }
        }
    }
}

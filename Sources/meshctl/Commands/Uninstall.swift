// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import MeshAdmin
import MeshAgent

struct Uninstall: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "uninstall", abstract: "Take the mesh off this node; connections go on by TCP.",
        discussion: """
            Asks the agent, which lets redirected bytes drain, removes everything from the kernel and ends. Without an \
            agent, does the same itself: then name the node, or the directories if they are not the usual ones.
            """)

    @OptionGroup var agent: AgentAddress
    @OptionGroup var output: OutputOptions

    @Flag(help: "Change nothing; list what is there, and exit with 1 if anything is.")
    var check = false

    @Flag(help: "Remove the state directory too: applied policies and their history are lost.")
    var purge = false

    @Option(help: ArgumentHelp("Cgroup of the node, as given to mesh-agent.", valueName: "path"))
    var cgroup: String?

    @Option(help: ArgumentHelp("Directory of pinned objects, as given to mesh-agent.", valueName: "path"))
    var bpffs: String?

    @Option(help: ArgumentHelp("State directory, as given to mesh-agent.", valueName: "path"))
    var stateDir: String?

    func validate() throws {
        if check, purge { throw ValidationError("--check changes nothing and --purge does; give one of them.") }
    }

    func run() throws {
        if check { return try listLeftovers() }
        var steps: [UninstallStep] = []
        var progress = ProgressLine()
        func note(_ step: UninstallStep) {
            steps.append(step)
            progress.show("\(step.outcome.rawValue)  \(step.subject)")
        }
        if let client = try runningAgent() {
            try ask(client, note)
        } else {
            try localNode().uninstall(purge: purge, note)
        }
        progress.clear()
        try Console.print(steps, as: output.output, table: UninstallText.render)
        if steps.contains(where: { $0.outcome == .failed }) { throw ExitStatus.failure }
    }

    private func listLeftovers() throws {
        let configuration = try configuration()
        let steps = try LocalNode(configuration).leftovers()
        try Console.print(steps, as: output.output) { UninstallText.leftovers($0, node: configuration.node) }
        if !steps.isEmpty { throw ExitStatus.failure }
    }

    private func ask(_ client: consuming AdminClient, _ note: (UninstallStep) -> Void) throws(AdminError) {
        try client.call(UninstallRequest(purge: purge)) { (step) throws(AdminError) in
            note(step)
            return .more
        }
    }

    /// The agent of the node; `nil` if none listens.
    private func runningAgent() throws(AdminError) -> AdminClient? {
        do throws(AdminError) {
            return try agent.connect()
        } catch  where error.code == .unreachable {
            return nil
        }
    }

    private func localNode() throws -> LocalNode { LocalNode(try configuration()) }

    private func configuration() throws -> AgentConfiguration {
        var options = AgentOptions()
        options.node = agent.node ?? nodeOfSocket
        options.socket = agent.path
        options.cgroup = cgroup
        options.bpffs = bpffs
        options.stateDirectory = stateDir
        do {
            return try AgentConfiguration(options, on: Machine.current())
        } catch {
            throw AdminError(.invalidRequest, "cannot tell which node is meant: \(error)")
        }
    }

    /// `n1` of `/run/sockmesh/n1.sock`: sockets are named after their node.
    private var nodeOfSocket: String? {
        guard let file = agent.socket?.split(separator: "/").last, file.hasSuffix(".sock") else { return nil }
        return String(file.dropLast(".sock".count))
    }
}

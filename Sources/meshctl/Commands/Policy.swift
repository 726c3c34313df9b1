// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Glibc
import MeshAdmin

struct Policy: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "policy", abstract: "Look at, try, apply, explain and take back policies.",
        subcommands: [
            PolicyApply.self, PolicyGet.self, PolicyDelete.self, PolicyDiffCommand.self, PolicyRollback.self,
            PolicyExplain.self,
        ])
}

/// Where manifests come from.
struct ManifestOptions: ParsableArguments {
    @Option(
        name: [.customShort("f"), .customLong("filename")], parsing: .singleValue,
        help: ArgumentHelp(
            "File of manifests, directory of such files, or - for standard input. May be repeated.",
            valueName: "path"),
        completion: .file(extensions: ["yaml", "yml", "json"]))
    var files: [String] = []

    @Flag(name: [.customShort("R"), .long], help: "Also look into directories of directories.")
    var recursive = false

    func validate() throws {
        if files.isEmpty { throw ValidationError("Nothing to read: name a file, a directory or - with -f.") }
    }

    func read() throws(AdminError) -> [ManifestFile] {
        try ManifestFiles.read(files, recursive: recursive)
    }
}

struct PolicyApply: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "apply", abstract: "Store policies and wait until the kernel enforces them.",
        discussion: """
            All documents are checked before any is applied: either all come into force, as one generation, or none. \
            What is selected but cannot be enforced is listed as warnings.
            """)

    @OptionGroup var agent: AgentAddress
    @OptionGroup var output: OutputOptions
    @OptionGroup var manifests: ManifestOptions

    func run() throws {
        let files = try manifests.read()
        var client = try agent.connect()
        try PolicyChangeCommand.run(ApplyPoliciesRequest(files: files), &client, output.output)
    }
}

struct PolicyDelete: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "delete", abstract: "Remove a policy that was applied, and wait until the kernel has forgotten it."
    )

    @OptionGroup var agent: AgentAddress
    @OptionGroup var output: OutputOptions

    @Argument(help: "Kind, for example NetworkPolicy or netpol.")
    var kind: String

    @Argument(help: "NAMESPACE/NAME.")
    var name: String

    func run() throws {
        let (namespace, name) = try PolicyName.split(name)
        let policy = PolicyReference(kind: try PolicyName.kind(kind), namespace: namespace, name: name)
        var client = try agent.connect()
        try PolicyChangeCommand.run(DeletePolicyRequest(policy: policy), &client, output.output)
    }
}

struct PolicyRollback: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rollback", abstract: "Return to what was applied before.",
        discussion: """
            Concerns what meshctl applied; the configuration directory belongs to whoever writes it. Without --to, takes \
            back the last apply, delete or rollback.
            """)

    @OptionGroup var agent: AgentAddress
    @OptionGroup var output: OutputOptions

    @Option(help: ArgumentHelp("Generation to return to.", valueName: "generation"))
    var to: UInt32?

    @Flag(help: "Only list the generations that are remembered.")
    var list = false

    func validate() throws {
        if list, to != nil { throw ValidationError("--list changes nothing and --to does; give one of them.") }
    }

    func run() throws {
        var client = try agent.connect()
        guard list else {
            return try PolicyChangeCommand.run(RollbackPoliciesRequest(generation: to), &client, output.output)
        }
        try Console.print(try client.list(GenerationsRequest()), as: output.output, table: PolicyText.generations)
    }
}

/// What all commands that change policy do.
enum PolicyChangeCommand {
    static func run<Call: AdminCall>(
        _ call: Call, _ client: inout AdminClient, _ format: OutputFormat
    ) throws(AdminError) where Call.Item == PolicyChangeResult {
        var progress = ProgressLine()
        defer { progress.clear() }
        let result = try client.one(call) { (notice) throws(AdminError) in
            if case .progress(let text) = notice { progress.show(text) }
        }
        progress.clear()
        try Console.print(result, as: format, table: PolicyText.change)
        // In the other forms they are part of the answer.
        if format == .table { Console.printFindings(result.findings) }
    }
}

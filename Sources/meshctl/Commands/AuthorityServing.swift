// SPDX-License-Identifier: Apache-2.0

public import ArgumentParser
import Logging
import MeshAdmin
public import MeshAgent

/// Whose authority it is, where no agent is asked.
struct AuthorityPlace: ParsableArguments {
    @Option(help: ArgumentHelp("State directory, as given to mesh-agent.", valueName: "path"))
    var stateDir: String?

    @Option(help: ArgumentHelp("Trust domain, as given to mesh-agent.", valueName: "name"))
    var trustDomain: String?

    /// Whether the authority of a directory is meant, and not the one that an agent has.
    var isGiven: Bool { stateDir != nil }

    func keeper(_ agent: AgentAddress, configDirectory: String? = nil) throws(AdminError) -> AuthorityKeeper {
        var options = AgentOptions()
        options.node = agent.node
        options.configDirectory = configDirectory
        options.stateDirectory = stateDir
        options.trustDomain = trustDomain
        do { return AuthorityKeeper(try AuthorityConfiguration(options, on: Machine.current())) } catch {
            throw AdminError(.invalidRequest, "cannot tell which authority is meant: \(error)")
        }
    }
}

extension Authority {
    struct Serve: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "serve", abstract: "Serve the authority of a state directory to the nodes of the mesh.",
            discussion: """
                Runs in the foreground until SIGTERM or SIGINT, and logs to standard error. The authority is made if there \
                is none. Nodes join by a file that `meshctl ca token` makes; a node gets the identities only of pods that \
                the manifests of --config-dir put on it (spec.nodeName). The node of this machine joins as the others do. \
                No agent with --identity local can use the same state directory meanwhile.
                """)

        @OptionGroup var agent: AgentAddress
        @OptionGroup var place: AuthorityPlace

        @Option(help: ArgumentHelp("Where nodes are served: 10.0.0.1:15010 for instance.", valueName: "address:port"))
        var listen: String

        @Option(
            help: ArgumentHelp(
                "Directory of manifests with all Pods of the mesh, as given to mesh-agent.", valueName: "path")
        )
        var configDir: String?

        @Option(help: "Form of the log: text or json.")
        var logFormat = AgentConfiguration.LogFormat.text

        func run() throws {
            let logger = Logger(label: "meshctl ca") { _ in StandardErrorLog(format: logFormat, level: .info) }
            try place.keeper(agent, configDirectory: configDir).serveAuthority(at: listen, logger: logger)
        }
    }

    struct Token: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "token", abstract: "Make the file by which a node joins the authority, once.",
            discussion: """
                Copy the file to the node by a way that nobody else reads, and start its agent with --identity join:FILE. \
                The token in it is for that node alone, and is used up by the first key that comes with it. It is printed \
                nowhere.
                """)

        @OptionGroup var agent: AgentAddress
        @OptionGroup var place: AuthorityPlace
        @OptionGroup var output: OutputOptions

        @Argument(
            help: ArgumentHelp("The node that is to join, as in spec.nodeName of its pods.", valueName: "joining-node"))
        var joiningNode: String

        @Option(
            help: ArgumentHelp("Where that node reaches meshctl ca serve: 10.0.0.1:15010.", valueName: "address:port"))
        var address: String

        @Option(
            help: ArgumentHelp("How long the token is good, for example 15m; 1h if not given.", valueName: "time"),
            transform: { try WaitLimit($0) })
        var ttl: WaitLimit?

        @Option(help: ArgumentHelp("The file to make; NODE.join in this directory if not given.", valueName: "path"))
        var out: String?

        func run() throws {
            let path = try Machine.current().absolute(out ?? "\(joiningNode).join")
            let report = try place.keeper(agent).makeJoinFile(
                for: joiningNode, authority: address, lasting: ttl?.seconds ?? 3600, at: path)
            try Console.print(report, as: output.output, table: AuthorityText.join)
        }
    }
}

extension AgentConfiguration.LogFormat: ExpressibleByArgument {}

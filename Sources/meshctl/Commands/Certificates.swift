// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import MeshAdmin
import MeshAgent

struct Identities: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "identity",
        abstract: "List the identities of this node's pods: certificates, when they are renewed, what fails.",
        discussion: """
            With --renew, ask for new certificates now, instead of at half of the lives of those in use: when another \
            intermediate or root signs and the one before is to go soon. What is open goes on.
            """)

    @OptionGroup var agent: AgentAddress
    @OptionGroup var output: OutputOptions

    @Option(name: .shortAndLong, help: "Only identities of this namespace.")
    var namespace: String?

    @Flag(help: "Ask for new certificates now.")
    var renew = false

    func run() throws {
        var client = try agent.connect()
        let identities =
            try renew
            ? client.list(RenewIdentitiesRequest(namespace: namespace))
            : client.list(IdentitiesRequest(namespace: namespace))
        try Console.print(identities, as: output.output, table: CertificateText.render)
    }
}

struct Authority: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ca", abstract: "The certificate authority of this node, or of the mesh.",
        subcommands: [Init.self, Show.self, Rotate.self, Revoke.self, Serve.self, Token.self])

    struct Init: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "init", abstract: "Make the authority, before the agent is started for the first time.",
            discussion: """
                An agent with --identity local makes it by itself. An authority that exists is never replaced.
                """)

        @OptionGroup var agent: AgentAddress
        @OptionGroup var place: AuthorityPlace
        @OptionGroup var output: OutputOptions

        func run() throws {
            let report = try place.keeper(agent).makeAuthority()
            try Console.print(report, as: output.output, table: AuthorityText.render)
        }
    }

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "show", abstract: "Show the certificates of the authority.",
            discussion: """
                Asks the agent; with --state-dir, looks at the authority of that directory. With --bundle, print its roots \
                as PEM: what others must trust.
                """)

        @OptionGroup var agent: AgentAddress
        @OptionGroup var place: AuthorityPlace
        @OptionGroup var output: OutputOptions

        @Flag(help: "Print the roots as PEM.")
        var bundle = false

        func run() throws {
            let report = try place.isGiven ? place.keeper(agent).showAuthority() : ask()
            if bundle { return Console.write(report.generations.map(\.root.pem).joined()) }
            try Console.print(report, as: output.output, table: AuthorityText.render)
        }

        private func ask() throws(AdminError) -> AuthorityReport {
            var client = try agent.connect()
            return try client.one(AuthorityRequest())
        }
    }

    struct Rotate: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "rotate", abstract: "Begin a change of root, go on with it, or change the intermediate.",
            discussion: """
                The next root is in everybody's bundle for 7 days before it signs, or until --use is said. The old one \
                stays until what it has signed has expired. Requests do not fail meanwhile. With --intermediate, the root \
                that signs has another intermediate from now on. Pods get certificates of it when theirs are renewed, or \
                when meshctl identity --renew is said on their node.

                Asks the agent; with --state-dir, changes the authority of that directory, while nobody serves it: stop \
                meshctl ca serve for that moment.
                """)

        @Flag(help: "Let the root that is announced sign from now on.")
        var use = false

        @Flag(help: "Change the intermediate, not the root.")
        var intermediate = false

        @Flag(help: "With --use: also in the first minute, when nodes may not know the root yet.")
        var force = false

        @OptionGroup var agent: AgentAddress
        @OptionGroup var place: AuthorityPlace
        @OptionGroup var output: OutputOptions

        func validate() throws {
            if use && intermediate { throw ValidationError("--use and --intermediate are two changes: say one") }
            if force && !use { throw ValidationError("--force is about --use") }
        }

        private var request: RotateAuthorityRequest {
            RotateAuthorityRequest(
                use ? .useRoot : intermediate ? .renewIntermediate : .announceRoot, force: force)
        }

        func run() throws {
            let report = try place.isGiven ? place.keeper(agent).rotateAuthority(request) : ask()
            try Console.print(report, as: output.output, table: AuthorityText.render)
        }

        private func ask() throws(AdminError) -> AuthorityReport {
            var client = try agent.connect()
            return try client.one(request)
        }
    }
}

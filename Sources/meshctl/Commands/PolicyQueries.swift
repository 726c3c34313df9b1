// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import MeshAdmin

struct PolicyGet: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "get", abstract: "List policies, or print their manifests with -o yaml.",
        discussion: "With -o yaml the output is the manifests themselves: policy apply -f reads it again.")

    @OptionGroup var agent: AgentAddress
    @OptionGroup var output: OutputOptions

    @Argument(help: "Only this kind, for example NetworkPolicy or netpol.")
    var kind: String?

    @Argument(help: "Only this one, NAMESPACE/NAME.")
    var name: String?

    @Option(name: .shortAndLong, help: "Only policies of this namespace.")
    var namespace: String?

    func run() throws {
        var request = PoliciesRequest(kind: try kind.map(PolicyName.kind), namespace: namespace)
        if let name {
            let (namespace, name) = try PolicyName.split(name)
            if let other = self.namespace, other != namespace {
                throw AdminError(.invalidRequest, "\(self.name ?? "") is not in namespace \(other)")
            }
            request.namespace = namespace
            request.name = name
        }
        var client = try agent.connect()
        let policies = try client.list(request)
        guard output.output == .yaml else {
            return try Console.print(policies, as: output.output, table: PolicyText.list)
        }
        Console.write(PolicyText.manifests(policies))
    }
}

struct PolicyDiffCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "diff", abstract: "Show what policy apply would change.")

    @OptionGroup var agent: AgentAddress
    @OptionGroup var output: OutputOptions
    @OptionGroup var manifests: ManifestOptions

    @Flag(help: "Exit with 6 if there are differences.")
    var exitCode = false

    func run() throws {
        let files = try manifests.read()
        var client = try agent.connect()
        let diff = try client.one(DiffPoliciesRequest(files: files))
        try Console.print(diff, as: output.output, table: PolicyText.diff)
        if output.output == .table { Console.printFindings(diff.findings) }
        if exitCode, diff.differs { throw ExitStatus.negative }
    }
}

struct PolicyExplain: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain",
        abstract: "Say whether a connection is allowed now, or what becomes of a request, and what decides.",
        discussion: """
            Runs the kernel's own verdict on the live maps. SRC is NAMESPACE/NAME of a pod or an address; DST also a \
            service: pod/NAMESPACE/NAME and service/NAMESPACE/NAME tell them apart where both exist.

            With a method and a path it also says what the node proxy does with such a request: route and rule, \
            filters, backends, policies; or what it answers itself, and why. No request is made.
            """)

    @OptionGroup var agent: AgentAddress
    @OptionGroup var output: OutputOptions

    @Argument(help: ArgumentHelp("NAMESPACE/NAME or an address.", valueName: "src"))
    var source: String

    @Argument(
        help: ArgumentHelp("Destination and port: shop/db:5432, shop/dns:53/udp, [fd00::1]:80.", valueName: "dst:port"),
        transform: { try FlowTarget($0) })
    var target: FlowTarget

    @Argument(help: "Method of a request, for example GET.")
    var method: String?

    @Argument(help: "Its path, perhaps with a query: /api/items?id=1.")
    var path: String?

    @Option(
        name: [.customShort("H"), .long], parsing: .singleValue,
        help: ArgumentHelp(
            "Line of the request's header; Host too. May be repeated.", valueName: "name: value"))
    var header: [String] = []

    @Flag(help: "Exit with 6 unless it is allowed, or the request reaches a backend.")
    var exitCode = false

    func validate() throws {
        if method != nil, path == nil { throw ValidationError("A request has a path: add for example /.") }
        if method == nil, !header.isEmpty {
            throw ValidationError("-H is for a request: write its method and path after DST:PORT.")
        }
    }

    func run() throws {
        var client = try agent.connect()
        var question: RequestQuestion?
        if let method, let path { question = RequestQuestion(method: method, path: path, headers: header) }
        let report = try client.one(
            ExplainRequest(
                source: source, destination: target.destination, port: target.port, protocol: target.protocol,
                request: question))
        try Console.print(report, as: output.output, table: ExplainText.render)
        guard exitCode else { return }
        let isYes = report.request.map { [.forwarded, .direct].contains($0.outcome) } ?? (report.verdict == .allow)
        if !isYes { throw ExitStatus.negative }
    }
}

// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import MeshAdmin
import MeshVersion

struct Workloads: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "workloads", abstract: "List the pods of this node: enrolment, identity, policies, connections.")

    @OptionGroup var agent: AgentAddress
    @OptionGroup var output: OutputOptions

    @Option(name: .shortAndLong, help: "Only pods of this namespace.")
    var namespace: String?

    @Flag(help: "Also pods of other nodes, and pods that have not opted in.")
    var all = false

    func run() throws {
        var client = try agent.connect()
        let workloads = try client.list(WorkloadsRequest(namespace: namespace, all: all))
        try Console.print(workloads, as: output.output, table: WorkloadText.render)
    }
}

struct Services: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "services", abstract: "List the services as this node translates them, and their backends.")

    @OptionGroup var agent: AgentAddress
    @OptionGroup var output: OutputOptions

    @Option(name: .shortAndLong, help: "Only services of this namespace.")
    var namespace: String?

    func run() throws {
        var client = try agent.connect()
        let services = try client.list(ServicesRequest(namespace: namespace))
        try Console.print(services, as: output.output, table: ServiceText.render)
    }
}

struct Routes: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "routes",
        abstract: "List the routes that the node proxy enforces, and whether their parents accept them.")

    @OptionGroup var agent: AgentAddress
    @OptionGroup var output: OutputOptions

    @Option(name: .shortAndLong, help: "Only routes of this namespace.")
    var namespace: String?

    func run() throws {
        var client = try agent.connect()
        let routes = try client.list(RoutesRequest(namespace: namespace))
        try Console.print(routes, as: output.output, table: RouteText.render)
    }
}

struct Connections: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "connections",
        abstract: "List open TCP connections: which path each direction takes, and why.")

    @OptionGroup var agent: AgentAddress
    @OptionGroup var output: OutputOptions

    @Option(
        help: ArgumentHelp(
            "Only connections with this end: NAMESPACE, NAMESPACE/NAME, an address or a prefix.", valueName: "end"),
        transform: { try EndSelector($0) })
    var workload: EndSelector?

    @Option(help: "At most so many.")
    var limit: Int?

    func validate() throws {
        if let limit, limit < 1 { throw ValidationError("--limit must be 1 or more.") }
    }

    func run() throws {
        var client = try agent.connect()
        let connections = try client.list(ConnectionsRequest(workload: workload, limit: limit))
        try Console.print(connections, as: output.output, table: ConnectionText.render)
    }
}

struct Version: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "version", abstract: "Print the versions of meshctl and of the agent, if one runs.")

    @OptionGroup var agent: AgentAddress
    @OptionGroup var output: OutputOptions

    /// What `-o json` prints.
    struct Report: Encodable {
        let meshctl: String
        /// Program and version of the agent; absent if none was reached.
        let agent: String?
        let node: String?
        let adminProtocol: Int
    }

    func run() throws {
        let report: Report
        do throws(AdminError) {
            let client = try agent.connect()
            report = Report(
                meshctl: SockmeshVersion.current, agent: client.agent, node: client.node,
                adminProtocol: AdminProtocol.version)
        } catch {
            // Whoever names an agent wants to know about that one.
            if agent.socket != nil || agent.node != nil { throw error }
            report = Report(
                meshctl: SockmeshVersion.current, agent: nil, node: nil, adminProtocol: AdminProtocol.version)
        }
        try Console.print(report, as: output.output) { report in
            var fields = FieldList()
            fields.add("meshctl", report.meshctl)
            fields.add("agent", report.agent.map { "\($0), node \(report.node ?? "-")" } ?? "not reached")
            return fields.rendered()
        }
    }
}

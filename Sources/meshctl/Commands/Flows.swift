// SPDX-License-Identifier: Apache-2.0

public import ArgumentParser
import Glibc
public import MeshAdmin

struct Flows: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "flows", abstract: "Show what happened to connections: opened, denied, closed, cut.",
        discussion: """
            Without --follow, prints the events that the agent remembers. With it, goes on until interrupted; with \
            -o json it then prints one object per line, with -o yaml one document per event.
            """)

    @OptionGroup var agent: AgentAddress
    @OptionGroup var output: OutputOptions

    @Flag(name: .shortAndLong, help: "Go on with the events to come.")
    var follow = false

    @Option(help: ArgumentHelp("Of the remembered events, only the newest so many.", valueName: "count"))
    var last: Int?

    @Option(
        help: ArgumentHelp("Only flows from: NAMESPACE, NAMESPACE/NAME, an address or a prefix.", valueName: "end"),
        transform: { try EndSelector($0) })
    var from: EndSelector?

    @Option(
        help: ArgumentHelp("Only flows to such an end, or to such a service.", valueName: "end"),
        transform: { try EndSelector($0) })
    var to: EndSelector?

    @Option(help: "Only flows with this verdict: allowed or denied.")
    var verdict: FlowVerdict?

    func validate() throws {
        if let last, last < 0 { throw ValidationError("--last must not be negative.") }
    }

    func run() throws {
        var client = try agent.connect()
        let request = FlowsRequest(
            follow: follow, last: last, filter: FlowFilter(from: from, to: to, verdict: verdict))
        guard follow else {
            let events = try client.list(request)
            try Console.print(events, as: output.output) { events in
                events.isEmpty ? "No events.\n" : events.map(FlowText.render).joined()
            }
            return
        }
        try client.call(
            request, patience: nil,
            notice: { (notice) throws(AdminError) in
                if case .lost(let count) = notice { Console.write(FlowText.lost(count), to: STDERR_FILENO) }
            },
            { (event) throws(AdminError) in
                switch output.output {
                case .table: Console.write(FlowText.render(event))
                case .json: Console.write(try Console.json(event, pretty: false) + "\n")
                case .yaml: Console.write("---\n" + (try Console.yaml(event)))
                }
                return .more
            })
    }
}

extension FlowVerdict: ExpressibleByArgument {}

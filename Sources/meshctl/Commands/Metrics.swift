// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import MeshAdmin

struct Metrics: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "metrics", abstract: "Show what agent and proxy count, as Prometheus would read it from them.",
        discussion: """
            For people it is summed up: a line for each metric and set of labels, histograms as count, mean and percentiles, \
            without the labels that say nothing. With -o json or yaml: every sample with all labels. Needs no --metrics of \
            the agent.
            """)

    @OptionGroup var agent: AgentAddress
    @OptionGroup var output: OutputOptions

    @Argument(help: "Only metrics whose name begins like this, for example istio_requests.")
    var name: String?

    @Flag(help: "Print the page as it is, in Prometheus' text format.")
    var raw = false

    func validate() throws {
        if raw, name != nil { throw ValidationError("--raw prints the whole page; a name cannot be chosen.") }
        if raw, output.output != .table { throw ValidationError("--raw has a form of its own; leave -o away.") }
    }

    func run() throws {
        var client = try agent.connect()
        let page = try client.list(MetricsRequest()).map(\.text).joined()
        if raw { return Console.write(page) }
        let samples: [MetricSample]
        do throws(ExpositionReader.Unreadable) {
            samples = try ExpositionReader.read(page)
        } catch {
            throw AdminError(.failed, "\(error)", hint: "meshctl metrics --raw prints it as it is")
        }
        let wanted = samples.filter { name.map($0.name.hasPrefix) ?? true }
        try Console.print(wanted, as: output.output, table: MetricText.render)
    }
}

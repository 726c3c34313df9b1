// SPDX-License-Identifier: Apache-2.0

import MeshAdmin

/// A verdict and its reasons for people.
enum ExplainText {
    static func render(_ report: ExplainReport) -> String {
        let target =
            report.service.map { "service \($0.service ?? $0.address)" }
            ?? report.answers.first.map { $0.destination.workload ?? $0.destination.address } ?? "nothing"
        var text = "\(word(report.verdict)): \(report.source.workload ?? report.source.address) -> "
        text += "\(target), port \(report.port)/\(report.protocol), generation \(report.generation)\n\n"
        var fields = FieldList()
        fields.add("source", end(report.source))
        if let service = report.service {
            fields.add("service", "\(service.service ?? "-") \(Units.endpoint(service.address, service.port))")
        }
        if report.answers.isEmpty { fields.add("destination", "no endpoint: refused") }
        for answer in report.answers {
            let reason = answer.reason.map { " (\($0))" } ?? ""
            fields.add("destination", "\(end(answer.destination)): \(word(answer.verdict))\(reason)")
            fields.add("  egress", answer.egress.map(direction))
            fields.add("  ingress", answer.ingress.map(direction))
            fields.add("  clients", answer.peerAuthentication)
            fields.add("  path", answer.path.map(FlowText.path))
        }
        text += fields.rendered()
        if let request = report.request { text += "\n" + RequestExplainText.render(request) }
        return text + report.findings.map { "\($0)\n" }.joined()
    }

    private static func direction(_ report: ExplainReport.DirectionReport) -> String {
        let policies = report.policies.map(\.description).joined(separator: ", ")
        return "\(word(report.verdict)): \(report.explanation)" + (policies.isEmpty ? "" : " [\(policies)]")
    }

    private static func end(_ end: EndReport) -> String {
        var words = end.workload.map { [$0, end.address] } ?? [end.address]
        if let identity = end.identity { words.append("identity \(identity.number) \(identity.name)") }
        return words.joined(separator: " ")
    }

    private static func word(_ verdict: ExplainReport.Verdict) -> String {
        switch verdict {
        case .allow: "allowed"
        case .deny: "denied"
        case .needsL7: "led to the proxy, refused without one"
        case .mixed: "allowed for some backends only"
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

import MeshAdmin

/// What becomes of a request, for people.
enum RequestExplainText {
    static func render(_ report: RequestReport) -> String {
        var fields = FieldList()
        fields.add("request", "\(report.method) \(report.path), Host \(report.host)")
        let status = report.status.map { " \($0)" } ?? ""
        fields.add("outcome", "\(word(report.outcome))\(status): \(report.explanation)")
        fields.add("location", report.location)
        fields.add("proxy", report.capture)
        fields.add("route", report.route.map(route))
        for filter in report.filters { fields.add("filter", filter) }
        for backend in report.backends { add(backend, report, &fields) }
        for setting in report.settings {
            fields.add("setting", "\(setting.field): \(setting.value) [\(setting.policy), for \(setting.service)]")
        }
        return fields.rendered()
    }

    private static func route(_ rule: RouteRuleReport) -> String {
        let name = rule.ruleName.map { " '\($0)'" } ?? ""
        return "\(rule.kind) \(rule.namespace)/\(rule.name) rule \(rule.rule)\(name), match \(rule.match): "
            + rule.condition
    }

    private static func add(_ backend: RequestBackendReport, _ report: RequestReport, _ fields: inout FieldList) {
        var words = [
            backend.service.map { "\($0):\(backend.port ?? 0)" }
                ?? (backend.endpoints.isEmpty ? "none" : "where the client has connected to")
        ]
        if report.backends.count > 1 { words.append("weight \(backend.weight), \(percent(backend.percent)) %") }
        words.append("\(backend.ready) ready")
        if backend.path != report.path || backend.host != report.host {
            words.append("gets \(backend.path), Host \(backend.host)")
        }
        if let status = backend.status { words.append("the proxy answers \(status): \(backend.explanation ?? "")") }
        fields.add("backend", words.joined(separator: ", "))
        for endpoint in backend.endpoints {
            let address = Units.endpoint(endpoint.address, endpoint.port)
            let name = endpoint.workload.map { "\($0) \(address)" } ?? address
            let status = endpoint.status.map { " with \($0)" } ?? ""
            let dryRun = endpoint.dryRun.map { "; with dry-run policies \(word($0))" } ?? ""
            fields.add(
                "  endpoint", "\(name): \(word(endpoint.verdict))\(status): \(endpoint.explanation)\(dryRun)")
        }
    }

    private static func percent(_ value: Double) -> String {
        let tenths = Int((value * 10).rounded())
        return tenths % 10 == 0 ? "\(tenths / 10)" : "\(tenths / 10).\(tenths % 10)"
    }

    private static func word(_ verdict: ExplainReport.Verdict) -> String {
        verdict == .allow ? "allowed" : "denied"
    }

    private static func word(_ outcome: RequestReport.Outcome) -> String {
        switch outcome {
        case .refused: "refused"
        case .direct: "not the proxy's"
        case .forwarded: "forwarded"
        case .answered: "answered by the proxy with"
        case .mixed: "it depends"
        }
    }
}

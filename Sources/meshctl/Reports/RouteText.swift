// SPDX-License-Identifier: Apache-2.0

import MeshAdmin

/// Routes for people: one line for each parent, and one for each condition that is not as it should be.
enum RouteText {
    static func render(_ routes: [RouteReport]) -> String {
        var table = Table("ROUTE", "PARENT", "ACCEPTED", "RESOLVED", "MESSAGE")
        for route in routes {
            var head = "\(route.kind) \(route.namespace)/\(route.name)"
            guard !route.parents.isEmpty else {
                table.add(head, "none is a Service", "", "", "")
                continue
            }
            for parent in route.parents {
                add(parent, head, to: &table)
                head = ""
            }
        }
        return table.rendered(empty: "No routes.")
    }

    /// Conditions that are not as they should be if they are true.
    private static let bad = ["PartiallyInvalid", "PassedBy"]

    private static func add(_ parent: RouteParentReport, _ head: String, to table: inout Table) {
        let port = parent.port.map { ":\($0)" } ?? ""
        let section = parent.sectionName.map { " (\($0))" } ?? ""
        func reason(_ type: String) -> String {
            guard let found = parent.conditions.first(where: { $0.type == type }) else { return "-" }
            return found.status == "True" ? "yes" : "no: \(found.reason)"
        }
        var messages = parent.conditions.filter { $0.status != "True" || bad.contains($0.type) }.map(\.message)
        if messages.isEmpty { messages = parent.conditions.filter { $0.type == "Accepted" }.map(\.message) }
        let columns = [
            "Service \(parent.namespace)/\(parent.name)\(port)\(section)", reason("Accepted"), reason("ResolvedRefs"),
        ]
        table.addContinuation(head, columns[0], columns[1], columns[2], messages.first ?? "")
        for message in messages.dropFirst() { table.addContinuation("", "", "", "", message) }
    }
}

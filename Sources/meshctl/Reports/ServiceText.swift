// SPDX-License-Identifier: Apache-2.0

import MeshAdmin

/// Services for people: one line for each backend.
enum ServiceText {
    static func render(_ services: [ServiceReport]) -> String {
        var table = Table("SERVICE", "TYPE", "ADDRESS", "AFFINITY", "BACKEND", "POD", ">WEIGHT", "READY", "LOCAL")
        for service in services {
            let name = "\(service.namespace)/\(service.name)"
            let affinity = service.affinitySeconds.map { Units.seconds(Double($0)) } ?? "-"
            guard !service.frontends.isEmpty else {
                table.add(name, service.type, "", affinity, "", "", "", "", "")
                continue
            }
            for frontend in service.frontends {
                let address = "\(Units.endpoint(frontend.address, frontend.port))/\(frontend.protocol)"
                let head = [name, service.type, address, affinity]
                guard let first = frontend.backends.first else {
                    table.add(head[0], head[1], head[2], head[3], "none: refuses", "", "", "", "")
                    continue
                }
                add(first, head, to: &table)
                for backend in frontend.backends.dropFirst() { add(backend, ["", "", "", ""], to: &table) }
            }
        }
        return table.rendered(empty: "No services.")
    }

    private static func add(_ backend: BackendReport, _ head: [String], to table: inout Table) {
        table.addContinuation(
            head[0], head[1], head[2], head[3], Units.endpoint(backend.address, backend.port), backend.workload ?? "-",
            "\(backend.weight)", backend.terminating ? "terminating" : backend.ready ? "yes" : "no",
            backend.local ? "yes" : "no")
    }
}

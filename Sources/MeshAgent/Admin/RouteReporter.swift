// SPDX-License-Identifier: Apache-2.0
import MeshAdmin
import MeshModel

/// Makes the answer to `meshctl routes`.
struct RouteReporter {
    private let compiler: MeshCompiler

    init(_ node: Node) { compiler = node.state.reconciler.compiler }

    func reports(_ request: RoutesRequest) throws(AdminError) -> [RouteReport] {
        guard compiler.configuration.hasProxy else {
            throw AdminError(
                .conflict, "no node proxy runs, so no routes are read",
                hint: "start mesh-agent with its proxy: see --proxy")
        }
        return compiler.routeStatuses.filter { status in
            request.namespace.map { $0 == status.route.namespace } ?? true
        }.map { status in
            RouteReport(
                kind: status.route.kind, namespace: status.route.namespace, name: status.route.name,
                parents: status.parents.map { parent($0, of: status.route) })
        }
    }

    private func parent(_ parent: RouteStatus.Parent, of route: ObjectReference) -> RouteParentReport {
        let service = parent.reference.target(from: route.namespace)
        return RouteParentReport(
            namespace: service.namespace, name: service.name, port: parent.reference.port,
            sectionName: parent.reference.sectionName,
            conditions: parent.conditions.map {
                RouteConditionReport(
                    type: $0.kind.rawValue, status: $0.isTrue ? "True" : "False", reason: $0.reason.rawValue,
                    message: $0.message)
            })
    }
}

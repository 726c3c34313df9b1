// SPDX-License-Identifier: Apache-2.0

/// Ports that somebody has said do not speak HTTP: connections to them pass by the routes that are attached.
extension MeshCompiler {
    private struct OpaquePort {
        let message: String
        /// `nil`: the Service itself says so.
        let policy: ObjectReference?
    }

    /// What each route's status should say, ordered by kind and name, also of what policies say of its ports. Costs as
    /// much as there are routes.
    public var routeStatuses: [RouteStatus] {
        routes.statuses.map { status in
            RouteStatus(
                route: status.route,
                parents: status.parents.map { .init(reference: $0.reference, conditions: conditions($0, of: status)) })
        }
    }

    private func conditions(_ parent: RouteStatus.Parent, of status: RouteStatus) -> [RouteCondition] {
        guard let accepted = parent[.accepted], accepted.isTrue else { return parent.conditions }
        let ports = opaquePorts(of: parent.reference, from: status.route.namespace)
        guard !ports.isEmpty else { return parent.conditions }
        return parent.conditions + [
            RouteCondition(
                kind: .passedBy, isTrue: true, reason: .opaquePort,
                message: ports.map(\.message).joined(separator: "; "), observedGeneration: accepted.observedGeneration)
        ]
    }

    /// The routes that are passed by.
    ///
    /// - Parameter references: Of routes, and of policies that have their ports passed by; `nil`: all.
    func routeFindings(_ references: Set<ObjectReference>?) -> [Finding] {
        // A policy may concern any route.
        let isForPolicies = references?.contains { meshPolicies[$0] != nil } ?? true
        var findings: [Finding] = []
        for reference in isForPolicies ? Set(routeObjects.keys) : references ?? [] {
            guard case .route(let route)? = routeObjects[reference], let status = routes.status(of: reference) else {
                continue
            }
            for (index, parent) in route.parentRefs.enumerated() {
                guard status.parents.first(where: { $0.reference == parent })?[.accepted]?.isTrue == true else {
                    continue
                }
                for port in opaquePorts(of: parent, from: reference.namespace)
                where references.map({ $0.contains(reference) || port.policy.map($0.contains) ?? false }) ?? true {
                    findings.append(
                        Finding(
                            policy: reference, pod: nil, path: "spec.parentRefs[\(index)]", reason: .passedBy,
                            message: port.message))
                }
            }
        }
        return findings
    }

    private func opaquePorts(of parent: RouteParentReference, from namespace: String) -> [OpaquePort] {
        let name = parent.target(from: namespace)
        guard parent.isService, let service = services[name] else { return [] }
        return service.ports.filter(parent.selects).compactMap { port in
            let resolution = meshPolicy(of: name, port: port.name)
            let said = resolution.detection(ofPort: port.port)
            let spoken = PortProtocol(appProtocol: port.appProtocol, said?.detection)
            guard spoken.isOpaque else { return nil }
            let policy = said.flatMap { resolution.sources[$0.field] }
            let source =
                policy.flatMap { policy in said.map { "\(policy) says so in spec.\($0.field.rawValue)" } }
                ?? "its appProtocol is \(port.appProtocol ?? "")"
            return OpaquePort(
                message: "connections to port \(port.port) of Service \(name) pass by the route, for it speaks "
                    + "\(spoken == .tls ? "TLS" : "TCP"): \(source)", policy: policy)
        }
    }
}

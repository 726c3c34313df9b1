// SPDX-License-Identifier: Apache-2.0

/// Decides what the status of routes says. A function of the objects alone.
struct RouteStatusEvaluation {
    let services: ShardedDictionary<NamespacedName, Service>
    let attached: ShardedDictionary<NamespacedName, ServiceRoutes>
    let resolver: RouteBackendResolver

    func status(of route: MeshRoute) -> RouteStatus {
        let problem = Self.reasonNotToAccept(route)
        let resolved = Self.resolvedRefs(route, resolver)
        return RouteStatus(
            route: route.reference,
            parents: route.parentRefs.filter(\.isService).map { parent in
                let accepted = acceptance(of: route, by: parent, problem)
                let partial = accepted.isTrue ? Self.partiallyInvalid(route) : nil
                return .init(reference: parent, conditions: [accepted, resolved] + (partial.map { [$0] } ?? []))
            })
    }

    /// The ports of a Service that a reference to it means; with why there are none.
    static func ports(of parent: RouteParentReference, _ service: Service) -> (ports: [UInt16], problem: String) {
        let name = service.namespacedName
        // Routes decide for what is sent to the address of the Service.
        if service.isHeadless { return ([], "Service \(name) is headless: it has no address of its own") }
        if service.kind == .externalName { return ([], "Service \(name) is an ExternalName") }
        let ports = service.ports.filter(parent.selects).map(\.port)
        if ports.isEmpty {
            let wanted = [parent.port.map(String.init), parent.sectionName.map { "named \($0)" }].compactMap(\.self)
            return ([], "Service \(name) has no TCP port \(wanted.joined(separator: " "))")
        }
        return (ports, "")
    }

    /// Why a route is not accepted by any parent: none of its rules can be served.
    static func reasonNotToAccept(_ route: MeshRoute) -> String? {
        let rules = route.ruleBodies
        guard !rules.isEmpty, rules.allSatisfy({ !$0.unsupported.isEmpty }) else { return nil }
        return rules.flatMap(\.unsupported).map { "\($0.field): \($0.reason)" }.joined(separator: "; ")
    }

    private func acceptance(
        of route: MeshRoute, by parent: RouteParentReference, _ problem: String?
    ) -> RouteCondition {
        func condition(_ reason: RouteCondition.Reason, _ message: String) -> RouteCondition {
            RouteCondition(
                kind: .accepted, isTrue: reason == .accepted, reason: reason, message: message,
                observedGeneration: route.generation)
        }
        let name = parent.target(from: route.metadata.namespace)
        guard let service = services[name] else { return condition(.noMatchingParent, "Service \(name) not found") }
        let found = Self.ports(of: parent, service)
        if found.ports.isEmpty { return condition(.noMatchingParent, found.problem) }
        if let problem { return condition(.unsupportedValue, problem) }
        let routes = attached[name]
        let served = found.ports.filter {
            routes?.serves(route.kind, .init(port: $0, namespace: route.metadata.namespace)) == true
        }
        if served.isEmpty {
            return condition(.conflicted, "a GRPCRoute is attached to the same port and goes before an HTTPRoute")
        }
        let side = route.metadata.namespace == name.namespace ? "all clients" : "clients of its namespace"
        let list = served.sorted().map(String.init).joined(separator: ", ")
        return condition(.accepted, "attached to port \(list) of Service \(name), for \(side)")
    }

    /// The first backend or mirror that leads nowhere, which names the reason; the message has all.
    private static func resolvedRefs(_ route: MeshRoute, _ resolver: RouteBackendResolver) -> RouteCondition {
        var reason: RouteCondition.Reason?
        var messages: [String] = []
        func check(_ reference: RouteBackendReference, _ field: String) {
            guard case .invalid(let cause, let message) = resolver.resolve(reference, of: route) else { return }
            reason = reason ?? cause
            messages.append("\(field): \(message)")
        }
        func check(_ filters: [RouteFilter], _ field: String) {
            for (index, filter) in filters.enumerated() {
                guard case .requestMirror(let mirror) = filter else { continue }
                check(mirror.backend, "\(field).filters[\(index)].requestMirror.backendRef")
            }
        }
        for (index, rule) in route.ruleBodies.enumerated() {
            let field = "spec.rules[\(index)]"
            check(rule.filters, field)
            for (number, backend) in rule.backends.enumerated() {
                check(backend.reference, "\(field).backendRefs[\(number)]")
                check(backend.filters, "\(field).backendRefs[\(number)]")
            }
        }
        return RouteCondition(
            kind: .resolvedRefs, isTrue: reason == nil, reason: reason ?? .resolvedRefs,
            message: reason == nil ? "every reference leads to a Service" : messages.joined(separator: "; "),
            observedGeneration: route.generation)
    }

    private static func partiallyInvalid(_ route: MeshRoute) -> RouteCondition? {
        let rules = route.ruleBodies.enumerated().filter { !$0.element.unsupported.isEmpty }
        guard !rules.isEmpty else { return nil }
        let list = rules.map { index, rule in
            let name = rule.name.map { " (\($0))" } ?? ""
            // The API's word for both; a rule that is known to be for a request must not let it pass to the next.
            let fate = rule.unsupported.contains { $0.part == .match } ? "" : ", its requests are refused"
            let causes = rule.unsupported.map { "\($0.field): \($0.reason)" }.joined(separator: "; ")
            return "\(index)\(name)\(fate): \(causes)"
        }
        return RouteCondition(
            kind: .partiallyInvalid, isTrue: true, reason: .unsupportedValue,
            message: "Dropped Rule " + list.joined(separator: "; "), observedGeneration: route.generation)
    }
}

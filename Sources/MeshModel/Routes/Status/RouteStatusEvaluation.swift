// SPDX-License-Identifier: Apache-2.0

/// Decides which routes attach where, and what their status says. A function of the objects alone.
struct RouteStatusEvaluation {
    /// Where a group of routes decides: a port of a Service, and the namespace of the routes, on which depends whose
    /// requests they decide about.
    struct Place: Hashable {
        let service: NamespacedName
        let port: UInt16
        let namespace: String
    }

    /// Oldest first, then by name: the order in which the API prefers them.
    let routes: [MeshRoute]
    /// Indices into ``routes``, ascending, all of one kind; never empty.
    private(set) var attached: [Place: [Int]] = [:]
    private(set) var statuses: [RouteStatus] = []
    private let services: [NamespacedName: Service]

    init(_ objects: RouteObjects) {
        routes = objects.routes.map { ($0, $0.metadata.namespacedName.description) }
            .sorted { left, right in
                // A route without a time is newer than any that has one.
                switch (left.0.metadata.creationTimestamp, right.0.metadata.creationTimestamp) {
                case (let one?, let other?) where one != other: return one < other
                case (_?, nil): return true
                case (nil, _?): return false
                default: return (left.1, left.0.kind.rawValue) < (right.1, right.0.kind.rawValue)
                }
            }
            .map(\.0)
        services = objects.services
        let invalid = routes.map(Self.reasonNotToAccept)
        var claims: [Place: [Int]] = [:]
        for (index, route) in routes.enumerated() where invalid[index] == nil {
            for parent in route.parentRefs {
                for port in ports(of: parent, for: route).ports {
                    let place = Place(
                        service: parent.target(from: route.metadata.namespace), port: port,
                        namespace: route.metadata.namespace)
                    // Two references may mean one port.
                    if claims[place]?.last != index { claims[place, default: []].append(index) }
                }
            }
        }
        // GEP-1426: of several kinds on one port the most specific is served. Never a merge of two.
        attached = claims.mapValues { list in
            let grpc = list.filter { routes[$0].kind == .grpc }
            return grpc.isEmpty ? list : grpc
        }
        let resolver = RouteBackendResolver(services: objects.services, grants: objects.grants)
        statuses = routes.indices.map { index in
            let route = routes[index]
            let resolved = Self.resolvedRefs(route, resolver)
            return RouteStatus(
                route: route.reference,
                parents: route.parentRefs.filter(\.isService).map { parent in
                    let accepted = acceptance(of: index, by: parent, invalid[index])
                    let partial = accepted.isTrue ? Self.partiallyInvalid(route) : nil
                    return .init(reference: parent, conditions: [accepted, resolved] + (partial.map { [$0] } ?? []))
                })
        }
        .sorted { $0.route < $1.route }
    }

    /// The ports that a reference means; with why there are none.
    private func ports(of parent: RouteParentReference, for route: MeshRoute) -> (ports: [UInt16], problem: String) {
        guard parent.isService else { return ([], "not a Service") }
        let name = parent.target(from: route.metadata.namespace)
        guard let service = services[name] else { return ([], "Service \(name) not found") }
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
    private static func reasonNotToAccept(_ route: MeshRoute) -> String? {
        let rules = route.ruleBodies
        guard !rules.isEmpty, rules.allSatisfy({ !$0.unsupported.isEmpty }) else { return nil }
        return rules.flatMap(\.unsupported).map { "\($0.field): \($0.reason)" }.joined(separator: "; ")
    }

    private func acceptance(
        of index: Int, by parent: RouteParentReference, _ problem: String?
    ) -> RouteCondition {
        let route = routes[index]
        func condition(_ reason: RouteCondition.Reason, _ message: String) -> RouteCondition {
            RouteCondition(
                kind: .accepted, isTrue: reason == .accepted, reason: reason, message: message,
                observedGeneration: route.generation)
        }
        let found = ports(of: parent, for: route)
        if found.ports.isEmpty { return condition(.noMatchingParent, found.problem) }
        if let problem { return condition(.unsupportedValue, problem) }
        let name = parent.target(from: route.metadata.namespace)
        let served = found.ports.filter {
            attached[Place(service: name, port: $0, namespace: route.metadata.namespace)]?.contains(index) == true
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

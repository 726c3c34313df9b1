// SPDX-License-Identifier: Apache-2.0

extension MeshCompiler {
    /// The namespaces whose routes are for their own clients of Services elsewhere, and how many such routes each has.
    struct RouteClasses: Sendable {
        var counts: [String: Int] = [:]
        var numbers: [String: UInt32] = [:]
    }

    mutating func setRoute(_ object: RouteObject?, _ reference: ObjectReference, _ pending: inout Pending) {
        // Nothing acts on routes otherwise.
        guard configuration.hasProxy, routeObjects[reference] != object else { return }
        let old = routeObjects[reference]
        routeObjects[reference] = object
        pending.changes.routes.insert(reference)
        switch object {
        case .route(let route): pending.routes.append(.route(route))
        case .referenceGrant(let grant): pending.routes.append(.grant(grant))
        case nil:
            pending.routes.append(
                reference.kind == "ReferenceGrant"
                    ? .removeGrant(reference.namespacedName) : .removeRoute(reference))
        }
        for (version, step) in [(old, -1), (object, 1)] {
            guard case .route(let route)? = version else { continue }
            let parents = RouteLinks(route).parents
            pending.services.formUnion(parents)
            if parents.contains(where: { $0.namespace != reference.namespace }) {
                countConsumer(reference.namespace, step)
                pending.consumers.insert(reference.namespace)
            }
        }
    }

    private mutating func countConsumer(_ namespace: String, _ step: Int) {
        let count = routeClasses.counts[namespace, default: 0] + step
        routeClasses.counts[namespace] = count == 0 ? nil : count
    }

    /// Gives namespaces their classes, and builds the routers that have changed.
    mutating func settleRoutes(_ pending: inout Pending) {
        for namespace in pending.consumers.sorted() {
            let isConsumer = routeClasses.counts[namespace] != nil
            guard isConsumer != (routeClasses.numbers[namespace] != nil) else { continue }
            if isConsumer {
                routeClasses.numbers[namespace] = routeClassNumbers.number(for: namespace)
            } else {
                routeClasses.numbers[namespace] = nil
                routeClassNumbers.release(namespace)
            }
            pending.workloads.formUnion(enrolled.lazy.filter { $0.namespace == namespace })
        }
        if !pending.routes.isEmpty { routes = routes.applying(pending.routes) }
    }

    /// 0: no routes are made for clients of the namespace.
    func routeClass(of namespace: String) -> UInt32 { routeClasses.numbers[namespace] ?? 0 }

    func capture(of service: NamespacedName, _ port: Service.Port) -> ServiceCapture {
        guard configuration.hasProxy, port.transport == .tcp else { return .none }
        let routers = routes.routers(for: service, port: port.port)
        if routers.producer != nil { return .all }
        let classes = Set(routers.consumers.keys.compactMap { routeClasses.numbers[$0] })
        return classes.isEmpty ? .none : .classes(classes)
    }
}

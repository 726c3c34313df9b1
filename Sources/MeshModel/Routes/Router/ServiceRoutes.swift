// SPDX-License-Identifier: Apache-2.0

/// The routers of one Service.
struct ServiceRoutes: Sendable {
    /// Where a group of routes decides: a port, and the namespace of the routes, on which depends whose requests they
    /// decide about.
    struct Place: Hashable {
        let port: UInt16
        let namespace: String
    }

    private struct Routers {
        /// For clients of every namespace that has no routes of its own.
        var producer: Router?
        /// By the namespace of routes and clients.
        var consumers: [String: Router] = [:]
    }

    private var routers: [UInt16: Routers] = [:]
    /// The kind that is served. A route of another kind is not, GEP-1426: of several kinds on one port the most specific
    /// is served. Never a merge of two.
    private var kinds: [Place: MeshRoute.Kind] = [:]

    /// - Parameter routes: all that name the Service as a parent, in any order.
    init(_ service: Service, _ routes: [MeshRoute], _ resolver: RouteBackendResolver) {
        let routes = routes.filter { RouteStatusEvaluation.reasonNotToAccept($0) == nil }
            .map { ($0, ObjectAge($0.metadata, kind: $0.kind.rawValue)) }.sorted { $0.1 < $1.1 }.map(\.0)
        var claims: [Place: [Int]] = [:]
        for (index, route) in routes.enumerated() {
            for parent in route.parentRefs
            where parent.isService && parent.target(from: route.metadata.namespace) == service.namespacedName {
                for port in RouteStatusEvaluation.ports(of: parent, service).ports {
                    let place = Place(port: port, namespace: route.metadata.namespace)
                    // Two references may mean one port.
                    if claims[place]?.last != index { claims[place, default: []].append(index) }
                }
            }
        }
        // Ports of one Service mostly have the same routes.
        var built: [[Int]: Router] = [:]
        for (place, list) in claims {
            let grpc = list.filter { routes[$0].kind == .grpc }
            let served = grpc.isEmpty ? list : grpc
            let kind: MeshRoute.Kind = grpc.isEmpty ? .http : .grpc
            kinds[place] = kind
            let router = built[served] ?? Router(RouterBuilder.build(served.map { routes[$0] }, kind: kind, resolver))
            built[served] = router
            if place.namespace == service.namespacedName.namespace {
                routers[place.port, default: Routers()].producer = router
            } else {
                routers[place.port, default: Routers()].consumers[place.namespace] = router
            }
        }
    }

    /// Whether a route that claims a place has it.
    func serves(_ kind: MeshRoute.Kind, _ place: Place) -> Bool { kinds[place] == kind }

    func routers(port: UInt16) -> (producer: Router?, consumers: [String: Router]) {
        let found = routers[port]
        return (found?.producer, found?.consumers ?? [:])
    }

    /// A consumer's routes take the place of the producer's as a whole: the two are never merged.
    func router(port: UInt16, clientNamespace: String) -> Router? {
        guard let routers = routers[port] else { return nil }
        return routers.consumers[clientNamespace] ?? routers.producer
    }
}

// SPDX-License-Identifier: Apache-2.0

/// The objects that routing depends on.
public struct RouteObjects: Sendable {
    public var routes: [MeshRoute]
    public var services: [NamespacedName: Service]
    public var grants: [ReferenceGrant]

    /// Of several routes or services with one name the last is kept, as in an ``ObjectSet``.
    public init(routes: [MeshRoute], services: [Service], grants: [ReferenceGrant] = []) {
        self.routes = Array(
            Dictionary(routes.map { ($0.reference, $0) }) { $1 }.sorted { $0.key < $1.key }.map(\.value))
        self.services = Dictionary(services.map { ($0.namespacedName, $0) }) { $1 }
        self.grants = grants
    }
}

/// All routers, by the Service and the port that a client has asked for and by the client's namespace.
///
/// By the address of the Service, not by Host: a name is what the client says, the address is where it went.
/// https://gateway-api.sigs.k8s.io/geps/gep-1294/
public struct RouteTable: Sendable {
    private struct Key: Hashable {
        let service: NamespacedName
        let port: UInt16
    }

    private struct Routers {
        /// For clients of every namespace that has no routes of its own.
        var producer: Router?
        /// By the namespace of routes and clients.
        var consumers: [String: Router] = [:]
    }

    private var routers: [Key: Routers] = [:]
    /// What each route's status should say, ordered by kind and name.
    public let statuses: [RouteStatus]

    public init(_ objects: RouteObjects) {
        let evaluation = RouteStatusEvaluation(objects)
        statuses = evaluation.statuses
        let resolver = RouteBackendResolver(services: objects.services, grants: objects.grants)
        // Ports of one Service mostly have the same routes.
        var built: [[Int]: Router] = [:]
        for (place, routes) in evaluation.attached {
            let router: Router
            if let known = built[routes] {
                router = known
            } else {
                let list = routes.map { evaluation.routes[$0] }
                router = Router(RouterBuilder.build(list, kind: list[0].kind, resolver))
                built[routes] = router
            }
            let key = Key(service: place.service, port: place.port)
            if place.namespace == place.service.namespace {
                routers[key, default: Routers()].producer = router
            } else {
                routers[key, default: Routers()].consumers[place.namespace] = router
            }
        }
    }

    /// The router for connections to a port of a Service.
    ///
    /// A consumer's routes take the place of the producer's as a whole: the two are never merged.
    ///
    /// - Returns: `nil` if no route is attached: the connection goes to the endpoints of the Service.
    public func router(
        for service: NamespacedName, port: UInt16, clientNamespace: String
    ) -> Router? {
        guard let routers = routers[Key(service: service, port: port)] else { return nil }
        return routers.consumers[clientNamespace] ?? routers.producer
    }

    /// All routers for a port of a Service: that of its own routes, and those of the namespaces that have others.
    public func routers(
        for service: NamespacedName, port: UInt16
    ) -> (producer: Router?, consumers: [String: Router]) {
        let found = routers[Key(service: service, port: port)]
        return (found?.producer, found?.consumers ?? [:])
    }
}

// SPDX-License-Identifier: Apache-2.0

/// All routers, by the Service and the port that a client has asked for and by the client's namespace.
///
/// By the address of the Service, not by Host: a name is what the client says, the address is where it went.
/// https://gateway-api.sigs.k8s.io/geps/gep-1294/
///
/// A table does not change; ``applying(_:)`` makes the next one, which shares with it what has not changed, at a cost in
/// proportion to what the changes touch: the routes that refer to a changed object, and all routes of the Services that
/// these are attached to.
public struct RouteTable: Sendable {
    private var routes = ShardedDictionary<ObjectReference, MeshRoute>()
    private var services = ShardedDictionary<NamespacedName, Service>()
    /// By namespace.
    private var grants = ShardedDictionary<String, [NamespacedName: ReferenceGrant]>()

    private var routesByParent = ShardedDictionary<NamespacedName, Set<ObjectReference>>()
    private var routesByBackend = ShardedDictionary<NamespacedName, Set<ObjectReference>>()
    /// By the namespaces other than their own that they have backends in.
    private var routesByNamespace = ShardedDictionary<String, Set<ObjectReference>>()

    private var attached = ShardedDictionary<NamespacedName, ServiceRoutes>()
    private var statusOfRoute = ShardedDictionary<ObjectReference, RouteStatus>()

    public init(_ objects: RouteObjects) {
        apply(
            objects.routes.map(RouteChange.route) + objects.services.values.map(RouteChange.service)
                + objects.grants.map(RouteChange.grant))
    }

    /// The table after some changes, of which the last one of an object counts.
    public func applying(_ changes: some Sequence<RouteChange>) -> RouteTable {
        var copy = self
        copy.apply(changes)
        return copy
    }

    /// The router for connections to a port of a Service.
    ///
    /// A consumer's routes take the place of the producer's as a whole: the two are never merged.
    ///
    /// - Returns: `nil` if no route is attached: the connection goes to the endpoints of the Service.
    public func router(
        for service: NamespacedName, port: UInt16, clientNamespace: String
    ) -> Router? {
        attached[service]?.router(port: port, clientNamespace: clientNamespace)
    }

    /// What each route's status should say, ordered by kind and name. Costs as much as there are routes.
    public var statuses: [RouteStatus] { statusOfRoute.values.sorted { $0.route < $1.route } }

    /// What one route's status should say; `nil`: there is no such route.
    public func status(of route: ObjectReference) -> RouteStatus? { statusOfRoute[route] }

    // MARK: - Changes

    /// What must be looked at again.
    private struct Touched {
        var routes: Set<ObjectReference> = []
        var services: Set<NamespacedName> = []
    }

    private mutating func apply(_ changes: some Sequence<RouteChange>) {
        var touched = Touched()
        // Objects first, whatever their order: what is found through the links must be the last word.
        var changedServices: Set<NamespacedName> = []
        var changedNamespaces: Set<String> = []
        for change in changes {
            switch change {
            case .route(let route): set(route, route.reference, &touched)
            case .removeRoute(let reference): set(nil, reference, &touched)
            case .service(let service):
                services[service.namespacedName] = service
                changedServices.insert(service.namespacedName)
            case .removeService(let name):
                services[name] = nil
                changedServices.insert(name)
            case .grant(let grant):
                let name = grant.metadata.namespacedName
                grants[name.namespace, default: [:]][name] = grant
                changedNamespaces.insert(name.namespace)
            case .removeGrant(let name):
                grants[name.namespace]?[name] = nil
                if grants[name.namespace]?.isEmpty == true { grants[name.namespace] = nil }
                changedNamespaces.insert(name.namespace)
            }
        }
        touched.services.formUnion(changedServices)
        // A rule holds what its backends lead to.
        let concerned =
            changedServices.compactMap { routesByBackend[$0] } + changedNamespaces.compactMap { routesByNamespace[$0] }
        for reference in concerned.joined() {
            guard let route = routes[reference] else { continue }
            touched.routes.insert(reference)
            touched.services.formUnion(RouteLinks(route).parents)
        }
        let resolver = RouteBackendResolver(services: services, grants: grants)
        attach(&touched, resolver)
        report(touched, resolver)
    }

    private mutating func set(_ new: MeshRoute?, _ reference: ObjectReference, _ touched: inout Touched) {
        if let old = routes[reference] {
            let links = RouteLinks(old)
            for name in links.parents { routesByParent.remove(reference, for: name) }
            for name in links.backends { routesByBackend.remove(reference, for: name) }
            for namespace in links.namespaces { routesByNamespace.remove(reference, for: namespace) }
            touched.services.formUnion(links.parents)
        }
        routes[reference] = new
        touched.routes.insert(reference)
        guard let new else { return }
        let links = RouteLinks(new)
        for name in links.parents { routesByParent.insert(reference, for: name) }
        for name in links.backends { routesByBackend.insert(reference, for: name) }
        for namespace in links.namespaces { routesByNamespace.insert(reference, for: namespace) }
        touched.services.formUnion(links.parents)
    }

    private mutating func attach(_ touched: inout Touched, _ resolver: RouteBackendResolver) {
        for name in touched.services {
            let references = routesByParent[name] ?? []
            // A route of one kind can take the place of one of another.
            touched.routes.formUnion(references)
            if let service = services[name], !references.isEmpty {
                attached[name] = ServiceRoutes(service, references.compactMap { routes[$0] }, resolver)
            } else {
                attached[name] = nil
            }
        }
    }

    private mutating func report(_ touched: Touched, _ resolver: RouteBackendResolver) {
        let evaluation = RouteStatusEvaluation(services: services, attached: attached, resolver: resolver)
        for reference in touched.routes { statusOfRoute[reference] = routes[reference].map(evaluation.status) }
    }

    /// All routers for a port of a Service: that of its own routes, and those of the namespaces that have others.
    public func routers(
        for service: NamespacedName, port: UInt16
    ) -> (producer: Router?, consumers: [String: Router]) {
        attached[service]?.routers(port: port) ?? (nil, [:])
    }
}

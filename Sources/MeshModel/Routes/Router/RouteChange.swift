// SPDX-License-Identifier: Apache-2.0

/// A change of one of the objects that routing depends on.
public enum RouteChange: Hashable, Sendable {
    /// It is new, or takes the place of the one with its kind and name.
    case route(MeshRoute)
    case service(Service)
    case grant(ReferenceGrant)
    /// It is gone; nothing happens if it was not there.
    case removeRoute(ObjectReference)
    case removeService(NamespacedName)
    case removeGrant(NamespacedName)
}

/// The objects that routing depends on.
public struct RouteObjects: Sendable {
    public var routes: [MeshRoute]
    public var services: [NamespacedName: Service]
    public var grants: [ReferenceGrant]

    /// Of several objects of a kind with one name the last is kept, as in an ``ObjectSet``.
    public init(routes: [MeshRoute], services: [Service], grants: [ReferenceGrant] = []) {
        self.routes = routes
        self.services = Dictionary(services.map { ($0.namespacedName, $0) }) { $1 }
        self.grants = grants
    }
}

/// What a route refers to: whose changes concern it.
struct RouteLinks: Sendable {
    /// The Services that it wants to attach to, whether they exist or not.
    private(set) var parents: Set<NamespacedName> = []
    /// The Services that requests are sent or copied to.
    private(set) var backends: Set<NamespacedName> = []
    /// Other namespaces that its backends are in, where grants decide.
    private(set) var namespaces: Set<String> = []

    init(_ route: MeshRoute) {
        let namespace = route.metadata.namespace
        for parent in route.parentRefs where parent.isService { parents.insert(parent.target(from: namespace)) }
        for rule in route.ruleBodies {
            add(rule.filters, from: namespace)
            for backend in rule.backends {
                add(backend.reference, from: namespace)
                add(backend.filters, from: namespace)
            }
        }
    }

    private mutating func add(_ filters: [RouteFilter], from namespace: String) {
        for case .requestMirror(let mirror) in filters { add(mirror.backend, from: namespace) }
    }

    private mutating func add(_ reference: RouteBackendReference, from namespace: String) {
        let target = reference.target(from: namespace)
        backends.insert(target)
        if target.namespace != namespace { namespaces.insert(target.namespace) }
    }
}

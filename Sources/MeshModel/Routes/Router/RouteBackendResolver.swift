// SPDX-License-Identifier: Apache-2.0

/// What a reference to a backend leads to.
public enum RouteBackendResolution: Hashable, Sendable {
    /// A TCP port of a Service that exists: to its endpoints, without the routes of that Service.
    case service(NamespacedName, port: UInt16)
    /// Requests for it are answered with 500, gRPC UNAVAILABLE.
    case invalid(RouteCondition.Reason, String)

    public var isValid: Bool {
        if case .service = self { true } else { false }
    }
}

/// Finds the backends of routes.
struct RouteBackendResolver: Sendable {
    private let services: ShardedDictionary<NamespacedName, Service>
    /// By namespace.
    private let grants: ShardedDictionary<String, [NamespacedName: ReferenceGrant]>

    /// Protocols that the mesh does not speak to a backend: it does not originate TLS for a route.
    private static let unsupportedProtocols: Set<String> = ["https", "kubernetes.io/wss"]

    init(
        services: ShardedDictionary<NamespacedName, Service>,
        grants: ShardedDictionary<String, [NamespacedName: ReferenceGrant]>
    ) {
        self.services = services
        self.grants = grants
    }

    /// A Service in another namespace needs a ReferenceGrant there, unless the route is attached to that Service: its
    /// clients have been talking to it anyway.
    func resolve(_ reference: RouteBackendReference, of route: MeshRoute) -> RouteBackendResolution {
        let namespace = route.metadata.namespace
        let target = reference.target(from: namespace)
        guard reference.group.isEmpty, reference.kind == "Service" else {
            let group = reference.group.isEmpty ? "" : " of \(reference.group)"
            return .invalid(.invalidKind, "\(reference.kind)\(group) cannot be a backend, only a Service")
        }
        if target.namespace != namespace {
            let isParent = route.parentRefs.contains { $0.isService && $0.target(from: namespace) == target }
            let isGranted = (grants[target.namespace] ?? [:]).values.contains {
                $0.permits(route.kind, in: namespace, to: reference)
            }
            // Before the Service is looked up: whether it exists is none of another namespace's business.
            guard isParent || isGranted else {
                return .invalid(
                    .refNotPermitted,
                    "Service \(target) is in another namespace, and no ReferenceGrant there permits it to a "
                        + "\(route.kind.rawValue) of \(namespace)")
            }
        }
        guard let service = services[target] else { return .invalid(.backendNotFound, "Service \(target) not found") }
        guard service.kind != .externalName else {
            return .invalid(.backendNotFound, "Service \(target) is an ExternalName, which has no endpoints")
        }
        guard let port = reference.port,
            let found = service.ports.first(where: { $0.port == port && $0.transport == .tcp })
        else {
            return .invalid(
                .backendNotFound, "Service \(target) has no TCP port \(reference.port.map(String.init) ?? "")")
        }
        if let name = found.appProtocol, Self.unsupportedProtocols.contains(name) {
            return .invalid(.unsupportedProtocol, "Service \(target) speaks \(name) on port \(port)")
        }
        return .service(target, port: port)
    }
}

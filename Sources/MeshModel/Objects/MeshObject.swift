// SPDX-License-Identifier: Apache-2.0

/// An object of any kind that the mesh reads.
public enum MeshObject: Hashable, Sendable {
    case namespace(Namespace)
    case pod(Pod)
    case service(Service)
    case endpointSlice(EndpointSlice)
    case node(Node)
    case networkPolicy(NetworkPolicy)
    case authorizationPolicy(AuthorizationPolicy)
    case peerAuthentication(PeerAuthentication)
    // Only where a node proxy runs:
    case route(RouteObject)
    case meshPolicy(MeshPolicy)
}

extension MeshObject {
    public var metadata: ObjectMetadata {
        switch self {
        case .namespace(let object): object.metadata
        case .pod(let object): object.metadata
        case .service(let object): object.metadata
        case .endpointSlice(let object): object.metadata
        case .node(let object): object.metadata
        case .networkPolicy(let object): object.metadata
        case .authorizationPolicy(let object): object.metadata
        case .peerAuthentication(let object): object.metadata
        case .route(let object): object.metadata
        case .meshPolicy(let object): object.metadata
        }
    }

    public var apiVersion: String {
        switch self {
        case .namespace, .pod, .service, .node: "v1"
        case .endpointSlice: "discovery.k8s.io/v1"
        case .networkPolicy: "networking.k8s.io/v1"
        case .authorizationPolicy(let object): object.apiVersion
        case .peerAuthentication(let object): object.apiVersion
        case .route(let object): object.reference.apiVersion
        case .meshPolicy: MeshPolicy.apiVersion
        }
    }

    public var kind: String {
        switch self {
        case .namespace: "Namespace"
        case .pod: "Pod"
        case .service: "Service"
        case .endpointSlice: "EndpointSlice"
        case .node: "Node"
        case .networkPolicy: "NetworkPolicy"
        case .authorizationPolicy: "AuthorizationPolicy"
        case .peerAuthentication: "PeerAuthentication"
        case .route(let object): object.reference.kind
        case .meshPolicy: "MeshPolicy"
        }
    }

    public var reference: ObjectReference {
        let metadata = metadata
        return ObjectReference(
            apiVersion: apiVersion, kind: kind, namespace: metadata.namespace, name: metadata.name)
    }

    public var origin: ObjectOrigin? { metadata.origin }

    /// Whether the object is one of those that decide who may talk to whom.
    public var isPolicy: Bool {
        switch self {
        case .networkPolicy, .authorizationPolicy, .peerAuthentication: true
        case .namespace, .pod, .service, .endpointSlice, .node, .route, .meshPolicy: false
        }
    }
}

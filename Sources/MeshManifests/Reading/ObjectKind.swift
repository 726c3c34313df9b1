// SPDX-License-Identifier: Apache-2.0

public import MeshModel

/// The kinds of object that Sockmesh reads.
public enum ObjectKind: String, CaseIterable, Hashable, Sendable {
    case namespace = "Namespace"
    case node = "Node"
    case pod = "Pod"
    case service = "Service"
    case endpointSlice = "EndpointSlice"
    case networkPolicy = "NetworkPolicy"
    case authorizationPolicy = "AuthorizationPolicy"
    case peerAuthentication = "PeerAuthentication"
    case httpRoute = "HTTPRoute"
    case grpcRoute = "GRPCRoute"
    case referenceGrant = "ReferenceGrant"
    case meshPolicy = "MeshPolicy"

    /// The kinds that a process of this version acts on. Only these are read unless a decoder is told otherwise: an
    /// object that is accepted and then ignored is worse than one that is refused.
    public static let enforced: Set<ObjectKind> = Set(allCases).subtracting(routing)

    /// Those that only a node proxy acts on.
    public static let routing: Set<ObjectKind> = [.httpRoute, .grpcRoute, .referenceGrant, .meshPolicy]

    /// The values of `apiVersion` under which the kind is read.
    public var apiVersions: [String] {
        switch self {
        case .namespace, .node, .pod, .service: ["v1"]
        case .endpointSlice: ["discovery.k8s.io/v1"]
        case .networkPolicy: ["networking.k8s.io/v1"]
        case .authorizationPolicy, .peerAuthentication:
            ["security.istio.io/v1", "security.istio.io/v1beta1", "sockmesh.io/v1alpha1"]
        case .httpRoute, .grpcRoute: ["gateway.networking.k8s.io/v1"]
        case .referenceGrant: ["gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1beta1"]
        case .meshPolicy: [MeshPolicy.apiVersion]
        }
    }

    /// The version that stands for all versions of one group, as the API server stores one object for them.
    static func storageVersion(of apiVersion: String) -> String {
        switch apiVersion {
        case "security.istio.io/v1beta1": "security.istio.io/v1"
        case "gateway.networking.k8s.io/v1beta1": "gateway.networking.k8s.io/v1"
        default: apiVersion
        }
    }

    /// Namespaces and nodes are not in a namespace.
    public var isNamespaced: Bool {
        self != .namespace && self != .node
    }

    /// Policies decide about connections: one that cannot be read must deny, not vanish.
    public var isPolicy: Bool {
        switch self {
        case .networkPolicy, .authorizationPolicy, .peerAuthentication: true
        case .namespace, .node, .pod, .service, .endpointSlice, .httpRoute, .grpcRoute, .referenceGrant,
            .meshPolicy:
            false
        }
    }

    /// Whether every field that is not known is an error: of a policy, an ignored field would be a promise that is broken.
    var isStrict: Bool { isPolicy || self == .meshPolicy }

    /// What a user may write on a command line for an enforced kind: the kind in any case, its plural, or the short name of `kubectl`.
    public init?(argument: String) {
        let wanted = argument.lowercased()
        let short: [String: ObjectKind] = [
            "ns": .namespace, "no": .node, "po": .pod, "svc": .service, "netpol": .networkPolicy,
            "ap": .authorizationPolicy, "pa": .peerAuthentication,
        ]
        guard let kind = short[wanted] ?? Self.enforced.first(where: { $0.names.contains(wanted) }) else { return nil }
        self = kind
    }

    private var names: [String] {
        let singular = rawValue.lowercased()
        let plural =
            switch self {
            case .networkPolicy: "networkpolicies"
            case .authorizationPolicy: "authorizationpolicies"
            case .meshPolicy: "meshpolicies"
            default: singular + "s"
            }
        return [singular, plural]
    }
}

extension ObjectReference {
    /// The kind, if it is one that is read.
    public var objectKind: ObjectKind? { ObjectKind(rawValue: kind) }
}

// SPDX-License-Identifier: Apache-2.0

/// An object that routing is made of.
public enum RouteObject: Hashable, Sendable {
    case route(MeshRoute)
    case referenceGrant(ReferenceGrant)

    public var metadata: ObjectMetadata {
        switch self {
        case .route(let route): route.metadata
        case .referenceGrant(let grant): grant.metadata
        }
    }

    public var reference: ObjectReference {
        switch self {
        case .route(let route): route.reference
        case .referenceGrant(let grant):
            ObjectReference(
                apiVersion: grant.apiVersion, kind: "ReferenceGrant", namespace: grant.metadata.namespace,
                name: grant.metadata.name)
        }
    }
}

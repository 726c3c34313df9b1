// SPDX-License-Identifier: Apache-2.0

/// A condition in the status of a route.
public struct RouteCondition: Hashable, Sendable {
    public enum Kind: String, Hashable, Sendable {
        case accepted = "Accepted"
        case resolvedRefs = "ResolvedRefs"
        /// Present only if it is true.
        case partiallyInvalid = "PartiallyInvalid"
        /// Not of the Gateway API; present only if it is true: connections to a port of the parent are passed on without a
        /// look at the route, because the port is said not to speak HTTP.
        case passedBy = "PassedBy"
    }

    /// The reasons of the Gateway API that can come up for the parents of a mesh, and our own.
    public enum Reason: String, Hashable, Sendable {
        case accepted = "Accepted"
        case noMatchingParent = "NoMatchingParent"
        case unsupportedValue = "UnsupportedValue"
        /// A route of a kind that goes before this one is attached to the same ports (GEP-1426).
        case conflicted = "Conflicted"
        case resolvedRefs = "ResolvedRefs"
        case refNotPermitted = "RefNotPermitted"
        case invalidKind = "InvalidKind"
        case backendNotFound = "BackendNotFound"
        case unsupportedProtocol = "UnsupportedProtocol"
        /// Of ``Kind/passedBy``.
        case opaquePort = "OpaquePort"
    }

    public let kind: Kind
    public let isTrue: Bool
    public let reason: Reason
    /// For a person.
    public let message: String
    /// The `metadata.generation` that was looked at.
    public let observedGeneration: Int64?

    public init(kind: Kind, isTrue: Bool, reason: Reason, message: String, observedGeneration: Int64? = nil) {
        self.kind = kind
        self.isTrue = isTrue
        self.reason = reason
        self.message = message
        self.observedGeneration = observedGeneration
    }
}

/// What the mesh says about a route: `status.parents` of its own controller.
public struct RouteStatus: Hashable, Sendable {
    public struct Parent: Hashable, Sendable {
        /// As the route has it.
        public let reference: RouteParentReference
        public let conditions: [RouteCondition]

        public subscript(kind: RouteCondition.Kind) -> RouteCondition? { conditions.first { $0.kind == kind } }
    }

    public let route: ObjectReference
    /// In the order of `spec.parentRefs`, those that are Services: about others the mesh has nothing to say.
    public let parents: [Parent]
}

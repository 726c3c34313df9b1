// SPDX-License-Identifier: Apache-2.0

/// A MeshPolicy of sockmesh.io/v1alpha1: how the mesh carries requests to what it targets.
///
/// Attached as GEP-2648 (direct policy attachment) describes: to objects of its own namespace.
public struct MeshPolicy: Hashable, Sendable {
    /// What a policy is about.
    public enum Target: Hashable, Sendable {
        /// Requests to a Service; to one of its ports if that is named.
        case service(String, port: String?)
        /// Requests to the pods with these labels.
        case pods(LabelSelector)
        /// Requests to whatever is in the policy's namespace; in the root namespace of the mesh, to everything.
        case namespace
    }

    public var metadata: ObjectMetadata
    public var targets: [Target]
    public var settings: MeshPolicySettings

    public init(metadata: ObjectMetadata, targets: [Target], settings: MeshPolicySettings = MeshPolicySettings()) {
        self.metadata = metadata
        self.targets = targets
        self.settings = settings
    }

    public static let apiVersion = "sockmesh.io/v1alpha1"

    public var reference: ObjectReference {
        ObjectReference(
            apiVersion: Self.apiVersion, kind: "MeshPolicy", namespace: metadata.namespace, name: metadata.name)
    }
}

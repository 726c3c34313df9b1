// SPDX-License-Identifier: Apache-2.0

/// A core/v1 Namespace.
public struct Namespace: Hashable, Sendable {
    public var metadata: ObjectMetadata
    /// Annotation `sockmesh.io/mesh`; decides for the pods that have none.
    public var mesh: MeshMembership?

    public init(metadata: ObjectMetadata, mesh: MeshMembership? = nil) {
        self.metadata = metadata
        self.mesh = mesh
    }

    /// The label that the API server gives to every namespace.
    public static let nameLabel = "kubernetes.io/metadata.name"

    /// The labels that selectors see: those of the object, and its name.
    public var selectableLabels: Labels {
        Self.selectableLabels(of: metadata.name, labels: metadata.labels)
    }

    /// The labels of a namespace, of which perhaps no object is known.
    public static func selectableLabels(of name: String, labels: Labels = [:]) -> Labels {
        var labels = labels
        labels[nameLabel] = name
        return labels
    }
}

/// Annotation `sockmesh.io/mesh`.
public enum MeshMembership: String, Hashable, Sendable {
    case enabled, disabled
}

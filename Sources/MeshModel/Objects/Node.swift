// SPDX-License-Identifier: Apache-2.0

/// A core/v1 Node.
public struct Node: Hashable, Sendable {
    public var metadata: ObjectMetadata
    /// `status.addresses` of type InternalIP and ExternalIP.
    public var addresses: [IPAddress]

    public init(metadata: ObjectMetadata, addresses: [IPAddress] = []) {
        self.metadata = metadata
        self.addresses = addresses
    }

    public static let zoneLabel = "topology.kubernetes.io/zone"

    public var zone: String? { metadata.labels[Self.zoneLabel] }
}

// SPDX-License-Identifier: Apache-2.0

/// The name of a policy: kind, namespace and name.
public struct PolicyReference: Hashable, Codable, Sendable, CustomStringConvertible {
    /// `NetworkPolicy`, `AuthorizationPolicy` or `PeerAuthentication`.
    public var kind: String
    public var namespace: String
    public var name: String

    public init(kind: String, namespace: String, name: String) {
        self.kind = kind
        self.namespace = namespace
        self.name = name
    }

    /// `NetworkPolicy shop/deny-all`.
    public var description: String { "\(kind) \(namespace)/\(name)" }
}

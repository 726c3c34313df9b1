// SPDX-License-Identifier: Apache-2.0

/// A PeerAuthentication of security.istio.io/v1 or sockmesh.io/v1alpha1.
///
/// https://istio.io/latest/docs/reference/config/security/peer_authentication/
public struct PeerAuthentication: Hashable, Sendable {
    public enum Mode: String, Hashable, Sendable {
        /// As the next wider scope says; PERMISSIVE at the top.
        case unset = "UNSET"
        /// Treated as PERMISSIVE: the mesh never turns identity off.
        case disable = "DISABLE"
        case permissive = "PERMISSIVE"
        /// Only peers whose identity is proved.
        case strict = "STRICT"
    }

    public var metadata: ObjectMetadata
    /// The group and version it was written in.
    public var apiVersion: String
    /// `nil` or empty: the whole namespace, or the mesh if this is the root namespace.
    public var selector: LabelSelector?
    public var mode: Mode
    /// By port of the workload; only with a selector. Wins over `mode`.
    public var portLevelMtls: [UInt16: Mode]
    /// Evaluated and reported, not enforced.
    public var isDryRun: Bool

    public init(
        metadata: ObjectMetadata, apiVersion: String = "security.istio.io/v1", selector: LabelSelector? = nil,
        mode: Mode = .unset, portLevelMtls: [UInt16: Mode] = [:], isDryRun: Bool = false
    ) {
        self.metadata = metadata
        self.apiVersion = apiVersion
        self.selector = selector
        self.mode = mode
        self.portLevelMtls = portLevelMtls
        self.isDryRun = isDryRun
    }
}

// SPDX-License-Identifier: Apache-2.0

/// Something that a policy says and this node does not enforce as written, and why.
public struct Finding: Hashable, Sendable {
    public enum Reason: String, Hashable, Sendable {
        /// The policy selects a pod of this node that is not enrolled.
        case notEnrolled
        /// The policy selects a pod that uses the node's network.
        case hostNetwork
        /// A rule names SCTP.
        case sctp
        /// A rule has fields that only an HTTP proxy can evaluate.
        case needsProxy
        /// The policy has targetRefs, which are for a proxy.
        case targetRefs
        /// The policy only audits.
        case audit
        /// The policy restricts egress of a pod that may open raw sockets.
        case rawSockets
        /// The policy selects a pod some of whose ports the mesh leaves alone.
        case skippedPorts
        /// A rule names a port that no container has.
        case danglingPort
        /// portLevelMtls without a selector has no effect.
        case portLevelWithoutSelector
        /// STRICT where pods of other nodes can prove nothing, as there are no tunnels.
        case noTunnels
        /// A rule or condition that can match nothing.
        case matchesNothing
        /// A field or target that this version does not act on.
        case notSupported
        /// An older policy of the same target sets the field, or has the policy's place.
        case conflicted
        /// The route is attached to a port that is said not to speak HTTP.
        case passedBy
    }

    public let policy: ObjectReference
    /// The pod that it is about, if it is about one.
    public let pod: NamespacedName?
    /// The field that it is about, such as `spec.ingress[0].ports[1]`.
    public let path: String?
    public let reason: Reason
    /// What is not enforced and why, for a person.
    public let message: String
}

extension Finding: Comparable, CustomStringConvertible {
    public static func < (left: Self, right: Self) -> Bool {
        (left.policy.description, left.path ?? "", left.pod?.description ?? "", left.message)
            < (right.policy.description, right.path ?? "", right.pod?.description ?? "", right.message)
    }

    public var description: String { "\(policy)\(path.map { ", \($0)" } ?? ""): \(message)" }
}

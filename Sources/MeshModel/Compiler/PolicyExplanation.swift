// SPDX-License-Identifier: Apache-2.0

/// One end of a connection, as a question names it.
public enum PolicyPeer: Hashable, Sendable {
    case pod(NamespacedName)
    case address(IPAddress)
}

extension PolicyPeer: CustomStringConvertible {
    public var description: String {
        switch self {
        case .pod(let name): name.description
        case .address(let address): address.description
        }
    }
}

/// May `source` connect to `port` of `destination`? Services are resolved first: policies see the endpoint.
public struct PolicyQuestion: Hashable, Sendable {
    public let source: PolicyPeer
    public let destination: PolicyPeer
    public let port: UInt16
    public let transport: TransportProtocol
    /// Of the connection, where both ends are pods; `nil`: that of an address of the destination, of its first one
    /// unless only another family is the source's too.
    public let isIPv4: Bool?
    /// Whether a pod of another node that takes tunnels comes without one: then its address is all that is known of it.
    public let isInClear: Bool

    public init(
        source: PolicyPeer, destination: PolicyPeer, port: UInt16, transport: TransportProtocol = .tcp,
        isIPv4: Bool? = nil, isInClear: Bool = false
    ) {
        self.source = source
        self.destination = destination
        self.port = port
        self.transport = transport
        self.isIPv4 = isIPv4
        self.isInClear = isInClear
    }
}

/// The verdict on a connection, and who decided.
public struct PolicyExplanation: Hashable, Sendable {
    /// The answer of the policies of one end.
    public struct Side: Hashable, Sendable {
        public let direction: PolicyDirection
        public let verdict: PolicyVerdict
        /// Whether this node's kernel decides for that end: it is an enrolled pod here.
        public let isEnforced: Bool
        /// What decided; `nil` if no policy selects the end.
        public let stage: PolicyStage?
        /// The policy whose rule matched, or those that allow nothing here.
        public let policies: [ObjectReference]
        /// Index in the policy's list of rules, if one matched.
        public let rule: Int?
        /// Why, for a person.
        public let sentence: String
    }

    public let verdict: PolicyVerdict
    public let sourceIdentity: IdentityNumber
    public let destinationIdentity: IdentityNumber
    public let egress: Side
    public let ingress: Side
    /// The verdict if dry-run policies were enforced; `nil` if it is the same.
    public let dryRunVerdict: PolicyVerdict?

    /// The side that denies, else the one that a policy allowed.
    public var deciding: Side {
        if ingress.verdict == .needsProxy, egress.verdict != .deny { return ingress }
        if egress.verdict == .deny || ingress.verdict != .deny && ingress.stage == nil { return egress }
        return ingress
    }
}

/// A question about a pod that no object describes.
public struct UnknownPodError: Error, Hashable, Sendable, CustomStringConvertible {
    public let pod: NamespacedName

    public init(pod: NamespacedName) {
        self.pod = pod
    }

    public var description: String { "no Pod \(pod) is known; `meshctl workloads` lists those of this node" }
}

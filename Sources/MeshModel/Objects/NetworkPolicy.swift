// SPDX-License-Identifier: Apache-2.0

/// A networking.k8s.io/v1 NetworkPolicy.
///
/// Optional lists keep the difference that the API makes: an absent list of rules is not an empty one.
/// https://kubernetes.io/docs/concepts/services-networking/network-policies/
public struct NetworkPolicy: Hashable, Sendable {
    public enum PolicyType: String, Hashable, Sendable {
        case ingress = "Ingress"
        case egress = "Egress"
    }

    /// `ingress[]` with its `from`, or `egress[]` with its `to`.
    public struct Rule: Hashable, Sendable {
        /// Empty: every peer.
        public var peers: [Peer]
        /// Empty: every port of every protocol.
        public var ports: [Port]

        public init(peers: [Peer] = [], ports: [Port] = []) {
            self.peers = peers
            self.ports = ports
        }
    }

    public enum Peer: Hashable, Sendable {
        /// Pods of the policy's own namespace, or of the namespaces that `namespaces` selects.
        case pods(pods: LabelSelector?, namespaces: LabelSelector?)
        case ipBlock(cidr: CIDR, except: [CIDR])
    }

    public struct Port: Hashable, Sendable {
        public var transport: TransportProtocol
        /// `nil`: every port of the protocol.
        public var port: PortReference?
        /// With a numeric `port`: the last port of the range.
        public var endPort: UInt16?

        public init(transport: TransportProtocol = .tcp, port: PortReference? = nil, endPort: UInt16? = nil) {
            self.transport = transport
            self.port = port
            self.endPort = endPort
        }
    }

    public var metadata: ObjectMetadata
    public var podSelector: LabelSelector
    /// Empty: ``effectivePolicyTypes`` says what is meant.
    public var policyTypes: [PolicyType]
    public var ingress: [Rule]
    public var egress: [Rule]
    /// Evaluated and reported, not enforced.
    public var isDryRun: Bool

    public init(
        metadata: ObjectMetadata, podSelector: LabelSelector = LabelSelector(), policyTypes: [PolicyType] = [],
        ingress: [Rule] = [], egress: [Rule] = [], isDryRun: Bool = false
    ) {
        self.metadata = metadata
        self.podSelector = podSelector
        self.policyTypes = policyTypes
        self.ingress = ingress
        self.egress = egress
        self.isDryRun = isDryRun
    }

    /// The directions in which the policy isolates: ingress always and egress if it has rules, unless it says.
    public var effectivePolicyTypes: Set<PolicyType> {
        if !policyTypes.isEmpty { return Set(policyTypes) }
        return egress.isEmpty ? [.ingress] : [.ingress, .egress]
    }
}

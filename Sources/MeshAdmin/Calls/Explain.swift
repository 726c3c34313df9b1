// SPDX-License-Identifier: Apache-2.0

/// Asks what the kernel would say to a connection, and which policy says so.
public struct ExplainRequest: AdminCall {
    public typealias Item = ExplainReport
    public static let method = "policy.explain"
    public static let access = AdminAccess.read

    /// `NAMESPACE/NAME` of a pod, or an address.
    public var source: String
    /// `NAMESPACE/NAME` of a pod or of a service (`pod/NAMESPACE/NAME`, `service/NAMESPACE/NAME` where both
    /// exist), or an address.
    public var destination: String
    public var port: UInt16
    /// `TCP` or `UDP`.
    public var `protocol`: String
    /// Asks also what becomes of a request over the connection; TCP only.
    public var request: RequestQuestion?

    public init(
        source: String, destination: String, port: UInt16, protocol: String, request: RequestQuestion? = nil
    ) {
        self.source = source
        self.destination = destination
        self.port = port
        self.protocol = `protocol`
        self.request = request
    }
}

/// The verdict of the live maps for one pair of ends.
public struct ExplainReport: Codable, Equatable, Sendable {
    /// What the kernel answered for one end of the service, or for the destination itself.
    public struct Answer: Codable, Equatable, Sendable {
        public var destination: EndReport
        public var verdict: Verdict
        /// Name of the reason, where the verdict is not `allow`.
        public var reason: String?
        /// Absent where no policy of a pod of this node decides.
        public var egress: DirectionReport?
        public var ingress: DirectionReport?
        /// What the destination demands of clients at the port, and which PeerAuthentication says so; absent where it is
        /// no enrolled pod of this node.
        public var peerAuthentication: String?
        /// The path that bytes will take if the connection is made now, and why.
        public var path: PathReport?

        public init(
            destination: EndReport, verdict: Verdict, reason: String? = nil, egress: DirectionReport? = nil,
            ingress: DirectionReport? = nil, peerAuthentication: String? = nil, path: PathReport? = nil
        ) {
            self.destination = destination
            self.verdict = verdict
            self.reason = reason
            self.egress = egress
            self.ingress = ingress
            self.peerAuthentication = peerAuthentication
            self.path = path
        }
    }

    /// What one end's policies say.
    public struct DirectionReport: Codable, Equatable, Sendable {
        public var verdict: Verdict
        /// Number of the policy set in the kernel; 0: no policy.
        public var policySet: UInt32
        /// The policies that decided: those that allow it, or those that deny it or leave it out.
        public var policies: [PolicyReference]
        /// Why, in one sentence.
        public var explanation: String

        public init(verdict: Verdict, policySet: UInt32, policies: [PolicyReference], explanation: String) {
            self.verdict = verdict
            self.policySet = policySet
            self.policies = policies
            self.explanation = explanation
        }
    }

    public enum Verdict: String, Codable, Sendable {
        case allow
        case deny
        /// Only a proxy can decide; refused without one.
        case needsL7
        /// Of a service: some backends are allowed, some are not.
        case mixed
    }

    public var source: EndReport
    /// The service, where the destination is one.
    public var service: ServiceAddressReport?
    public var port: UInt16
    public var `protocol`: String
    /// Of all answers together.
    public var verdict: Verdict
    /// One for the destination, or one for every backend of the service.
    public var answers: [Answer]
    /// The generation that was asked.
    public var generation: UInt32
    /// What limits the answer: an end that is not enrolled, hostNetwork.
    public var findings: [Finding]
    /// What becomes of the request that was asked about.
    public var request: RequestReport?

    public init(
        source: EndReport, service: ServiceAddressReport? = nil, port: UInt16, protocol: String, verdict: Verdict,
        answers: [Answer], generation: UInt32, findings: [Finding], request: RequestReport? = nil
    ) {
        self.source = source
        self.service = service
        self.port = port
        self.protocol = `protocol`
        self.verdict = verdict
        self.answers = answers
        self.generation = generation
        self.findings = findings
        self.request = request
    }
}

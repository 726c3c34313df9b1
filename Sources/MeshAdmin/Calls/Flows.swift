// SPDX-License-Identifier: Apache-2.0

/// Asks for flow events: those the agent still remembers and, with `follow`, those to come.
///
/// A client that follows and reads too slowly loses events; it is told how many, in their place.
public struct FlowsRequest: AdminCall {
    public typealias Item = FlowEvent
    public static let method = "flows"
    public static let access = AdminAccess.read

    /// Go on until the client goes away.
    public var follow: Bool
    /// At most so many of the remembered events, the newest.
    public var last: Int?
    public var filter: FlowFilter

    public init(follow: Bool = false, last: Int? = nil, filter: FlowFilter = FlowFilter()) {
        self.follow = follow
        self.last = last
        self.filter = filter
    }
}

/// Something that happened to a connection or a datagram flow.
public struct FlowEvent: Codable, Equatable, Sendable {
    public enum Kind: String, Codable, Sendable {
        case opened
        case denied
        case closed
        /// A live connection was ended because policy denies it now.
        case cut
        /// A policy in dry-run mode would have decided otherwise.
        case dryRun
    }

    public enum Direction: String, Codable, Sendable {
        case egress
        case ingress
    }

    public var time: Timestamp
    public var kind: Kind
    /// `TCP` or `UDP`.
    public var `protocol`: String
    /// The initiator.
    public var source: EndReport
    public var destination: EndReport
    /// What the application asked for, if that was a service.
    public var serviceAddress: ServiceAddressReport?
    /// Direction that decided, as seen by the pod that reports.
    public var direction: Direction
    /// Pod that reports, `NAMESPACE/NAME`.
    public var reporter: String?
    /// Name of the reason of a denial, for example `policy-ingress`.
    public var reason: String?
    /// The policy that decided. Absent: no policy allows it, or none was needed.
    public var policy: PolicyReference?
    public var generation: UInt32
    /// The rest is known when a connection closes.
    public var sent: PathReport?
    public var received: PathReport?
    public var bytesSent: UInt64?
    public var bytesReceived: UInt64?
    public var bytesRedirected: UInt64?
    public var durationSeconds: Double?
    /// Smoothed round-trip time of TCP.
    public var rttMicroseconds: UInt32?
    public var retransmits: UInt32?

    public init(
        time: Timestamp, kind: Kind, protocol: String, source: EndReport, destination: EndReport,
        serviceAddress: ServiceAddressReport? = nil, direction: Direction, reporter: String? = nil,
        reason: String? = nil, policy: PolicyReference? = nil, generation: UInt32, sent: PathReport? = nil,
        received: PathReport? = nil, bytesSent: UInt64? = nil, bytesReceived: UInt64? = nil,
        bytesRedirected: UInt64? = nil, durationSeconds: Double? = nil, rttMicroseconds: UInt32? = nil,
        retransmits: UInt32? = nil
    ) {
        self.time = time
        self.kind = kind
        self.protocol = `protocol`
        self.source = source
        self.destination = destination
        self.serviceAddress = serviceAddress
        self.direction = direction
        self.reporter = reporter
        self.reason = reason
        self.policy = policy
        self.generation = generation
        self.sent = sent
        self.received = received
        self.bytesSent = bytesSent
        self.bytesReceived = bytesReceived
        self.bytesRedirected = bytesRedirected
        self.durationSeconds = durationSeconds
        self.rttMicroseconds = rttMicroseconds
        self.retransmits = retransmits
    }

    /// What policy said: a denied or cut flow was denied, everything else allowed.
    public var verdict: FlowVerdict { kind == .denied || kind == .cut ? .denied : .allowed }
}

/// The two sides that flows are filtered by.
public enum FlowVerdict: String, Codable, Sendable, CaseIterable {
    case allowed
    case denied
}

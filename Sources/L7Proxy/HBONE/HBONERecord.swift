// SPDX-License-Identifier: Apache-2.0

public import Identity
public import MeshModel

/// A tunnel that has ended.
public struct HBONERecord: Sendable {
    public enum Direction: Sendable, BitwiseCopyable {
        /// From a peer to a pod of this node.
        case inbound
        /// From a pod of this node to a peer.
        case outbound
    }

    public var direction: Direction
    public var reason: HBONEReason
    /// More about the reason, for people: the policy, OpenSSL's words.
    public var detail: String?
    /// By its certificate; `nil` if there was no connection yet.
    public var peer: SPIFFEID?
    /// The pod's own identity.
    public var identity: SPIFFEID?
    public var source: IPAddress
    public var sourcePort: UInt16
    /// The application's endpoint; port 0 if the request did not say it.
    public var destination: IPAddress
    public var port: UInt16
    /// The Service that the client says it was going to.
    public var service: String?
    /// Whether the peer, or the application, had accepted it.
    public var wasOpen = false
    /// Whether a worker of requests is its end here, and counts what it carries.
    public var isHandedOn = false
    /// What ``HBONESink/opened(_:)`` has called it.
    public var flow: WorkerMetrics.FlowNumber?
    /// Bytes from the application's socket of this node, and to it.
    public var received: UInt64 = 0
    public var sent: UInt64 = 0
    /// CLOCK_MONOTONIC in nanoseconds.
    public var startedAt: UInt64 = 0
    public var endedAt: UInt64 = 0
}

/// A connection between nodes that was not made, or did not end in order.
public struct HBONEFailure: Sendable {
    public var direction: HBONERecord.Direction
    public var reason: HBONEReason
    /// OpenSSL's words, the rejection of a certificate, the HTTP/2 error.
    public var detail: String?
    public var peer: SPIFFEID?
    public var identity: SPIFFEID?
    /// Of the pod of this node that it is for.
    public var local: IPAddress
    /// The other end's address.
    public var address: IPAddress
    public var port: UInt16
}

/// Takes what a worker has to tell. Belongs to the worker's thread.
open class HBONESink {
    public init() {}

    /// A tunnel is open, so far without a byte; its reason means nothing yet.
    ///
    /// - Returns: What it is called in ``HBONERecord/flow`` when it ends, whatever is known of its ends then; `nil`: it
    ///   is not counted.
    open func opened(_ record: HBONERecord) -> WorkerMetrics.FlowNumber? { nil }
    open func record(_ record: HBONERecord) {}
    open func failed(_ failure: HBONEFailure) {}
    /// The turn of the loop is over: what was collected can be handed on.
    open func turnEnded() {}
    /// What was counted so far; `nil`: nothing is. Called seldom; may allocate.
    open func metrics() -> MetricsSnapshot? { nil }
}

/// What a worker has counted since it began.
public struct HBONECounters: Sendable, BitwiseCopyable, Equatable {
    public var accepted: UInt64 = 0
    public var dialled: UInt64 = 0
    public var handshakes: UInt64 = 0
    public var failedHandshakes: UInt64 = 0
    /// Reset when they were accepted, or to make room for others while they shook hands.
    public var refusedConnections: UInt64 = 0
    public var tunnels: UInt64 = 0
    /// Open now.
    public var openTunnels: UInt64 = 0
    public var connections: UInt64 = 0
    public var pools: UInt64 = 0
    public var buffers: UInt64 = 0
    /// Live peers that were checked again, and those that were cut.
    public var checkedPeers: UInt64 = 0
    public var rejectedPeers: UInt64 = 0

    public init() {}
}

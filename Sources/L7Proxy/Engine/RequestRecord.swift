// SPDX-License-Identifier: Apache-2.0

/// What became of one request: for the access log and the metrics.
public struct RequestRecord: Sendable, BitwiseCopyable {
    public struct Flags: OptionSet, Sendable, BitwiseCopyable {
        public let rawValue: UInt16

        public init(rawValue: UInt16) { self.rawValue = rawValue }

        /// The status is the proxy's own, not a backend's.
        public static let localReply = Flags(rawValue: 1 << 0)
        /// The connection to the backend had carried a request before.
        public static let reusedConnection = Flags(rawValue: 1 << 1)
        /// Repeated once, because a kept connection had been closed by the backend.
        public static let repeatedAfterClose = Flags(rawValue: 1 << 2)
        /// The client was not given the whole response.
        public static let incomplete = Flags(rawValue: 1 << 3)
        public static let upgraded = Flags(rawValue: 1 << 4)
        /// Policies in a dry run would have decided otherwise.
        public static let dryRunDiffers = Flags(rawValue: 1 << 5)
        /// A limit in a dry run would have refused it.
        public static let dryRunLimited = Flags(rawValue: 1 << 6)
        /// The client spoke HTTP/2.
        public static let http2 = Flags(rawValue: 1 << 7)
        /// A copy for a mirror: no client was given the response.
        public static let mirror = Flags(rawValue: 1 << 8)
        /// No request: a connection whose bytes were passed on as they are. ``sentAt`` is when the backend's was there.
        public static let tcp = Flags(rawValue: 1 << 9)
        /// The same, which begins as TLS does, or whose port is said to speak it.
        public static let tls = Flags(rawValue: 1 << 10)
        /// The last connection to a backend was a tunnel with mutual TLS.
        public static let tunnelled = Flags(rawValue: 1 << 11)
    }

    public var origin: ConnectionOrigin
    // Nanoseconds of CLOCK_MONOTONIC, of the loop's turn in which it happened; 0: it did not.
    public var startedAt: UInt64 = 0
    public var routedAt: UInt64 = 0
    /// The request's head was given to the last backend's connection.
    public var sentAt: UInt64 = 0
    /// The head of the final response was there.
    public var answeredAt: UInt64 = 0
    public var endedAt: UInt64 = 0
    /// Bytes of body, without framing.
    public var requestBytes: UInt64 = 0
    public var responseBytes: UInt64 = 0
    /// Of the snapshot by which it was routed; ``rule`` and ``service`` are its indices.
    public var generation: UInt64 = 0
    /// Index for ``ProxySnapshot/ruleName(_:)``; -1: no rule.
    public var rule: Int32 = -1
    /// Index for ``ProxySnapshot/serviceName(_:)``, of the last backend; -1: no Service.
    public var service: Int32 = -1
    /// Index for ``ProxySnapshot/decisionText(_:)``; -1: no policy has denied it, or would have in a dry run.
    public var decision: Int32 = -1
    public var endpoint: ProxyEndpoint
    /// What the client was sent; 0: nothing.
    public var status: UInt16 = 0
    /// That of the gRPC call: the backend's, or what its client makes of how it ended; -1: it is no call.
    public var grpcStatus: Int8 = -1
    public var reason: ReasonCode = .forwarded
    public var method: Method = .other
    /// Attempts at a backend.
    public var attempts: UInt8 = 0
    public var flags: Flags = []

    init(origin: ConnectionOrigin) {
        self.origin = origin
        endpoint = ProxyEndpoint(address: origin.destination, port: origin.destinationPort)
    }

    /// A connection to a backend carries it from now on.
    @inline(__always)
    mutating func noteTunnel(_ isTunnel: Bool) {
        if isTunnel { flags.insert(.tunnelled) } else { flags.remove(.tunnelled) }
    }
}

/// The text of a request, lent with its record.
public struct RequestText {
    /// `nil`: there was no whole head, or the connection has become a tunnel. Ranges in ``head`` are of this memory.
    public let message: UnsafeRawPointer?
    public let head: RequestHead
    /// As they were received: those that forwarding has left out are marked so.
    public let fields: UnsafeBufferPointer<Field>
}

/// Takes the record of each request, on the thread of the worker that served it.
///
/// A class to be overridden: the call costs a jump through a table, no allocation and no reference counting. It must
/// not block.
open class RequestSink {
    public init() {}

    /// - Parameters:
    ///   - record, text: Valid until it returns.
    open func record(_ record: borrowing RequestRecord, _ text: borrowing RequestText) {}

    /// Records were made in this turn of the worker's loop, and there are no more of it: what was collected can go on.
    open func turnEnded() {}

    /// What was counted of all records so far; `nil`: nothing is. Called seldom; may allocate.
    open func metrics() -> MetricsSnapshot? { nil }

    /// A connection that is not HTTP has got one to a backend; ``record(_:_:)`` follows when it ends.
    ///
    /// - Returns: What it is called in ``relayMoved(_:sent:received:)``; `nil`: it is not counted.
    open func relayOpened(_ record: borrowing RequestRecord) -> WorkerMetrics.FlowNumber? { nil }

    /// So many bytes have been passed on since the last call, now and then: as the backend sees them.
    open func relayMoved(_ flow: WorkerMetrics.FlowNumber, sent: UInt64, received: UInt64) {}

    /// A connection that was opened has ended.
    open func relayClosed(_ flow: WorkerMetrics.FlowNumber) {}

    /// Requests are routed by `snapshot` from now on.
    open func published(_ snapshot: ProxySnapshot) {}
}

/// What a worker has counted since it was made. Written by its thread only.
public struct WorkerCounters: Sendable, BitwiseCopyable, Equatable {
    public var accepted: UInt64 = 0
    /// Accepted and reset at once: too many, or of unknown origin.
    public var refusedConnections: UInt64 = 0
    public var connections: UInt64 = 0
    public var requests: UInt64 = 0
    /// Connections that are not HTTP, and are connected to a backend now.
    public var relays: UInt64 = 0
    public var localReplies: UInt64 = 0
    public var dials: UInt64 = 0
    public var failedDials: UInt64 = 0
    public var reuses: UInt64 = 0
    public var retries: UInt64 = 0
    /// Endpoints that were left out for a while.
    public var ejections: UInt64 = 0
    /// Requests that a dry run of a policy or limit would have refused.
    public var dryRunRefusals: UInt64 = 0
    public var repeatsAfterClose: UInt64 = 0
    /// Copies of requests that were begun.
    public var mirrors: UInt64 = 0
    /// Copies that were not begun, or given up, because they would have taken too much memory.
    public var mirrorsDropped: UInt64 = 0
    /// PINGs to backends, and connections that were given up because one was not answered.
    public var pings: UInt64 = 0
    public var deadUpstreams: UInt64 = 0
    public var upstreams: UInt64 = 0
    public var buffers: UInt64 = 0
    public var exchanges: UInt64 = 0

    public init() {}
}

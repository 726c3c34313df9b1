// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// One request and its response, whatever the codecs on both sides: what it was routed to, how its attempts go, and its
/// record.
///
/// An HTTP/1 connection has one exchange at a time, one of HTTP/2 has one for each stream. Nothing here is of a codec:
/// routing, filters, attempts and time limits read ``head``, ``requestFields`` and ``message``; parsers, body readers
/// and sessions belong to the connections.
///
/// Elements of a slab are used again: ``begin(for:now:)`` sets what is of one request, tables stay allocated.
struct Exchange: ~Copyable {
    enum Stage: UInt8, BitwiseCopyable {
        /// The request's head is being read.
        case head
        /// A connection to the backend is awaited.
        case waiting
        /// The next attempt is awaited.
        case backoff
        /// Request and response flow.
        case flowing
        /// The response is out; the rest of the request is read and thrown away.
        case discarding
        /// No HTTP any more: bytes flow both ways.
        case tunnel
    }

    struct Marks: OptionSet, BitwiseCopyable {
        let rawValue: UInt32

        /// The head of the final response is in the client's output: nothing can be tried again.
        static let responseBegan = Marks(rawValue: 1 << 0)
        static let responseDone = Marks(rawValue: 1 << 1)
        static let requestDone = Marks(rawValue: 1 << 2)
        /// The backend takes no more of the request; its response may still come.
        static let uploadBroken = Marks(rawValue: 1 << 3)
        /// The request was repeated because a kept connection had been closed.
        static let repeated = Marks(rawValue: 1 << 4)
        /// Must not use a kept connection.
        static let freshOnly = Marks(rawValue: 1 << 5)
        /// A 100 was passed on.
        static let sawContinue = Marks(rawValue: 1 << 6)
        static let isUpgrade = Marks(rawValue: 1 << 7)
        /// The time for the head runs.
        static let headTimed = Marks(rawValue: 1 << 8)
        /// Some of the request's body was consumed.
        static let bodyBegan = Marks(rawValue: 1 << 11)
        /// The head of the response is here, from a stream of HTTP/2.
        static let headArrived = Marks(rawValue: 1 << 12)
        /// A gRPC call: its client reads trailers, not statuses.
        static let isGRPC = Marks(rawValue: 1 << 13)
        /// A copy of another request, for a mirror: nobody reads its response.
        static let isMirror = Marks(rawValue: 1 << 14)
        /// The copies for mirrors have been made.
        static let mirrored = Marks(rawValue: 1 << 15)
        /// A copy that has not got all of the body, because its mirror is too slow.
        static let fellBehind = Marks(rawValue: 1 << 16)
        /// Asks for a tunnel of which a stream is one end, and that there is not yet: what has come for it waits.
        static let awaitsTunnel = Marks(rawValue: 1 << 17)
        /// A tunnel of which a stream is one end: its bytes flow as bodies do.
        static let streamTunnel = Marks(rawValue: 1 << 18)
        /// Both ends of the client's stream have been told in order, and what it has sent still waits for the backend.
        static let outlivesStream = Marks(rawValue: 1 << 19)
        /// Its rule is in no configuration that is held any more: the attempt under way is the last.
        static let superseded = Marks(rawValue: 1 << 20)
        /// A tunnel that a backend's HTTP/2 does not have: it is asked for by HTTP/1.1, also again.
        static let onlyHTTP1 = Marks(rawValue: 1 << 21)
        /// No request at all: the bytes of a client's connection, passed on as they are (`Engine+Relay`).
        static let relay = Marks(rawValue: 1 << 22)
        /// A relay by which the backend may begin, of a client that may still turn out to speak HTTP.
        static let tentative = Marks(rawValue: 1 << 23)
        /// The client takes no more of a tunnel; what it has sent still goes on.
        static let downloadBroken = Marks(rawValue: 1 << 24)
        /// Its path can be read in one way only, as it was sent (``RequestPath/isPlain(_:)``).
        static let hasPlainPath = Marks(rawValue: 1 << 25)
        static let downstreamEndSent = Marks(rawValue: 1 << 9)
        static let upstreamEndSent = Marks(rawValue: 1 << 10)
    }

    // Of the slot.
    var handle: SlabHandle
    /// Made when the slot is first used; ``UInt32/max``: not yet.
    var timer: TimerWheel.ID = .max
    var requestFields: FieldTable
    var responseFields: FieldTable
    /// Of the request; those of the response go into its fields' table, which is done with by then.
    var trailers: FieldTable

    // Of the request.
    var downstream: DownstreamPointer?
    var upstream: UpstreamPointer?
    /// Of the client's connection, if that is of HTTP/2.
    var stream: HTTP2Stream?
    /// Of the backend's connection, if that is of HTTP/2.
    var upstreamStream: HTTP2Stream?
    // Neighbours among the exchanges of either connection.
    var nextOnDownstream: ExchangePointer?
    var previousOnDownstream: ExchangePointer?
    var nextOnUpstream: ExchangePointer?
    var previousOnUpstream: ExchangePointer?
    /// The newest of the request's copies for mirrors that are open; and, of a copy, the next one.
    var mirror: ExchangePointer?
    var nextMirror: ExchangePointer?
    /// Of a copy: the request, while that goes on.
    var original: ExchangePointer?
    /// Of a copy: bytes of the body that the request's attempt has met, and those that the copy has been given.
    var met: UInt64 = 0
    var copied: UInt64 = 0
    /// Waits in the engine's queue for another turn.
    var isQueued = false
    var stage: Stage = .head
    var marks: Marks = []
    var head: RequestHead
    var responseHead: ResponseHead
    var requestBody = BodyFlow()
    var responseBody = BodyFlow()
    /// What has come by a stream of HTTP/2 and has not gone on.
    var requestQueue = BodyQueue()
    var responseQueue = BodyQueue()
    var interims: UInt8 = 0
    /// By which the backend has ended its stream.
    var resetCode = HTTP2ErrorCode.noError
    /// That a backend of HTTP/1.1 was given for a stream of the client's, and must answer.
    var webSocketKey: WebSocketKey?

    // Routing. Plans live as long as the snapshot that is held.
    var hold: UnsafeMutablePointer<SnapshotHold>?
    var service: UnsafePointer<ServicePlan>?
    var rule: UnsafePointer<RulePlan>?
    var backend: UnsafePointer<BackendPlan>?
    var prefixLength: Int32 = -1
    var corsFields: [HeaderField] = []
    var choice = EndpointChoice()
    /// The serial of the snapshot by whose policies the attempt was judged.
    var judgedBy: UInt64 = 0

    // Attempts. Deadlines in milliseconds, 0: none.
    var pool: PoolPointer?
    var nextWaiting: ExchangePointer?
    var previousWaiting: ExchangePointer?
    var retries: UInt32 = 0
    /// Repetitions of what no backend has looked at.
    var refusals: UInt8 = 0
    var beganAt: UInt64 = 0
    var requestDeadline: UInt64 = 0
    var attemptDeadline: UInt64 = 0
    var legDeadline: UInt64 = 0
    var backoffUntil: UInt64 = 0

    // What was moved when it was last looked at, and when that was.
    var progressMark: UInt64 = 0
    var progressAt: UInt64 = 0

    var record: RequestRecord
    /// Of a relay: how the sink counts it, and what it has been told.
    var meter = RelayMeter()

    init(index: UInt32, fieldCount: Int) {
        handle = SlabHandle(index: index, generation: 0)
        requestFields = FieldTable(capacity: fieldCount)
        responseFields = FieldTable(capacity: fieldCount)
        trailers = FieldTable(capacity: 32)
        head = RequestHead()
        responseHead = ResponseHead()
        let none = IPAddress(high: 0, low: 0)
        record = RequestRecord(
            origin: ConnectionOrigin(destination: none, destinationPort: 0, client: none, clientPort: 0))
    }

    /// The memory that offsets of the request's head and fields are for: the front of the client's block, or the
    /// stream's own.
    @inline(__always) var message: UnsafeRawPointer? {
        if let stream { return UnsafeRawPointer(stream.slot.pointee.head.bytes) }
        return downstream.flatMap { UnsafeRawPointer($0.pointee.channel.input.base) }
    }

    /// A tunnel between the client's connection of HTTP/1 and a stream: nothing is left of the request's head.
    @inline(__always) var isTunnelOfConnection: Bool { stream == nil && marks.contains(.streamTunnel) }

    /// Whether all of the request is in the client's block, from which it can be sent again.
    var mayReplay: Bool {
        guard !marks.contains(.superseded) else { return false }
        return head.framing == .none || requestBody.keeps || !marks.contains(.bodyBegan)
    }

    /// Takes note of whether there will be a body. An extended CONNECT has none, but something like it once the tunnel is
    /// there.
    mutating func noteBody() {
        guard head.framing == .none else { return }
        marks.insert(head.options.contains(.extendedConnect) ? .awaitsTunnel : .requestDone)
    }

    /// Makes ready for a request of `downstream`.
    mutating func begin(for downstream: DownstreamPointer, now: UInt64, milliseconds: UInt64) {
        self.downstream = downstream
        upstream = nil
        stream = nil
        upstreamStream = nil
        mirror = nil
        nextMirror = nil
        original = nil
        met = 0
        copied = 0
        stage = .head
        marks = []
        head = RequestHead()
        responseHead = ResponseHead()
        requestBody = BodyFlow()
        responseBody = BodyFlow()
        interims = 0
        resetCode = .noError
        webSocketKey = nil
        refusals = 0
        hold = nil
        service = nil
        rule = nil
        backend = nil
        prefixLength = -1
        if !corsFields.isEmpty { corsFields = [] }
        choice = EndpointChoice()
        judgedBy = 0
        pool = nil
        retries = 0
        beganAt = milliseconds
        requestDeadline = 0
        attemptDeadline = 0
        legDeadline = 0
        backoffUntil = 0
        progressMark = 0
        progressAt = milliseconds
        record = RequestRecord(origin: downstream.pointee.origin)
        record.startedAt = now
        meter = RelayMeter()
    }
}

// SPDX-License-Identifier: Apache-2.0

/// What the session keeps for one stream, in memory that stays where it is. The pool of the worker has it again when
/// the stream is closed and that has been reported.
struct HTTP2StreamSlot: ~Copyable {
    var id: Int32 = 0
    /// Raised each time that the slot is given back, so that an old ``HTTP2Stream`` can be told.
    var generation: UInt32 = 0
    /// Its owner knows of it: by a request's head, or because it opened the stream.
    var isReported = false
    /// A message of the peer's was invalid, or the owner has reset it: nothing more is reported but its end.
    var isBroken = false
    /// Why, for its end may come in order before the reset does.
    var brokenCode = HTTP2ErrorCode.noError
    /// The last frame of our message is made, and whether the stream is reset then: the rest of the peer's is not wanted.
    var endMade = false
    var resetsAfterEnd = false
    /// RST_STREAM is made, with that code.
    var resetMade = false
    var resetCode = HTTP2ErrorCode.noError
    /// END_STREAM has left, and has come (RFC 9113 section 5.1).
    var localEnded = false
    var remoteEnded = false
    /// The owner still reads what was received on it, though the stream may be over and that reported.
    var isHeld = false
    var isOver = false
    /// It is over for the peer too; what comes of it is ignored.
    var isClosed = false
    /// Its head, not an interim one, is whole: the next header block is a trailer section.
    var hasFinalHead = false
    /// Bytes of the peer's content that are still to come by its `content-length`; -1 where nothing says how many.
    var contentLeft: Int64 = -1
    /// Of the request; on a client's side to know what its response has for a body.
    var method = Method.other
    var nextFree: UnsafeMutablePointer<HTTP2StreamSlot>?
    /// Neighbours in the session's list of streams in use.
    var next: UnsafeMutablePointer<HTTP2StreamSlot>?
    var previous: UnsafeMutablePointer<HTTP2StreamSlot>?
    /// The owner's own; see ``HTTP2Stream/context``.
    var context = 0

    var head: HTTP2HeadReader
    var trailers: HTTP2HeadReader

    /// Where ``HTTP2Outbox/added`` was when its last frame was made.
    var endsAt: UInt64 = 0
    var ready = HTTP2SlotLink()
    var ending = HTTP2SlotLink()

    /// Bytes of DATA that were reported and not consumed; what is left of it when the stream closes still has to be
    /// given back to the connection's window (RFC 9113 section 6.9.1).
    var unconsumed = 0
    /// What the peer has used of its window (RFC 9113 section 6.9), and what of that is consumed and not announced.
    var received = 0
    var credit = 0
    /// What the peer lets us send. Less than nothing after it has lowered SETTINGS_INITIAL_WINDOW_SIZE.
    var sendWindow = 0

    /// What is to be sent, lent by the owner.
    var body = UnsafeRawBufferPointer(start: nil, count: 0)
    /// A frame may be made where ``body`` is: it may be written to, and there is room for a header in front of it.
    var bodyIsFramed = false
    /// Nothing follows ``body``, but trailers perhaps.
    var bodyIsLast = false
    /// The head of our message said that content, or its end, follows.
    var hasBody = false
    /// ``outgoing`` follows the body.
    var hasTrailers = false
    /// When body bytes were last taken, or offered after there were none. Milliseconds.
    var movedAt: UInt64 = 0
    /// Trailers of ours, copied when they are given, because body bytes may have to go before them.
    var outgoing: HTTP2HeadReader

    private let limits: HTTP2Limits

    init(_ limits: HTTP2Limits) {
        self.limits = limits
        head = HTTP2HeadReader(
            fields: Int(limits.fields), listBytes: Int(limits.headerListBytes), methodBytes: Int(limits.methodBytes),
            targetBytes: Int(limits.targetBytes))
        trailers = HTTP2HeadReader(trailerFields: Int(limits.trailerFields), listBytes: Int(limits.trailerListBytes))
        outgoing = HTTP2HeadReader(trailerFields: Int(limits.trailerFields), listBytes: Int(limits.trailerListBytes))
    }

    /// Whether it has room for the messages of a session with `other` limits.
    func fits(_ other: HTTP2Limits) -> Bool {
        limits.fields == other.fields && limits.headerListBytes == other.headerListBytes
            && limits.trailerFields == other.trailerFields && limits.trailerListBytes == other.trailerListBytes
            && limits.methodBytes == other.methodBytes && limits.targetBytes == other.targetBytes
    }

    /// What the peer's head says about the content behind it.
    mutating func expectContent(_ framing: BodyFraming) {
        switch framing {
        case .none: contentLeft = 0
        case .length(let count): contentLeft = Int64(clamping: count)
        case .chunked, .untilClose, .tunnel: contentLeft = -1
        }
    }

    mutating func recycle() {
        id = 0
        generation &+= 1
        isReported = false
        isBroken = false
        brokenCode = .noError
        endMade = false
        resetsAfterEnd = false
        resetMade = false
        resetCode = .noError
        localEnded = false
        remoteEnded = false
        isHeld = false
        isOver = false
        isClosed = false
        hasFinalHead = false
        contentLeft = -1
        method = .other
        context = 0
        endsAt = 0
        ready = HTTP2SlotLink()
        ending = HTTP2SlotLink()
        unconsumed = 0
        received = 0
        credit = 0
        sendWindow = 0
        body = UnsafeRawBufferPointer(start: nil, count: 0)
        bodyIsFramed = false
        bodyIsLast = false
        hasBody = false
        hasTrailers = false
        movedAt = 0
        head.trim()
        trailers.trim()
        outgoing.trim()
    }
}

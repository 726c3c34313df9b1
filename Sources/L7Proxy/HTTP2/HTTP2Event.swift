// SPDX-License-Identifier: Apache-2.0

/// What happened on a connection. Told in the order in which it happened, between frames, so that the session's
/// functions can be called from the handler, apart from `receive` and `send`.
public enum HTTP2Event: BitwiseCopyable {
    /// A request's head is whole; server only. Nothing follows if `endOfStream`.
    case request(HTTP2Stream, endOfStream: Bool)
    /// An interim response, 1xx but not 101; client only. Another head follows (RFC 9110 section 15.2).
    case interim(HTTP2Stream)
    /// A response's head is whole; client only.
    case response(HTTP2Stream, endOfStream: Bool)
    /// Content, a part of what was given to ``HTTP2Session/receive(_:now:_:)``, lent as long as that was. So much of the
    /// peer's window stays shut until ``HTTP2Session/consume(_:_:)`` is called for it.
    case data(HTTP2Stream, UnsafeRawBufferPointer)
    /// The peer's message is whole, and these are its trailers.
    case trailers(HTTP2Stream)
    /// The peer's message is whole, without trailers.
    case end(HTTP2Stream)
    /// A DATA frame that was made in place, lent until the handler returns: it goes to the wire before what
    /// ``HTTP2Session/send(into:now:_:)`` writes. See ``HTTP2Session/offerFramed(_:_:)``.
    case frame(UnsafeRawBufferPointer)
    /// So many bytes of the body that was offered have been taken; their memory is the owner's again.
    case sent(HTTP2Stream, Int)
    /// The stream is over, for the reason given; ``HTTP2ErrorCode/noError`` if both messages were whole. A client may
    /// send its request again, whatever the method, if it is ``HTTP2ErrorCode/refusedStream``.
    case closed(HTTP2Stream, HTTP2ErrorCode)
    /// A request was refused before its head was reported, and is answered already; server only.
    case refused(streamID: Int32, MalformedMessage)
    /// The peer will open no further streams, or lets us open none; what we opened above `lastStream` is reported as
    /// closed with ``HTTP2ErrorCode/refusedStream``.
    case goAway(lastStream: Int32, HTTP2ErrorCode)
    /// The peer has changed its settings: look at ``HTTP2Session/peerConcurrentStreams`` again.
    case settings
    /// The answer to ``HTTP2Session/ping(_:)``.
    case pong(UInt64)
}

/// Whoever a session tells what happened. Lent for the length of a call.
public protocol HTTP2EventHandler: ~Copyable {
    mutating func handle(_ event: HTTP2Event)
}

/// Events that wait to be told. It keeps the memory that it has needed once: a segment of input causes a known
/// number, and only a GOAWAY that ends many streams at once makes it grow further. It begins small, because each
/// connection has one, idle or not.
struct HTTP2EventQueue: ~Copyable {
    private var base: UnsafeMutablePointer<HTTP2Event>
    private var capacity = 8
    private(set) var count = 0

    init() { base = .allocate(capacity: capacity) }

    deinit { base.deallocate() }

    mutating func append(_ event: HTTP2Event) {
        if count == capacity { grow() }
        (base + count).initialize(to: event)
        count &+= 1
    }

    @inline(never)
    private mutating func grow() {
        let larger = UnsafeMutablePointer<HTTP2Event>.allocate(capacity: capacity * 2)
        larger.update(from: base, count: count)
        base.deallocate()
        base = larger
        capacity *= 2
    }

    subscript(position: Int) -> HTTP2Event { base[position] }

    mutating func removeAll() { count = 0 }
}

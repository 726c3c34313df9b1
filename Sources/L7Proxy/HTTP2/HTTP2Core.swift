// SPDX-License-Identifier: Apache-2.0

internal import CNGHTTP2

/// What a session and nghttp2's callbacks share, in memory that stays where it is.
///
/// The session passes its address to nghttp2 unretained and frees both together. Callbacks only record: decisions about
/// bytes are the readers', about frames the scanner's and the guard's, and events are told after nghttp2 has returned.
struct HTTP2Core: ~Copyable {
    let isServer: Bool
    let limits: HTTP2Limits
    /// Held by the session.
    let pool: Unmanaged<HTTP2MemoryPool>
    var session: OpaquePointer?
    private var scanner: HTTP2FrameScanner
    private var guarded: HTTP2Guard
    var events = HTTP2EventQueue()
    /// Milliseconds, of the call that is going on.
    var now: UInt64

    /// The stream whose header block is being decoded, if anybody wants to know.
    var current: UnsafeMutablePointer<HTTP2StreamSlot>?
    /// The streams in use, newest first.
    private(set) var streams: UnsafeMutablePointer<HTTP2StreamSlot>?
    private(set) var streamCount = 0

    /// What still has to be written goes here during a call of `send`.
    var output = UnsafeMutableRawBufferPointer(start: nil, count: 0)
    var outputCount = 0
    /// A frame was made in place during the call.
    var hasFramed = false
    /// Of a frame that did not fit, in a block of the pool.
    var leftover = UnsafeRawBufferPointer(start: nil, count: 0)
    private var leftoverBlock: UnsafeMutableRawPointer?

    /// Found by a callback; acted upon when nghttp2 has returned.
    var violation: HTTP2Violation?
    var failure: HTTP2Failure?
    /// We have ended the connection and wait for what is left to be sent.
    var isTerminated = false
    var isTelling = false
    var drain = Drain.no
    /// How far an orderly end has come (RFC 9113 section 6.8).
    enum Drain {
        case no
        /// The peer was told that there will be an end; requests under way are still taken.
        case noticed
        /// The last stream is known to the peer.
        case final
    }

    init(isServer: Bool, limits: HTTP2Limits, pool: HTTP2MemoryPool, now: UInt64) {
        self.isServer = isServer
        self.limits = limits
        self.pool = Unmanaged.passUnretained(pool)
        self.now = now
        scanner = HTTP2FrameScanner(isServer: isServer, limits: limits)
        guarded = HTTP2Guard(limits.rates, now: now)
    }

    deinit {
        // Before the streams: nghttp2 has their addresses.
        if let session { nghttp2_session_del(session) }
        if let leftoverBlock { pool._withUnsafeGuaranteedRef { $0.deallocate(leftoverBlock) } }
        var next = streams
        while let slot = next {
            next = slot.pointee.next
            pool._withUnsafeGuaranteedRef { $0.giveBack(slot) }
        }
    }

    mutating func nextSegment(_ bytes: UnsafeRawBufferPointer) -> HTTP2FrameScanner.Segment {
        scanner.next(bytes, guarded: &guarded, now: now)
    }

    mutating func note(_ event: HTTP2Guard.Event) {
        if let found = guarded.note(event, now: now), violation == nil { violation = found }
    }

    mutating func noteWork() { guarded.noteWork() }

    /// Takes a client's preface (RFC 9113 section 3.4) out of nghttp2's buffer for frames, where it stands from the
    /// beginning: others use the buffer too. Nothing else waits to be sent yet.
    mutating func takePreface() {
        var data: UnsafePointer<UInt8>?
        let count = nghttp2_session_mem_send(session, &data)
        guard count > 0 else { return }
        leftover = UnsafeRawBufferPointer(start: data, count: count)
        keepLeftover()
        // nghttp2 is done with it when it is asked for what follows.
        let rest = nghttp2_session_mem_send(session, &data)
        precondition(rest == 0, "something follows the preface before the settings")
    }

    /// Takes what is left of a frame out of nghttp2's memory.
    mutating func keepLeftover() {
        guard let source = leftover.baseAddress, !leftover.isEmpty else { return }
        let count = leftover.count
        let block = pool._withUnsafeGuaranteedRef { $0.allocate(count) }
        block.copyMemory(from: source, byteCount: count)
        leftover = UnsafeRawBufferPointer(start: block, count: count)
        leftoverBlock = block
    }

    @inline(__always)
    mutating func forgetLeftover() {
        leftover = UnsafeRawBufferPointer(start: nil, count: 0)
        guard let block = leftoverBlock else { return }
        leftoverBlock = nil
        pool._withUnsafeGuaranteedRef { $0.deallocate(block) }
    }

    /// For heads that are written in a callback, trailers above all. nghttp2 copies them at once.
    var writer: UnsafeMutablePointer<HTTP2HeadWriter> {
        pool._withUnsafeGuaranteedRef { $0.writer(fields: Int(limits.trailerFields)) }
    }
}

// MARK: - Streams

extension HTTP2Core {
    mutating func takeStream(id: Int32) -> UnsafeMutablePointer<HTTP2StreamSlot> {
        let slot = pool._withUnsafeGuaranteedRef { $0.takeStream(limits) }
        slot.pointee.id = id
        slot.pointee.next = streams
        slot.pointee.previous = nil
        streams?.pointee.previous = slot
        streams = slot
        streamCount &+= 1
        return slot
    }

    /// Gives the slot back; its stream has been reported as closed, or was never reported.
    mutating func forget(_ slot: UnsafeMutablePointer<HTTP2StreamSlot>) {
        let next = slot.pointee.next
        if let previous = slot.pointee.previous { previous.pointee.next = next } else { streams = next }
        next?.pointee.previous = slot.pointee.previous
        slot.pointee.next = nil
        slot.pointee.previous = nil
        streamCount &-= 1
        pool._withUnsafeGuaranteedRef { $0.giveBack(slot) }
    }

    /// nghttp2 knows the stream no more.
    mutating func close(_ slot: UnsafeMutablePointer<HTTP2StreamSlot>, _ code: HTTP2ErrorCode) {
        guard !slot.pointee.isClosed else { return }
        slot.pointee.isClosed = true
        slot.pointee.body = UnsafeRawBufferPointer(start: nil, count: 0)
        if current == slot { current = nil }
        // RFC 9113 section 6.9.1: what nobody will consume must not keep the connection's window shut.
        if slot.pointee.unconsumed > 0 {
            nghttp2_session_consume_connection(session, slot.pointee.unconsumed)
            slot.pointee.unconsumed = 0
        }
        if slot.pointee.isReported {
            events.append(.closed(HTTP2Stream(slot), code == .noError ? slot.pointee.brokenCode : code))
        } else {
            forget(slot)
        }
    }

    /// The stream of `id`, if it is one of ours and open.
    @inline(__always)
    func stream(_ id: Int32) -> UnsafeMutablePointer<HTTP2StreamSlot>? {
        nghttp2_session_get_stream_user_data(session, id)?.assumingMemoryBound(to: HTTP2StreamSlot.self)
    }

    /// Resets a stream whose message is malformed (RFC 9113 section 8.1.1), or answers it where the status says more
    /// than that.
    mutating func refuse(_ slot: UnsafeMutablePointer<HTTP2StreamSlot>, _ defect: MalformedMessage, ended: Bool) {
        let id = slot.pointee.id
        slot.pointee.isBroken = true
        slot.pointee.brokenCode = .protocolError
        let isRequest = isServer && !slot.pointee.isReported
        if isRequest { events.append(.refused(streamID: id, defect)) }
        guard isRequest, defect.requestStatus != 400 else {
            nghttp2_submit_rst_stream(
                session, UInt8(NGHTTP2_FLAG_NONE.rawValue), id, HTTP2ErrorCode.protocolError.rawValue)
            return
        }
        note(.provokedReset)
        let writer = writer
        writer.pointee.beginResponse(status: defect.requestStatus)
        nghttp2_submit_response(session, id, writer.pointee.fields, writer.pointee.count, nil)
        // RFC 9113 section 8.1: the rest of the request is not wanted. nghttp2 sends nothing more on a stream that it has
        // been told to reset, so it is told when the answer has been sent.
        slot.pointee.resetsAfterEnd = !ended
    }
}

// SPDX-License-Identifier: Apache-2.0

internal import CNGHTTP2

// MARK: - What nghttp2 reports

extension HTTP2Core {
    /// The longest DATA frame header.
    static let frameHeaderLength = 9

    /// A header block is whole.
    mutating func finishBlock(_ slot: UnsafeMutablePointer<HTTP2StreamSlot>, ended: Bool) {
        if slot.pointee.hasFinalHead {
            // RFC 9113 section 8.5: only DATA comes through a tunnel.
            if slot.pointee.method == .connect { return refuse(slot, .bodyOfConnect, ended: ended) }
            // Section 8.1: trailers end the message, whose content is whole (section 8.1.1).
            let wrong: MalformedMessage? =
                !ended ? .invalidHTTP2Message : slot.pointee.contentLeft > 0 ? .invalidContentLength : nil
            if let defect = slot.pointee.trailers.finishTrailers() ?? wrong {
                return refuse(slot, defect, ended: ended)
            }
            events.append(.trailers(HTTP2Stream(slot)))
            return
        }
        if isServer {
            if let defect = slot.pointee.head.finishRequest(endOfStream: ended) {
                return refuse(slot, defect, ended: ended)
            }
            let head = slot.pointee.head.request
            // RFC 8441 section 3: only where we have said that we take it.
            if head.options.contains(.extendedConnect), !limits.takesExtendedConnect {
                return refuse(slot, .invalidPseudoField, ended: ended)
            }
            slot.pointee.method = head.options.contains(.extendedConnect) ? .connect : head.method
            // RFC 9113 section 8.5: DATA behind CONNECT is the tunnel's.
            slot.pointee.expectContent(slot.pointee.method == .connect ? .tunnel : head.framing)
            slot.pointee.hasFinalHead = true
            slot.pointee.isReported = true
            events.append(.request(HTTP2Stream(slot), endOfStream: ended))
            return
        }
        if let defect = slot.pointee.head.finishResponse(to: slot.pointee.method, endOfStream: ended) {
            return refuse(slot, defect, ended: ended)
        }
        if slot.pointee.head.response.isInterim {
            // RFC 9113 section 8.1: the final one is still to come.
            if ended { return refuse(slot, .invalidHTTP2Message, ended: true) }
            events.append(.interim(HTTP2Stream(slot)))
            return
        }
        slot.pointee.expectContent(slot.pointee.head.response.framing)
        slot.pointee.hasFinalHead = true
        events.append(.response(HTTP2Stream(slot), endOfStream: ended))
    }

    /// Takes note of content of the peer's. - Returns: Whether it may come (RFC 9113 sections 8.1 and 8.1.1); else the stream
    /// is reset.
    @inline(__always)
    mutating func takeContent(_ count: Int, of slot: UnsafeMutablePointer<HTTP2StreamSlot>) -> Bool {
        guard slot.pointee.hasFinalHead else {
            refuse(slot, .invalidHTTP2Message, ended: false)
            return false
        }
        guard slot.pointee.contentLeft >= 0 else { return true }
        slot.pointee.contentLeft &-= Int64(count)
        guard slot.pointee.contentLeft < 0 else { return true }
        refuse(slot, .invalidContentLength, ended: false)
        return false
    }

    /// The peer's message has ended with its content.
    @inline(__always)
    mutating func finishContent(_ slot: UnsafeMutablePointer<HTTP2StreamSlot>) {
        guard slot.pointee.hasFinalHead, slot.pointee.contentLeft <= 0 else {
            let isEarly = !slot.pointee.hasFinalHead
            return refuse(slot, isEarly ? .invalidHTTP2Message : .invalidContentLength, ended: true)
        }
        events.append(.end(HTTP2Stream(slot)))
    }

    /// The payload of the PING that follows the notice of an end.
    static let drainPing: UInt64 = 0x736f_636b_6d65_7368

    mutating func receivedPong(_ payload: UInt64) {
        if payload == Self.drainPing, drain == .noticed { return finishDrain() }
        events.append(.pong(payload))
    }

    /// The second step of an orderly end: requests that were under way when the first was sent have arrived, because
    /// its PING has been answered, or are given up.
    mutating func finishDrain() {
        guard drain != .final, !isTerminated else { return }
        drain = .final
        nghttp2_submit_goaway(
            session, UInt8(NGHTTP2_FLAG_NONE.rawValue), nghttp2_session_get_last_proc_stream_id(session),
            HTTP2ErrorCode.noError.rawValue, nil, 0)
    }

    /// Ends the connection at once with a GOAWAY.
    mutating func terminate(_ reason: HTTP2Failure, _ code: HTTP2ErrorCode) {
        if failure == nil { failure = reason }
        guard !isTerminated else { return }
        isTerminated = true
        nghttp2_session_terminate_session(session, code.rawValue)
    }
}

// MARK: - What nghttp2 asks for

extension HTTP2Core {
    /// How much of the body goes into the next DATA frame: what is offered, what the window and the frame size allow
    /// (`length`), what there is room for.
    mutating func offerBody(
        of slot: UnsafeMutablePointer<HTTP2StreamSlot>, upTo length: Int, _ flags: inout UInt32
    ) -> Int {
        let offered = slot.pointee.body.count
        if slot.pointee.isBroken || offered == 0 && !slot.pointee.bodyIsLast {
            slot.pointee.isDeferred = true
            return Int(NGHTTP2_ERR_DEFERRED.rawValue)
        }
        let room = output.count &- outputCount &- Self.frameHeaderLength
        // nghttp2 asks again and again within one call; what is left of the room may be worth no frame.
        if room < min(offered, HTTP2Session.smallestRoom - Self.frameHeaderLength) {
            return Int(NGHTTP2_ERR_PAUSE.rawValue)
        }
        let taken = min(offered, length, room)
        if taken > 0 { flags |= NGHTTP2_DATA_FLAG_NO_COPY.rawValue }
        guard taken == offered, slot.pointee.bodyIsLast else { return taken }
        flags |= NGHTTP2_DATA_FLAG_EOF.rawValue
        if slot.pointee.hasTrailers {
            flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM.rawValue
            let writer = writer
            writer.pointee.trailers(slot.pointee.outgoing.fields, in: slot.pointee.outgoing.bytes)
            nghttp2_submit_trailer(session, slot.pointee.id, writer.pointee.fields, writer.pointee.count)
        }
        return taken
    }

    /// Below that a frame is rather copied, behind what else is to be sent.
    private static let leastFramed = 2048

    /// Writes a DATA frame, in place or with a copy of the body's bytes.
    mutating func write(
        _ header: UnsafePointer<UInt8>, _ length: Int, of slot: UnsafeMutablePointer<HTTP2StreamSlot>
    ) {
        let body = slot.pointee.body
        guard let base = output.baseAddress, let source = body.baseAddress else { return }
        let total = Self.frameHeaderLength + length
        precondition(
            output.count &- outputCount >= total && body.count >= length, "a DATA frame is larger than its offer")
        if slot.pointee.bodyIsFramed, outputCount == 0, length >= Self.leastFramed {
            // Of the frame before this one, which is on its way, or of the room in front of the first.
            let place = UnsafeMutableRawPointer(mutating: source) - Self.frameHeaderLength
            place.copyMemory(from: header, byteCount: Self.frameHeaderLength)
            events.append(.frame(UnsafeRawBufferPointer(start: place, count: total)))
            // It has taken the room: nghttp2 is told to stop.
            hasFramed = true
        } else {
            let place = base + outputCount
            place.copyMemory(from: header, byteCount: Self.frameHeaderLength)
            (place + Self.frameHeaderLength).copyMemory(from: source, byteCount: length)
            outputCount &+= total
        }
        slot.pointee.body = UnsafeRawBufferPointer(rebasing: body[length...])
        slot.pointee.movedAt = now
        events.append(.sent(HTTP2Stream(slot), length))
    }
}

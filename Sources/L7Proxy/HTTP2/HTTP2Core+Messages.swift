// SPDX-License-Identifier: Apache-2.0

// MARK: - Messages

extension HTTP2Core {
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
        appendGoAway(lastProcessed, .noError)
    }

    /// Ends the connection at once with a GOAWAY.
    mutating func terminate(_ reason: HTTP2Failure, _ code: HTTP2ErrorCode) {
        if failure == nil { failure = reason }
        terminate(code)
    }

    mutating func terminate(_ code: HTTP2ErrorCode) {
        guard !isTerminated else { return }
        if code != .noError, failure == nil { failure = .connectionError(code) }
        isTerminated = true
        appendGoAway(lastProcessed, code)
    }

    /// Resets a stream whose message is malformed (RFC 9113 section 8.1.1), or answers it where the status says more
    /// than that.
    mutating func refuse(_ slot: UnsafeMutablePointer<HTTP2StreamSlot>, _ defect: MalformedMessage, ended: Bool) {
        slot.pointee.isBroken = true
        slot.pointee.brokenCode = .protocolError
        let isRequest = isServer && !slot.pointee.isReported
        if isRequest { events.append(.refused(streamID: slot.pointee.id, defect)) }
        guard isRequest, defect.requestStatus != 400 else { return resetStream(slot, .protocolError) }
        note(.provokedReset)
        // RFC 9113 section 8.1: the rest of the request is not wanted.
        slot.pointee.resetsAfterEnd = !ended
        let writer = writer
        writer.pointee.beginResponse(status: defect.requestStatus)
        appendHead(slot, writer.pointee, ends: true)
    }
}

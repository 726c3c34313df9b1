// SPDX-License-Identifier: Apache-2.0

// MARK: - Bytes that come

extension HTTP2Core {
    /// Reads up to the end of a header block, or some frames.
    ///
    /// - Returns: How many bytes were used up; all of them if the connection has ended.
    mutating func read(_ bytes: UnsafeRawBufferPointer) -> Int {
        guard let base = bytes.baseAddress else { return 0 }
        let count = bytes.count
        var offset = 0
        var frames = 0
        if reader.prefaceLeft > 0, !reader.readPreface(bytes, &offset) {
            terminate(.badPreface, .protocolError)
            return count
        }
        while offset < count {
            if !reader.isInFrame {
                guard reader.readHeader(base, &offset, count) else { break }
                if let violation = reader.check(&guarded, now) {
                    terminate(.abuse(violation), violation.code)
                    return count
                }
                beginFrame()
                if isTerminated { return count }
            }
            let taken = min(reader.payloadLeft, count &- offset)
            let piece = UnsafeRawBufferPointer(start: base + offset, count: taken)
            offset &+= taken
            reader.payloadLeft &-= taken
            let isWhole = reader.payloadLeft == 0
            let endsBlock = takePayload(piece, isWhole: isWhole)
            if isTerminated { return count }
            guard isWhole else { break }
            reader.endFrame()
            frames &+= 1
            if endsBlock || frames == HTTP2FrameReader.framesInSegment { break }
        }
        return offset
    }

    /// The header of a frame is whole.
    @inline(__always)
    private mutating func beginFrame() {
        let frame = reader.frame
        if !hasSettings {
            // RFC 9113 section 3.4.
            guard frame.kind == HTTP2Frame.Kind.settings, !frame.has(HTTP2Frame.Flag.acknowledgement) else {
                return breakConnection(.protocolError)
            }
            hasSettings = true
        }
        switch frame.kind {
        case HTTP2Frame.Kind.data: beginData(frame)
        case HTTP2Frame.Kind.headers: checkHeaders(frame)
        default: checkControl(frame)
        }
    }

    /// - Returns: Whether a header block was read.
    @inline(__always)
    private mutating func takePayload(_ piece: UnsafeRawBufferPointer, isWhole: Bool) -> Bool {
        let frame = reader.frame
        switch frame.kind {
        case HTTP2Frame.Kind.data:
            takeData(piece)
            if isWhole, !isTerminated { endData(frame) }
            return false
        case HTTP2Frame.Kind.headers:
            return takeHeaders(frame, piece, isWhole: isWhole)
        case HTTP2Frame.Kind.continuation:
            return takeContinuation(frame, piece, isWhole: isWhole)
        default:
            takeControl(frame, piece)
            return false
        }
    }

    /// Ends the connection because the peer has broken the protocol (RFC 9113 section 5.4.1).
    mutating func breakConnection(_ code: HTTP2ErrorCode) { terminate(.connectionError(code), code) }

    /// Resets a stream, for the same reason (section 5.4.2) or because its owner wants it: nothing more is reported but its end.
    mutating func breakStream(_ slot: UnsafeMutablePointer<HTTP2StreamSlot>, _ code: HTTP2ErrorCode) {
        slot.pointee.isBroken = true
        slot.pointee.brokenCode = code
        resetStream(slot, code)
    }
}

// MARK: - Content

extension HTTP2Core {
    /// RFC 9113 section 6.1. All of the frame counts for the windows, padding too (section 6.9.1).
    private mutating func beginData(_ frame: HTTP2Frame) {
        dataStream = nil
        let length = Int(frame.length)
        contentLeft = length
        awaitsPadLength = frame.has(HTTP2Frame.Flag.padded)
        guard frame.stream != 0, !awaitsPadLength || length > 0 else { return breakConnection(.protocolError) }
        received &+= length
        guard received <= max(Self.defaultWindow, connectionWindow) else {
            return breakConnection(.flowControlError)
        }
        guard let slot = table.find(frame.stream) else {
            // Of a stream that is over, of which the peer may not know yet.
            return isIdle(frame.stream) ? breakConnection(.protocolError) : ()
        }
        if slot.pointee.isBroken || slot.pointee.resetMade { return }
        guard !slot.pointee.remoteEnded else { return breakConnection(.streamClosed) }
        slot.pointee.received &+= length
        guard slot.pointee.received <= streamWindow else { return breakStream(slot, .flowControlError) }
        dataStream = slot
    }

    @inline(__always)
    private mutating func takeData(_ piece: UnsafeRawBufferPointer) {
        var piece = piece
        if awaitsPadLength, let padding = piece.first {
            awaitsPadLength = false
            let content = contentLeft &- 1 &- Int(padding)
            guard content >= 0 else { return breakConnection(.protocolError) }
            // A frame that is nothing but padding.
            if content == 0, !reader.frame.has(HTTP2Frame.Flag.endStream) {
                if let violation = guarded.note(.emptyFrame, now: now) {
                    return terminate(.abuse(violation), violation.code)
                }
            }
            contentLeft = content
            forgo(1 &+ Int(padding))
            piece = UnsafeRawBufferPointer(rebasing: piece[1...])
        }
        let count = min(contentLeft, piece.count)
        guard count > 0 else { return }
        contentLeft &-= count
        guard let slot = dataStream, !slot.pointee.isBroken, takeContent(count, of: slot) else { return forgo(count) }
        slot.pointee.unconsumed &+= count
        events.append(.data(HTTP2Stream(slot), UnsafeRawBufferPointer(start: piece.baseAddress, count: count)))
    }

    @inline(__always)
    private mutating func endData(_ frame: HTTP2Frame) {
        guard frame.has(HTTP2Frame.Flag.endStream) else { return }
        // Of a broken stream, which has none.
        guard let slot = dataStream ?? table.find(frame.stream) else { return }
        if !slot.pointee.isBroken { finishContent(slot) }
        endRemote(slot)
    }

    /// Content, or padding, that nobody will consume.
    private mutating func forgo(_ count: Int) {
        consume(count)
        if let slot = dataStream { consume(count, of: slot) }
    }

    /// Opens the connection's window, when half of it can be (RFC 9113 section 6.9).
    @inline(__always)
    mutating func consume(_ count: Int) {
        credit &+= count
        guard credit &* 2 >= connectionWindow, !isTerminated else { return }
        appendWindowUpdate(0, credit)
        received &-= credit
        credit = 0
    }

    /// The same for the stream's.
    @inline(__always)
    mutating func consume(_ count: Int, of slot: UnsafeMutablePointer<HTTP2StreamSlot>) {
        slot.pointee.credit &+= count
        guard slot.pointee.credit &* 2 >= ownStreamWindow, !slot.pointee.remoteEnded, !slot.pointee.isBroken,
            !slot.pointee.resetMade, !isTerminated
        else { return }
        appendWindowUpdate(slot.pointee.id, slot.pointee.credit)
        slot.pointee.received &-= slot.pointee.credit
        slot.pointee.credit = 0
    }
}

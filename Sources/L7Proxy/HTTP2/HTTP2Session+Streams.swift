// SPDX-License-Identifier: Apache-2.0

// MARK: - Streams

extension HTTP2Session {
    /// Opens the peer's window again for `count` bytes of content that have been passed on.
    ///
    /// Until then the peer's data stops after a window's worth: this is how a slow receiver slows its sender down.
    public final func consume(_ stream: HTTP2Stream, _ count: Int) {
        guard stream.isCurrent, !stream.slot.pointee.isClosed else { return }
        let consumed = min(count, stream.slot.pointee.unconsumed)
        guard consumed > 0 else { return }
        stream.slot.pointee.unconsumed &-= consumed
        core.pointee.consume(consumed)
        core.pointee.consume(consumed, of: stream.slot)
    }

    /// Keeps what was received on the stream, beyond the stream's end too, until ``release(_:)``.
    public final func hold(_ stream: HTTP2Stream) {
        guard stream.isCurrent else { return }
        stream.slot.pointee.isHeld = true
    }

    /// Ends what ``hold(_:)`` began: after the stream's end was reported, nothing may be read of it any more.
    public final func release(_ stream: HTTP2Stream) {
        guard stream.isCurrent, stream.slot.pointee.isHeld else { return }
        stream.slot.pointee.isHeld = false
        if stream.slot.pointee.isOver { core.pointee.forget(stream.slot) }
    }

    /// Offers bytes of the body, in place of what was offered and not taken before.
    ///
    /// They are lent until ``HTTP2Event/sent(_:_:)`` has told that they were taken, until other bytes are offered, or
    /// until the stream is reset or closed. At most one range is on offer, so a slow peer stops the producer.
    ///
    /// - Parameters:
    ///   - bytes: May be empty, to say that the body has ended, or that nothing is on offer.
    ///   - isLast: Nothing follows them.
    public final func offerBody(_ stream: HTTP2Stream, _ bytes: UnsafeRawBufferPointer, isLast: Bool) {
        guard stream.isOpen, !stream.slot.pointee.endMade else { return }
        precondition(stream.slot.pointee.hasBody, "the head said that there is no body")
        if stream.slot.pointee.body.isEmpty { stream.slot.pointee.movedAt = core.pointee.now }
        stream.slot.pointee.body = bytes
        stream.slot.pointee.bodyIsFramed = false
        stream.slot.pointee.bodyIsLast = isLast
        resume(stream.slot)
    }

    /// Offers bytes of the body that are the session's to write to until they were taken, and ``frameRoom`` bytes in front of
    /// them: DATA frames of some size are made there, instead of in the room of ``send(into:now:_:)``, and told by
    /// ``HTTP2Event/frame(_:)``. Otherwise as ``offerBody(_:_:isLast:)``.
    public final func offerFramed(_ stream: HTTP2Stream, _ bytes: UnsafeMutableRawBufferPointer) {
        offerBody(stream, UnsafeRawBufferPointer(bytes), isLast: false)
        if stream.isOpen { stream.slot.pointee.bodyIsFramed = true }
    }

    /// Bytes in front of a body that is offered by ``offerFramed(_:_:)``.
    public static let frameRoom = HTTP2Frame.headerLength

    /// Ends the message with trailers, after the body that is on offer (RFC 9113 section 8.1).
    ///
    /// - Parameters:
    ///   - trailers: Copied. Those that a trailer section must not hold are left out.
    ///   - message: The memory that the offsets are for.
    /// - Returns: Whether they were taken; not if they are longer than our limit for trailers, or invalid. Then the
    ///   message is still open: reset it.
    public final func offerTrailers(
        _ stream: HTTP2Stream, _ trailers: borrowing FieldTable, in message: UnsafeRawPointer
    ) -> Bool {
        guard stream.isOpen else { return true }
        let slot = stream.slot
        precondition(slot.pointee.hasBody, "the head said that there is no body")
        slot.pointee.outgoing.begin(.outgoingTrailers)
        for position in 0..<trailers.count where !trailers.fields[position].isDropped {
            let field = trailers.fields[position]
            slot.pointee.outgoing.add(
                field.nameRange.bytes(in: message), field.valueRange.bytes(in: message), field.name,
                neverIndexed: field.marks.contains(.neverIndexed))
        }
        return endWithTrailers(slot)
    }

    /// Ends the message with trailers of the proxy's own.
    ///
    /// - Parameter add: Adds each by name and value; they are copied.
    /// - Returns: As ``offerTrailers(_:_:in:)``.
    public final func offerTrailers(
        _ stream: HTTP2Stream,
        _ add: (_ field: (_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Void) -> Void
    ) -> Bool {
        guard stream.isOpen else { return true }
        let slot = stream.slot
        precondition(slot.pointee.hasBody, "the head said that there is no body")
        slot.pointee.outgoing.begin(.outgoingTrailers)
        add { name, value in
            let isValid =
                ASCII.isToken(name)
                && value.baseAddress.map { ByteScanner.firstControl($0, from: 0, to: value.count) == value.count }
                    ?? true
            if isValid {
                let known = name.baseAddress.map { FieldNameIndex.shared.recognise($0, name.count) }
                slot.pointee.outgoing.add(name, ASCII.trimmed(value), known ?? .other, neverIndexed: false)
            } else {
                slot.pointee.outgoing.fail(.invalidFieldName)
            }
        }
        return endWithTrailers(slot)
    }

    private func endWithTrailers(_ slot: UnsafeMutablePointer<HTTP2StreamSlot>) -> Bool {
        guard slot.pointee.outgoing.finishTrailers() == nil else { return false }
        // Without one that is left over, the message ends with its body.
        var isEmpty = true
        for position in 0..<slot.pointee.outgoing.fields.count
        where !slot.pointee.outgoing.fields.fields[position].isDropped { isEmpty = false }
        slot.pointee.hasTrailers = !isEmpty
        slot.pointee.bodyIsLast = true
        resume(slot)
        return true
    }

    private func resume(_ slot: UnsafeMutablePointer<HTTP2StreamSlot>) {
        core.pointee.queue(slot)
        if slot.pointee.body.isEmpty, slot.pointee.bodyIsLast { core.pointee.endBody(slot) }
    }

    /// Ends the stream: nothing more is sent on it but what was made already. What was offered is the owner's again; of what
    /// the peer has sent nothing more is reported but ``HTTP2Event/closed(_:_:)``.
    public final func reset(_ stream: HTTP2Stream, _ code: HTTP2ErrorCode) {
        guard stream.isCurrent, !stream.slot.pointee.isClosed, !stream.slot.pointee.isBroken else { return }
        core.pointee.breakStream(stream.slot, code)
    }

    /// For how long the peer has let nothing of an offered body through because its window is shut, in milliseconds; 0
    /// if it has not. A peer that keeps a window shut keeps our memory (CVE-2019-9517): reset such a stream with
    /// ``HTTP2ErrorCode/flowControlError`` or CANCEL after a time.
    public final func stallTime(_ stream: HTTP2Stream, now: UInt64) -> UInt64 {
        guard stream.isOpen, !stream.slot.pointee.body.isEmpty else { return 0 }
        let isShut = stream.slot.pointee.sendWindow <= 0 || core.pointee.sendWindow <= 0
        return isShut && now > stream.slot.pointee.movedAt ? now - stream.slot.pointee.movedAt : 0
    }
}

// MARK: - The connection

extension HTTP2Session {
    /// Asks the peer for a sign of life; ``HTTP2Event/pong(_:)`` answers with the same number.
    public final func ping(_ payload: UInt64) {
        if !core.pointee.isTerminated { core.pointee.appendPing(payload, isAnswer: false) }
    }

    /// Ends the connection with a GOAWAY that says `code`, and all its streams. Send what is left, then close.
    public final func terminate(_ code: HTTP2ErrorCode) { core.pointee.terminate(code) }

    /// Finishes the second step of an orderly end without waiting for the peer's answer; see
    /// ``HTTP2ServerSession/drain()``.
    public final func finishDrain() { core.pointee.finishDrain() }
}

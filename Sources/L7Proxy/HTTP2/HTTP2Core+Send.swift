// SPDX-License-Identifier: Apache-2.0

// MARK: - Frames that are made

extension HTTP2Core {
    /// What each end begins with (RFC 9113 section 3.4).
    mutating func open() {
        if !isServer {
            let count = HTTP2Preface.text.utf8CodeUnitCount
            outbox.reserve(count).copyMemory(from: HTTP2Preface.text.utf8Start, byteCount: count)
            outbox.add(count)
        }
        let longest = 8 * 6
        let place = outbox.reserve(HTTP2Frame.headerLength + longest)
        var end = place + HTTP2Frame.headerLength
        func setting(_ id: UInt16, _ value: UInt32) {
            end.storeBytes(of: id.bigEndian, as: UInt16.self)
            (end + 2).storeBytes(of: value.bigEndian, as: UInt32.self)
            end += 6
        }
        if isServer {
            setting(HTTP2Setting.maxConcurrentStreams, limits.concurrentStreams)
        } else {
            setting(HTTP2Setting.enablePush, 0)
        }
        setting(HTTP2Setting.initialWindowSize, UInt32(ownStreamWindow))
        setting(HTTP2Setting.maxFrameSize, limits.frameBytes)
        setting(HTTP2Setting.maxHeaderListSize, limits.headerListBytes)
        // RFC 9218 section 2.1: priorities of RFC 7540 are not looked at.
        setting(HTTP2Setting.noRFC7540Priorities, 1)
        // What everybody begins with need not be said.
        if limits.tableBytes != UInt32(HPACKDecoder.defaultLimit) {
            setting(HTTP2Setting.headerTableSize, limits.tableBytes)
        }
        if isServer, limits.takesExtendedConnect { setting(HTTP2Setting.enableConnectProtocol, 1) }
        let length = end - place - HTTP2Frame.headerLength
        HTTP2Frame(length: UInt32(length), kind: HTTP2Frame.Kind.settings, flags: 0, stream: 0).write(to: place)
        outbox.add(HTTP2Frame.headerLength + length)
        settingsUnderWay = 1
        let more = connectionWindow - Self.defaultWindow
        if more > 0 { appendWindowUpdate(0, more) }
    }

    /// A frame of which `write` makes the payload.
    @inline(__always)
    mutating func appendFrame(
        _ kind: UInt8, _ flags: UInt8, _ stream: Int32, _ length: Int,
        _ write: (UnsafeMutableRawPointer) -> Void = { _ in }
    ) {
        let place = outbox.reserve(HTTP2Frame.headerLength + length)
        HTTP2Frame(length: UInt32(truncatingIfNeeded: length), kind: kind, flags: flags, stream: stream).write(
            to: place)
        write(place + HTTP2Frame.headerLength)
        outbox.add(HTTP2Frame.headerLength + length)
    }

    mutating func appendWindowUpdate(_ stream: Int32, _ more: Int) {
        appendFrame(HTTP2Frame.Kind.windowUpdate, 0, stream, 4) {
            $0.storeBytes(of: UInt32(truncatingIfNeeded: more).bigEndian, as: UInt32.self)
        }
    }

    mutating func appendPing(_ number: UInt64, isAnswer: Bool) {
        appendFrame(HTTP2Frame.Kind.ping, isAnswer ? HTTP2Frame.Flag.acknowledgement : 0, 0, 8) {
            $0.storeBytes(of: number.bigEndian, as: UInt64.self)
        }
    }

    mutating func appendGoAway(_ last: Int32, _ code: HTTP2ErrorCode) {
        appendFrame(HTTP2Frame.Kind.goAway, 0, 0, 8) {
            $0.storeBytes(of: UInt32(bitPattern: last).bigEndian, as: UInt32.self)
            ($0 + 4).storeBytes(of: code.rawValue.bigEndian, as: UInt32.self)
        }
    }

    /// RST_STREAM. One that the peer has provoked is counted (CVE-2025-8671).
    mutating func appendReset(_ stream: Int32, _ code: HTTP2ErrorCode) {
        appendFrame(HTTP2Frame.Kind.resetStream, 0, stream, 4) {
            $0.storeBytes(of: code.rawValue.bigEndian, as: UInt32.self)
        }
        switch code {
        case .protocolError, .streamClosed, .flowControlError, .frameSizeError, .compressionError, .refusedStream:
            if isServer { note(.provokedReset) }
        default: break
        }
        boundOutbox()
    }

    /// A stream that the peer resets counts no more, but what was said of it still waits: it must not do that for ever.
    private mutating func boundOutbox() {
        if outbox.count > Self.mostWaiting, violation == nil { violation = .unreadAnswers }
    }

    /// Resets the stream; it is over when the peer is told.
    mutating func resetStream(_ slot: UnsafeMutablePointer<HTTP2StreamSlot>, _ code: HTTP2ErrorCode) {
        guard !slot.pointee.resetMade, !slot.pointee.isClosed else { return }
        ready.remove(slot)
        slot.pointee.body = UnsafeRawBufferPointer(start: nil, count: 0)
        appendReset(slot.pointee.id, code)
        slot.pointee.resetMade = true
        slot.pointee.resetCode = code
        wait(slot)
    }

    /// END_STREAM is in the outbox.
    private mutating func endMessage(_ slot: UnsafeMutablePointer<HTTP2StreamSlot>) {
        slot.pointee.endMade = true
        wait(slot)
        if slot.pointee.resetsAfterEnd { resetStream(slot, .noError) }
    }

    /// The stream's last frame is in the outbox: a stream counts until it has left, or a peer that does not read could have
    /// any number of answers wait.
    private mutating func wait(_ slot: UnsafeMutablePointer<HTTP2StreamSlot>) {
        ending.remove(slot)
        slot.pointee.endsAt = outbox.added
        ending.append(slot)
    }

    /// Ends the streams whose last frames have left.
    @inline(__always)
    private mutating func settleEnds() {
        while let slot = ending.first, slot.pointee.endsAt <= outbox.taken {
            ending.remove(slot)
            if slot.pointee.resetMade { close(slot, slot.pointee.resetCode) } else { endLocal(slot) }
        }
    }

    // MARK: Heads

    /// Bytes of frames that may wait to be sent, DATA not counted: about as much as a hundred streams may have of content.
    private static let mostWaiting = 4 << 20

    /// Encodes a header block.
    mutating func appendHead(
        _ slot: UnsafeMutablePointer<HTTP2StreamSlot>, _ head: borrowing HTTP2HeadWriter, ends: Bool
    ) {
        var most = HPACKEncoder.beginBound
        for position in 0..<head.count { most &+= HPACKEncoder.bound(head.fields[position]) }
        let place = outbox.reserve(HTTP2Frame.headerLength &+ most)
        var end = encoder.begin(at: place + HTTP2Frame.headerLength)
        for position in 0..<head.count { end = encoder.write(head.fields[position], at: end) }
        let length = end - place - HTTP2Frame.headerLength
        let last = ends ? HTTP2Frame.Flag.endStream : 0
        if length <= peer.frameBytes {
            HTTP2Frame(
                length: UInt32(truncatingIfNeeded: length), kind: HTTP2Frame.Kind.headers,
                flags: HTTP2Frame.Flag.endHeaders | last, stream: slot.pointee.id
            ).write(to: place)
            outbox.add(HTTP2Frame.headerLength &+ length)
        } else {
            split(length, last, slot.pointee.id)
        }
        if ends { endMessage(slot) }
        boundOutbox()
    }

    /// Makes a HEADERS frame and CONTINUATION frames (RFC 9113 section 6.10) of a block that stands behind the room for one
    /// header in the outbox.
    @inline(never)
    private mutating func split(_ length: Int, _ last: UInt8, _ stream: Int32) {
        let size = peer.frameBytes
        let header = HTTP2Frame.headerLength
        let count = (length + size - 1) / size
        // Counted, so that it is moved with the rest if there is no room for the other headers.
        outbox.add(header + length)
        let place = outbox.reserve((count - 1) * header) - header - length
        for number in (0..<count).reversed() {
            let own = min(size, length - number * size)
            let target = place + number * (header + size)
            if number > 0 { (target + header).copyMemory(from: place + header + number * size, byteCount: own) }
            HTTP2Frame(
                length: UInt32(own), kind: number == 0 ? HTTP2Frame.Kind.headers : HTTP2Frame.Kind.continuation,
                flags: (number == count - 1 ? HTTP2Frame.Flag.endHeaders : 0) | (number == 0 ? last : 0),
                stream: stream
            ).write(to: target)
        }
        outbox.add((count - 1) * header)
    }

    // MARK: Content

    /// The stream has something to send, or its window was opened.
    @inline(__always)
    mutating func queue(_ slot: UnsafeMutablePointer<HTTP2StreamSlot>) {
        if slot.pointee.sendWindow > 0, !slot.pointee.body.isEmpty, !slot.pointee.isBroken {
            ready.append(slot)
        } else {
            ready.remove(slot)
        }
    }

    /// Nothing of the body is left, and nothing follows it: says so.
    mutating func endBody(_ slot: UnsafeMutablePointer<HTTP2StreamSlot>) {
        guard !slot.pointee.endMade, !isTerminated else { return }
        if slot.pointee.hasTrailers { return appendTrailers(slot) }
        appendFrame(HTTP2Frame.Kind.data, HTTP2Frame.Flag.endStream, slot.pointee.id, 0)
        endMessage(slot)
    }

    private mutating func appendTrailers(_ slot: UnsafeMutablePointer<HTTP2StreamSlot>) {
        let writer = writer
        writer.pointee.trailers(slot.pointee.outgoing.fields, in: slot.pointee.outgoing.bytes)
        appendHead(slot, writer.pointee, ends: true)
    }

    /// Below that a frame is rather copied, behind what else is to be sent.
    private static let leastFramed = 2048
    /// The most content of a DATA frame of ours: what fits into a TLS record with its header.
    private static let mostContent = 16_384

    /// Writes what there is to be sent into ``output``, until nothing is left, or there is no more room.
    mutating func write() {
        guard let base = output.baseAddress else { return }
        while true {
            if !outbox.isEmpty {
                outputCount &+= outbox.take(into: base + outputCount, room: output.count &- outputCount)
                settleEnds()
                guard outbox.isEmpty else { return }
                acknowledgements = 0
            }
            guard !isTerminated, sendWindow > 0, let slot = ready.first else { return }
            let body = slot.pointee.body
            let room = output.count &- outputCount &- HTTP2Frame.headerLength
            // What is left of the room may be worth no frame.
            guard room >= min(body.count, HTTP2Session.smallestRoom - HTTP2Frame.headerLength) else { return }
            let most = min(Self.mostContent, peer.frameBytes, sendWindow, slot.pointee.sendWindow, room)
            write(slot, min(body.count, most), base)
            if hasFramed { return }
        }
    }

    /// Writes a DATA frame, in place or with a copy of the body's bytes.
    @inline(__always)
    private mutating func write(
        _ slot: UnsafeMutablePointer<HTTP2StreamSlot>, _ length: Int, _ base: UnsafeMutableRawPointer
    ) {
        let body = slot.pointee.body
        guard let source = body.baseAddress else { return }
        let isLast = length == body.count && slot.pointee.bodyIsLast
        let ends = isLast && !slot.pointee.hasTrailers
        let frame = HTTP2Frame(
            length: UInt32(truncatingIfNeeded: length), kind: HTTP2Frame.Kind.data,
            flags: ends ? HTTP2Frame.Flag.endStream : 0, stream: slot.pointee.id)
        if slot.pointee.bodyIsFramed, outputCount == 0, length >= Self.leastFramed {
            // Of the frame before this one, which is on its way, or of the room in front of the first.
            let place = UnsafeMutableRawPointer(mutating: source) - HTTP2Frame.headerLength
            frame.write(to: place)
            events.append(.frame(UnsafeRawBufferPointer(start: place, count: HTTP2Frame.headerLength + length)))
            // It has taken the room.
            hasFramed = true
        } else {
            let place = base + outputCount
            frame.write(to: place)
            (place + HTTP2Frame.headerLength).copyMemory(from: source, byteCount: length)
            outputCount &+= HTTP2Frame.headerLength &+ length
        }
        slot.pointee.body = UnsafeRawBufferPointer(rebasing: body[length...])
        slot.pointee.movedAt = now
        sendWindow &-= length
        slot.pointee.sendWindow &-= length
        guarded.noteWork()
        events.append(.sent(HTTP2Stream(slot), length))
        // To the end of the row: the others' turn.
        ready.remove(slot)
        if ends {
            slot.pointee.endMade = true
            if slot.pointee.resetsAfterEnd { resetStream(slot, .noError) }
            endLocal(slot)
        } else if isLast {
            appendTrailers(slot)
        } else {
            queue(slot)
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

// MARK: - Frames of the connection

extension HTTP2Core {
    /// Looks at the header of a frame that is neither DATA nor HEADERS: which stream it is of, and how long it is.
    mutating func checkControl(_ frame: HTTP2Frame) {
        let isOfConnection = frame.stream == 0
        switch frame.kind {
        case HTTP2Frame.Kind.priority:
            if isOfConnection { return breakConnection(.protocolError) }
            if frame.length != 5 { breakConnection(.frameSizeError) }
        case HTTP2Frame.Kind.resetStream:
            if isOfConnection || isIdle(frame.stream) { return breakConnection(.protocolError) }
            if frame.length != 4 { breakConnection(.frameSizeError) }
        case HTTP2Frame.Kind.settings:
            if !isOfConnection { return breakConnection(.protocolError) }
            let isAnswer = frame.has(HTTP2Frame.Flag.acknowledgement)
            if isAnswer ? frame.length != 0 : frame.length % 6 != 0 { return breakConnection(.frameSizeError) }
            if isAnswer, settingsUnderWay == 0 { return breakConnection(.protocolError) }
            if Int(frame.length) / 6 > limits.settings {
                terminate(.abuse(.settingsFlood), HTTP2Violation.settingsFlood.code)
            }
        // RFC 9113 section 8.4: nobody may, to us.
        case HTTP2Frame.Kind.pushPromise: breakConnection(.protocolError)
        case HTTP2Frame.Kind.ping:
            if !isOfConnection { return breakConnection(.protocolError) }
            if frame.length != 8 { breakConnection(.frameSizeError) }
        case HTTP2Frame.Kind.goAway:
            if !isOfConnection { return breakConnection(.protocolError) }
            if frame.length < 8 { breakConnection(.frameSizeError) }
        case HTTP2Frame.Kind.windowUpdate:
            if frame.length != 4 { return breakConnection(.frameSizeError) }
            if !isOfConnection, isIdle(frame.stream) { breakConnection(.protocolError) }
        default: break
        }
    }

    /// Takes what has come of such a frame.
    mutating func takeControl(_ frame: HTTP2Frame, _ piece: UnsafeRawBufferPointer) {
        let wanted: Int
        switch frame.kind {
        case HTTP2Frame.Kind.resetStream, HTTP2Frame.Kind.settings, HTTP2Frame.Kind.ping,
            HTTP2Frame.Kind.windowUpdate:
            wanted = Int(frame.length)
        // What it says in words is not kept.
        case HTTP2Frame.Kind.goAway: wanted = 8
        default: return
        }
        let position = Int(frame.length) - reader.payloadLeft - piece.count
        if position == 0, piece.count >= wanted {
            return handle(frame, UnsafeRawBufferPointer(rebasing: piece[..<wanted]))
        }
        guard position < wanted else { return }
        gather.append(UnsafeRawBufferPointer(rebasing: piece.prefix(wanted - position)))
        guard gather.count == wanted else { return }
        handle(frame, gather.bytes)
        gather.removeAll()
    }

    private mutating func handle(_ frame: HTTP2Frame, _ payload: UnsafeRawBufferPointer) {
        switch frame.kind {
        case HTTP2Frame.Kind.resetStream:
            guard let slot = table.find(frame.stream) else { return }
            close(slot, HTTP2ErrorCode(rawValue: Self.word(payload, 0)))
        case HTTP2Frame.Kind.settings:
            if frame.has(HTTP2Frame.Flag.acknowledgement) { settleOurs() } else { takeSettings(payload) }
        case HTTP2Frame.Kind.ping:
            let number = UInt64(Self.word(payload, 0)) << 32 | UInt64(Self.word(payload, 4))
            if frame.has(HTTP2Frame.Flag.acknowledgement) { return receivedPong(number) }
            acknowledge { $0.appendPing(number, isAnswer: true) }
        case HTTP2Frame.Kind.goAway: takeGoAway(payload)
        default: takeWindowUpdate(frame.stream, Int(Self.word(payload, 0) & 0x7fff_ffff))
        }
    }

    private static func word(_ payload: UnsafeRawBufferPointer, _ offset: Int) -> UInt32 {
        UInt32(bigEndian: payload.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
    }

    /// Answers, unless so many answers wait already that the peer does not read them (CVE-2019-9512).
    private mutating func acknowledge(_ answer: (inout HTTP2Core) -> Void) {
        guard acknowledgements < limits.waitingAcknowledgements else {
            return terminate(.abuse(.pingFlood), HTTP2Violation.pingFlood.code)
        }
        acknowledgements &+= 1
        answer(&self)
    }

    // MARK: Settings

    /// Our SETTINGS are in force for the peer too (RFC 9113 section 6.5.3).
    private mutating func settleOurs() {
        settingsUnderWay &-= 1
        streamWindow = ownStreamWindow
        decoder.settle(limit: Int(limits.tableBytes))
    }

    private mutating func takeSettings(_ payload: UnsafeRawBufferPointer) {
        let isFirst = peer.ignoresPriorities == nil
        if isFirst { peer.concurrentStreams = .max }
        var ignoresPriorities = peer.ignoresPriorities ?? false
        var offset = 0
        while offset < payload.count {
            let id = UInt16(bigEndian: payload.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
            let value = Self.word(payload, offset + 2)
            offset += 6
            if let code = takeSetting(id, value, &ignoresPriorities, isFirst: isFirst) { return breakConnection(code) }
        }
        peer.ignoresPriorities = ignoresPriorities
        acknowledge { $0.appendFrame(HTTP2Frame.Kind.settings, HTTP2Frame.Flag.acknowledgement, 0, 0) }
        if !isTerminated { events.append(.settings) }
    }

    /// - Returns: What is wrong with it (RFC 9113 section 6.5.2).
    private mutating func takeSetting(
        _ id: UInt16, _ value: UInt32, _ ignoresPriorities: inout Bool, isFirst: Bool
    ) -> HTTP2ErrorCode? {
        switch id {
        case HTTP2Setting.headerTableSize: encoder.setPeerLimit(value)
        // A server must not (section 8.4).
        case HTTP2Setting.enablePush: if value > (isServer ? 1 : 0) { return .protocolError }
        case HTTP2Setting.maxConcurrentStreams: peer.concurrentStreams = value
        case HTTP2Setting.initialWindowSize: return takeInitialWindow(Int(value))
        case HTTP2Setting.maxFrameSize:
            guard 16_384...16_777_215 ~= value else { return .protocolError }
            peer.frameBytes = Int(value)
        // RFC 8441 section 3: a client says it without a meaning; it is not taken back.
        case HTTP2Setting.enableConnectProtocol:
            guard value <= 1, value == 1 || !peer.takesExtendedConnect else { return .protocolError }
            peer.takesExtendedConnect = value == 1
        // RFC 9218 section 2.1.
        case HTTP2Setting.noRFC7540Priorities:
            guard value <= 1, isFirst || ignoresPriorities == (value == 1) else { return .protocolError }
            ignoresPriorities = value == 1
        default: break
        }
        return nil
    }

    /// RFC 9113 section 6.9.2: it changes the windows of all streams.
    private mutating func takeInitialWindow(_ window: Int) -> HTTP2ErrorCode? {
        guard window <= Self.largestWindow else { return .flowControlError }
        let more = window - peer.initialWindow
        peer.initialWindow = window
        var next = streams
        while let slot = next {
            next = slot.pointee.next
            guard !slot.pointee.isClosed else { continue }
            slot.pointee.sendWindow += more
            guard slot.pointee.sendWindow <= Self.largestWindow else { return .flowControlError }
            queue(slot)
        }
        return nil
    }

    /// RFC 9113 sections 6.9 and 6.9.1.
    private mutating func takeWindowUpdate(_ id: Int32, _ more: Int) {
        if id == 0 {
            guard more > 0 else { return breakConnection(.protocolError) }
            sendWindow += more
            if sendWindow > Self.largestWindow { breakConnection(.flowControlError) }
            return
        }
        guard let slot = table.find(id), !slot.pointee.isBroken else { return }
        slot.pointee.sendWindow += more
        guard more > 0, slot.pointee.sendWindow <= Self.largestWindow else {
            return breakStream(slot, more > 0 ? .flowControlError : .protocolError)
        }
        queue(slot)
    }

    // MARK: The end

    /// RFC 9113 section 6.8: what we have opened above the last stream was not looked at.
    private mutating func takeGoAway(_ payload: UnsafeRawBufferPointer) {
        let last = Int32(bitPattern: Self.word(payload, 0) & 0x7fff_ffff)
        if let before = peerLastStream, last > before { return breakConnection(.protocolError) }
        peerLastStream = last
        events.append(.goAway(lastStream: last, HTTP2ErrorCode(rawValue: Self.word(payload, 4))))
        guard !isServer else { return }
        var next = streams
        while let slot = next {
            next = slot.pointee.next
            if slot.pointee.id > last, !slot.pointee.isClosed { close(slot, .refusedStream) }
        }
    }
}

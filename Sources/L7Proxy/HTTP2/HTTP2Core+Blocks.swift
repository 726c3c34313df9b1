// SPDX-License-Identifier: Apache-2.0

// MARK: - Header blocks

extension HTTP2Core {
    /// Looks at the header of a HEADERS frame.
    @inline(__always)
    mutating func checkHeaders(_ frame: HTTP2Frame) {
        if frame.stream == 0 { return breakConnection(.protocolError) }
        let least: UInt32 =
            (frame.has(HTTP2Frame.Flag.padded) ? 1 : 0) + (frame.has(HTTP2Frame.Flag.priority) ? 5 : 0)
        if frame.length < least { breakConnection(.frameSizeError) }
    }

    /// Takes what has come of a HEADERS frame (RFC 9113 section 6.2). - Returns: Whether a header block was read.
    @inline(__always)
    mutating func takeHeaders(_ frame: HTTP2Frame, _ piece: UnsafeRawBufferPointer, isWhole: Bool) -> Bool {
        if !isWhole || gather.count > 0 { gather.append(piece) }
        guard isWhole else { return false }
        let isGathered = gather.count > 0
        guard let fragment = Self.fragment(of: frame, isGathered ? gather.bytes : piece) else {
            breakConnection(.protocolError)
            return true
        }
        blockEndsStream = frame.has(HTTP2Frame.Flag.endStream)
        if frame.has(HTTP2Frame.Flag.endHeaders) { return endBlock(frame, fragment) }
        if isGathered { gather.keep(fragment) } else { gather.append(fragment) }
        return false
    }

    /// The same of a CONTINUATION frame (RFC 9113 section 6.10).
    mutating func takeContinuation(_ frame: HTTP2Frame, _ piece: UnsafeRawBufferPointer, isWhole: Bool) -> Bool {
        gather.append(piece)
        return isWhole && frame.has(HTTP2Frame.Flag.endHeaders) && endBlock(frame, gather.bytes)
    }

    private mutating func endBlock(_ frame: HTTP2Frame, _ block: UnsafeRawBufferPointer) -> Bool {
        readBlock(frame.stream, block)
        gather.removeAll()
        return true
    }

    /// The part of a HEADERS frame that is of the block: without padding, and what RFC 7540 said of priorities.
    private static func fragment(of frame: HTTP2Frame, _ payload: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        guard frame.flags & (HTTP2Frame.Flag.padded | HTTP2Frame.Flag.priority) != 0 else { return payload }
        var start = 0
        var end = payload.count
        if frame.has(HTTP2Frame.Flag.padded) {
            guard let padding = payload.first else { return nil }
            start = 1
            end -= Int(padding)
        }
        if frame.has(HTTP2Frame.Flag.priority) { start += 5 }
        return start <= end ? UnsafeRawBufferPointer(rebasing: payload[start..<end]) : nil
    }

    /// Reads a whole block. Whosever it is, the decoder has to see it (RFC 9113 section 4.3).
    private mutating func readBlock(_ id: Int32, _ block: UnsafeRawBufferPointer) {
        let slot: UnsafeMutablePointer<HTTP2StreamSlot>?
        switch isServer ? requestStream(id) : responseStream(id) {
        case .wrong(let code): return breakConnection(code)
        case .ignored: slot = nil
        case .stream(let found): slot = found
        }
        let scratch = pool._withUnsafeGuaranteedRef { $0.scratch(decoder.scratchBytes(block.count)) }
        decoder.begin(block, scratch: scratch)
        let isDecoded: Bool
        if let slot {
            let isTrailer = slot.pointee.hasFinalHead
            isDecoded =
                isTrailer
                ? decode(into: &slot.pointee.trailers, 4 * Int(limits.trailerListBytes))
                : decode(into: &slot.pointee.head, 4 * Int(limits.headerListBytes))
        } else {
            isDecoded = skipBlock()
        }
        guard isDecoded else {
            if let violation { return terminate(.abuse(violation), violation.code) }
            return breakConnection(.compressionError)
        }
        guard let slot else { return endIgnored(id) }
        finishBlock(slot, ended: blockEndsStream)
        if blockEndsStream { endRemote(slot) }
    }

    /// What is said about a stream of which nothing is wanted any more.
    private mutating func endIgnored(_ id: Int32) {
        guard blockEndsStream, let slot = table.find(id) else { return }
        endRemote(slot)
    }

    /// - Returns: Whether the block is HPACK, and does not become too large; then ``violation`` says so.
    @inline(__always)
    private mutating func decode(into head: inout HTTP2HeadReader, _ most: Int) -> Bool {
        var field = HPACKDecoder.Field()
        while true {
            switch decoder.next(&field) {
            case .field: break
            case .end: return true
            case .failed: return false
            }
            head.add(field.name, field.value, field.known, neverIndexed: field.neverIndexed)
            if head.listBytes > most {
                violation = .headerListTooLarge
                return false
            }
        }
    }

    private mutating func skipBlock() -> Bool {
        var field = HPACKDecoder.Field()
        var bytes = 0
        while true {
            switch decoder.next(&field) {
            case .field: bytes &+= field.name.count &+ field.value.count &+ HPACKTable.overhead
            case .end: return true
            case .failed: return false
            }
            if bytes > 4 * Int(limits.headerListBytes) {
                violation = .headerListTooLarge
                return false
            }
        }
    }

    private enum Whose {
        case stream(UnsafeMutablePointer<HTTP2StreamSlot>)
        /// Of one that is over, or must not begin: the peer may not know yet.
        case ignored
        case wrong(HTTP2ErrorCode)
    }

    /// The stream that a client's block is of, made ready for it.
    private mutating func requestStream(_ id: Int32) -> Whose {
        guard id & 1 == 1 else { return .wrong(.protocolError) }
        guard id > lastOpened else {
            guard let slot = table.find(id), !slot.pointee.isBroken else { return .ignored }
            if slot.pointee.remoteEnded { return .wrong(.streamClosed) }
            slot.pointee.trailers.begin(.trailers)
            return .stream(slot)
        }
        lastOpened = id
        // RFC 9113 section 6.8: the client has been told which stream was the last.
        if drain == .final || isTerminated { return .ignored }
        guard table.count < limits.concurrentStreams else {
            appendReset(id, .refusedStream)
            return .ignored
        }
        lastProcessed = id
        let slot = openStream(id)
        slot.pointee.head.begin(.request)
        return .stream(slot)
    }

    /// The stream that a server's block is of, made ready for it.
    private func responseStream(_ id: Int32) -> Whose {
        guard let slot = table.find(id) else { return isIdle(id) ? .wrong(.protocolError) : .ignored }
        if slot.pointee.isBroken { return .ignored }
        if slot.pointee.remoteEnded { return .wrong(.streamClosed) }
        if slot.pointee.hasFinalHead {
            slot.pointee.trailers.begin(.trailers)
        } else {
            slot.pointee.head.begin(.response)
        }
        return .stream(slot)
    }
}

// SPDX-License-Identifier: Apache-2.0

internal import CNGHTTP2

/// What nghttp2 calls. None captures anything: each is lent the core of its session. None keeps what it is given.
enum HTTP2Callbacks {
    /// One table for the process, which nghttp2 copies into each session. Written here and only read afterwards.
    nonisolated(unsafe) static let table: OpaquePointer = {
        var created: OpaquePointer?
        guard nghttp2_session_callbacks_new(&created) == 0, let table = created else {
            preconditionFailure("out of memory making the table of nghttp2 callbacks")
        }
        nghttp2_session_callbacks_set_on_begin_headers_callback(table, onBeginHeaders)
        nghttp2_session_callbacks_set_on_header_callback(table, onHeader)
        nghttp2_session_callbacks_set_on_frame_recv_callback(table, onFrame)
        nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(table, onInvalidFrame)
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(table, onData)
        nghttp2_session_callbacks_set_on_stream_close_callback(table, onStreamClose)
        nghttp2_session_callbacks_set_on_frame_send_callback(table, onFrameSent)
        nghttp2_session_callbacks_set_on_frame_not_send_callback(table, onFrameNotSent)
        nghttp2_session_callbacks_set_send_data_callback(table, onSendData)
        return table
    }()

    @inline(__always)
    private static func core(_ lent: UnsafeMutableRawPointer?) -> UnsafeMutablePointer<HTTP2Core> {
        lent.unsafelyUnwrapped.assumingMemoryBound(to: HTTP2Core.self)
    }

    private static let isHeaders = UInt8(NGHTTP2_HEADERS.rawValue)
    private static let isData = UInt8(NGHTTP2_DATA.rawValue)
    private static let endStream = UInt8(NGHTTP2_FLAG_END_STREAM.rawValue)

    // MARK: Receiving

    private static let onBeginHeaders: nghttp2_on_begin_headers_callback = { _, frame, lent in
        let core = HTTP2Callbacks.core(lent)
        guard let header = frame?.pointee.hd, header.type == isHeaders else { return 0 }
        let id = header.stream_id
        if core.pointee.isServer, frame.unsafelyUnwrapped.pointee.headers.cat == NGHTTP2_HCAT_REQUEST {
            let slot = core.pointee.takeStream(id: id)
            slot.pointee.head.begin(.request)
            core.pointee.current = slot
            return nghttp2_session_set_stream_user_data(core.pointee.session, id, slot)
        }
        core.pointee.current = nil
        guard let slot = core.pointee.stream(id), !slot.pointee.isBroken else { return 0 }
        core.pointee.current = slot
        if slot.pointee.hasFinalHead {
            slot.pointee.trailers.begin(.trailers)
        } else {
            slot.pointee.head.begin(.response)
        }
        return 0
    }

    private static let onHeader: nghttp2_on_header_callback = {
        _, _, name, nameLength, value, valueLength, flags, lent in
        let core = HTTP2Callbacks.core(lent)
        guard let slot = core.pointee.current else { return 0 }
        let name = UnsafeRawBufferPointer(start: name, count: nameLength)
        let value = UnsafeRawBufferPointer(start: value, count: valueLength)
        let neverIndexed = UInt32(flags) & NGHTTP2_NV_FLAG_NO_INDEX.rawValue != 0
        let limits = core.pointee.limits
        if slot.pointee.hasFinalHead {
            slot.pointee.trailers.add(name, value, neverIndexed: neverIndexed)
            if slot.pointee.trailers.listBytes > 4 * Int(limits.trailerListBytes) {
                core.pointee.violation = .headerListTooLarge
            }
        } else {
            slot.pointee.head.add(name, value, neverIndexed: neverIndexed)
            if slot.pointee.head.listBytes > 4 * Int(limits.headerListBytes) {
                core.pointee.violation = .headerListTooLarge
            }
        }
        return 0
    }

    private static let onFrame: nghttp2_on_frame_recv_callback = { _, frame, lent in
        let core = HTTP2Callbacks.core(lent)
        guard let frame else { return 0 }
        let header = frame.pointee.hd
        switch nghttp2_frame_type(UInt32(header.type)) {
        case NGHTTP2_HEADERS:
            if let slot = core.pointee.current {
                core.pointee.current = nil
                core.pointee.finishBlock(slot, ended: header.flags & endStream != 0)
            }
        case NGHTTP2_DATA:
            guard header.flags & endStream != 0, let slot = core.pointee.stream(header.stream_id),
                slot.pointee.isReported, !slot.pointee.isBroken
            else { return 0 }
            core.pointee.finishContent(slot)
        case NGHTTP2_GOAWAY:
            let goAway = frame.pointee.goaway
            core.pointee.events.append(
                .goAway(lastStream: goAway.last_stream_id, HTTP2ErrorCode(rawValue: goAway.error_code)))
        case NGHTTP2_SETTINGS:
            if header.flags & UInt8(NGHTTP2_FLAG_ACK.rawValue) == 0 { core.pointee.events.append(.settings) }
        case NGHTTP2_PING:
            if header.flags & UInt8(NGHTTP2_FLAG_ACK.rawValue) != 0 {
                core.pointee.receivedPong(
                    withUnsafeBytes(of: frame.pointee.ping.opaque_data) {
                        UInt64(bigEndian: $0.loadUnaligned(as: UInt64.self))
                    })
            }
        default: break
        }
        return 0
    }

    /// nghttp2 answers it: with RST_STREAM, or with GOAWAY.
    private static let onInvalidFrame: nghttp2_on_invalid_frame_recv_callback = { _, frame, _, lent in
        let core = HTTP2Callbacks.core(lent)
        if let slot = core.pointee.current {
            core.pointee.current = nil
            slot.pointee.isBroken = true
            slot.pointee.brokenCode = .protocolError
            if core.pointee.isServer, !slot.pointee.isReported {
                let defect = slot.pointee.head.defect ?? .invalidHTTP2Message
                core.pointee.events.append(.refused(streamID: slot.pointee.id, defect))
            }
        } else if let id = frame?.pointee.hd.stream_id, id > 0, let slot = core.pointee.stream(id) {
            slot.pointee.isBroken = true
            slot.pointee.brokenCode = .protocolError
        }
        return 0
    }

    private static let onData: nghttp2_on_data_chunk_recv_callback = { session, _, id, bytes, count, lent in
        let core = HTTP2Callbacks.core(lent)
        guard let slot = core.pointee.stream(id), slot.pointee.isReported, !slot.pointee.isBroken,
            core.pointee.takeContent(count, of: slot)
        else { return nghttp2_session_consume(session, id, count) }
        slot.pointee.unconsumed &+= count
        core.pointee.events.append(.data(HTTP2Stream(slot), UnsafeRawBufferPointer(start: bytes, count: count)))
        return 0
    }

    private static let onStreamClose: nghttp2_on_stream_close_callback = { session, id, code, lent in
        let core = HTTP2Callbacks.core(lent)
        guard let slot = core.pointee.stream(id) else { return 0 }
        nghttp2_session_set_stream_user_data(session, id, nil)
        core.pointee.close(slot, HTTP2ErrorCode(rawValue: code))
        return 0
    }

    // MARK: Sending

    private static let onFrameSent: nghttp2_on_frame_send_callback = { session, frame, lent in
        let core = HTTP2Callbacks.core(lent)
        guard let frame else { return 0 }
        switch nghttp2_frame_type(UInt32(frame.pointee.hd.type)) {
        case NGHTTP2_DATA, NGHTTP2_HEADERS:
            let header = frame.pointee.hd
            if header.type == isData { core.pointee.noteWork() }
            guard core.pointee.isServer, header.flags & endStream != 0, let slot = core.pointee.stream(header.stream_id)
            else { return 0 }
            slot.pointee.endSent = true
            if slot.pointee.resetsAfterEnd {
                slot.pointee.resetsAfterEnd = false
                nghttp2_submit_rst_stream(session, 0, header.stream_id, HTTP2ErrorCode.noError.rawValue)
            }
        case NGHTTP2_RST_STREAM:
            switch HTTP2ErrorCode(rawValue: frame.pointee.rst_stream.error_code) {
            case .protocolError, .streamClosed, .flowControlError, .frameSizeError, .compressionError, .refusedStream:
                if core.pointee.isServer { core.pointee.note(.provokedReset) }
            default: break
            }
        case NGHTTP2_GOAWAY:
            let code = HTTP2ErrorCode(rawValue: frame.pointee.goaway.error_code)
            if code != .noError, core.pointee.failure == nil { core.pointee.failure = .connectionError(code) }
        default: break
        }
        return 0
    }

    /// A request that could not be sent: the peer has said GOAWAY, or there is no stream left.
    private static let onFrameNotSent: nghttp2_on_frame_not_send_callback = { session, frame, _, lent in
        let core = HTTP2Callbacks.core(lent)
        guard !core.pointee.isServer, let frame, frame.pointee.hd.type == isHeaders else { return 0 }
        let id = frame.pointee.hd.stream_id
        // A stream that nghttp2 has is closed by it.
        guard nghttp2_session_find_stream(session, id) == nil else { return 0 }
        var slot = core.pointee.streams
        while let candidate = slot, candidate.pointee.id != id { slot = candidate.pointee.next }
        if let slot { core.pointee.close(slot, .refusedStream) }
        return 0
    }

    private static let onSendData: nghttp2_send_data_callback = { _, _, header, length, source, lent in
        let core = HTTP2Callbacks.core(lent)
        guard let header, let slot = source?.pointee.ptr?.assumingMemoryBound(to: HTTP2StreamSlot.self) else {
            return Int32(NGHTTP2_ERR_CALLBACK_FAILURE.rawValue)
        }
        core.pointee.write(header, length, of: slot)
        return core.pointee.hasFramed ? NGHTTP2_ERR_PAUSE.rawValue : 0
    }

    /// Asked for the body of a message of ours.
    static let readBody: nghttp2_data_source_read_callback = { _, _, _, length, flags, source, lent in
        guard let slot = source?.pointee.ptr?.assumingMemoryBound(to: HTTP2StreamSlot.self), let flags else {
            return Int(NGHTTP2_ERR_CALLBACK_FAILURE.rawValue)
        }
        return HTTP2Callbacks.core(lent).pointee.offerBody(of: slot, upTo: length, &flags.pointee)
    }
}

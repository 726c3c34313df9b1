// SPDX-License-Identifier: Apache-2.0

internal import CNGHTTP2

/// The server's end of an HTTP/2 connection: requests come, responses go.
public final class HTTP2ServerSession: HTTP2Session {
    /// - Parameters:
    ///   - pool: Of the worker; shared by all its sessions.
    ///   - now: Milliseconds of a clock that does not go back.
    /// - Throws: ``HTTP2Failure`` if nghttp2 cannot be set up.
    public init(limits: HTTP2Limits = HTTP2Limits(), pool: HTTP2MemoryPool, now: UInt64) throws(HTTP2Failure) {
        try super.init(isServer: true, limits: limits, pool: pool, now: now)
    }

    /// Answers with a final response.
    ///
    /// - Parameters:
    ///   - head: Finished. Its fields are copied.
    ///   - endOfStream: There is neither content nor a trailer section. Otherwise, ``HTTP2Session/offerBody(_:_:isLast:)``
    ///     follows.
    public func respond(
        _ stream: HTTP2Stream, _ head: borrowing HTTP2HeadWriter, endOfStream: Bool
    ) throws(HTTP2Failure) {
        guard stream.isOpen else { return }
        precondition(head.isFinished, "the head is not finished, or must not be sent")
        precondition(!stream.slot.pointee.hasBody, "a second final response")
        stream.slot.pointee.hasBody = !endOfStream
        var provider = nghttp2_data_provider()
        provider.source.ptr = UnsafeMutableRawPointer(stream.slot)
        provider.read_callback = HTTP2Callbacks.readBody
        let status = withUnsafePointer(to: &provider) {
            nghttp2_submit_response(
                core.pointee.session, stream.id, head.fields, head.count, endOfStream ? nil : $0)
        }
        guard status == 0 else { throw .library(operation: "response", code: status) }
    }

    /// Answers with an interim response, 1xx but not 101 (RFC 9110 section 15.2); the final one has to follow.
    public func respondInterim(_ stream: HTTP2Stream, _ head: borrowing HTTP2HeadWriter) throws(HTTP2Failure) {
        guard stream.isOpen else { return }
        precondition(head.isFinished, "the head is not finished, or must not be sent")
        let status = nghttp2_submit_headers(
            core.pointee.session, UInt8(NGHTTP2_FLAG_NONE.rawValue), stream.id, nil, head.fields, head.count, nil)
        guard status == 0 else { throw .library(operation: "interim response", code: status) }
    }

    /// The response is given whole, and the rest of the request is not wanted: the client is told when all of the
    /// response is sent (RFC 9113 section 8.1). nghttp2 sends nothing more on a stream that it has been told to reset.
    public func resetAfterEnd(_ stream: HTTP2Stream) {
        guard stream.isOpen else { return }
        if stream.slot.pointee.endSent {
            nghttp2_submit_rst_stream(core.pointee.session, 0, stream.id, HTTP2ErrorCode.noError.rawValue)
        } else {
            stream.slot.pointee.resetsAfterEnd = true
        }
    }

    /// Whether an orderly end has begun.
    public var isDraining: Bool { core.pointee.drain != .no }

    /// Begins an orderly end (RFC 9113 section 6.8): the client is told that there will be one, so that it opens no more
    /// streams. When it has answered the PING that goes with it, so that no request is under way unseen, it is told
    /// which stream was the last. The connection is finished when that one is.
    public func drain() {
        guard core.pointee.drain == .no, !core.pointee.isTerminated else { return }
        core.pointee.drain = .noticed
        nghttp2_submit_shutdown_notice(core.pointee.session)
        ping(HTTP2Core.drainPing)
    }
}

// SPDX-License-Identifier: Apache-2.0

/// The server's end of an HTTP/2 connection: requests come, responses go.
public final class HTTP2ServerSession: HTTP2Session {
    /// - Parameters:
    ///   - pool: Of the worker; shared by all its sessions.
    ///   - now: Milliseconds of a clock that does not go back.
    public init(limits: HTTP2Limits = HTTP2Limits(), pool: HTTP2MemoryPool, now: UInt64) {
        super.init(isServer: true, limits: limits, pool: pool, now: now)
    }

    /// Answers with a final response.
    ///
    /// - Parameters:
    ///   - head: Finished. Its fields are copied.
    ///   - endOfStream: There is neither content nor a trailer section. Otherwise, ``HTTP2Session/offerBody(_:_:isLast:)``
    ///     follows.
    public func respond(_ stream: HTTP2Stream, _ head: borrowing HTTP2HeadWriter, endOfStream: Bool) {
        guard stream.isOpen else { return }
        precondition(head.isFinished, "the head is not finished, or must not be sent")
        precondition(!stream.slot.pointee.hasBody, "a second final response")
        stream.slot.pointee.hasBody = !endOfStream
        if !core.pointee.isTerminated { core.pointee.appendHead(stream.slot, head, ends: endOfStream) }
    }

    /// Answers with an interim response, 1xx but not 101 (RFC 9110 section 15.2); the final one has to follow.
    public func respondInterim(_ stream: HTTP2Stream, _ head: borrowing HTTP2HeadWriter) {
        guard stream.isOpen, !core.pointee.isTerminated else { return }
        precondition(head.isFinished, "the head is not finished, or must not be sent")
        core.pointee.appendHead(stream.slot, head, ends: false)
    }

    /// The response is given whole, and the rest of the request is not wanted: the client is told when all of the
    /// response is sent (RFC 9113 section 8.1).
    public func resetAfterEnd(_ stream: HTTP2Stream) {
        guard stream.isOpen else { return }
        if stream.slot.pointee.endMade {
            core.pointee.resetStream(stream.slot, .noError)
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
        core.pointee.appendGoAway(HTTP2Core.lastStream, .noError)
        ping(HTTP2Core.drainPing)
    }
}

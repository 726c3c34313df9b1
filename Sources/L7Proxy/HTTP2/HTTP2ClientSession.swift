// SPDX-License-Identifier: Apache-2.0

/// The client's end of an HTTP/2 connection: requests go, responses come.
public final class HTTP2ClientSession: HTTP2Session {
    /// - Parameters:
    ///   - pool: Of the worker; shared by all its sessions.
    ///   - now: Milliseconds of a clock that does not go back.
    public init(limits: HTTP2Limits = HTTP2Limits(), pool: HTTP2MemoryPool, now: UInt64) {
        super.init(isServer: false, limits: limits, pool: pool, now: now)
    }

    /// Whether another stream can be opened now: the server allows it, our limit does, and neither has said GOAWAY.
    public var canOpenStream: Bool {
        streamCount < min(Int(peerConcurrentStreams), Int(core.pointee.limits.concurrentStreams))
            && !core.pointee.isDeaf && core.pointee.peerLastStream == nil && core.pointee.drain == .no
            && core.pointee.nextStream > 0 && core.pointee.violation == nil
    }

    /// Opens a stream with a request.
    ///
    /// - Parameters:
    ///   - head: Finished. Its fields are copied.
    ///   - method: Of the request: what the response has for a body depends on it.
    ///   - endOfStream: There is neither content nor a trailer section. Otherwise, ``HTTP2Session/offerBody(_:_:isLast:)``
    ///     follows.
    /// - Returns: The stream, or `nil` if ``canOpenStream`` is false: use another connection, or wait.
    public func request(
        _ head: borrowing HTTP2HeadWriter, method: Method, endOfStream: Bool
    ) -> HTTP2Stream? {
        guard canOpenStream else { return nil }
        precondition(head.isFinished, "the head is not finished, or must not be sent")
        let slot = core.pointee.openStream(core.pointee.nextStream)
        // Negative behind the last one.
        core.pointee.nextStream &+= 2
        slot.pointee.hasBody = !endOfStream
        slot.pointee.method = method
        slot.pointee.isReported = true
        core.pointee.appendHead(slot, head, ends: endOfStream)
        return HTTP2Stream(slot)
    }
}

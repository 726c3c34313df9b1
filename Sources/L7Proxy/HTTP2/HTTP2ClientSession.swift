// SPDX-License-Identifier: Apache-2.0

internal import CNGHTTP2

/// The client's end of an HTTP/2 connection: requests go, responses come.
public final class HTTP2ClientSession: HTTP2Session {
    /// - Parameters:
    ///   - pool: Of the worker; shared by all its sessions.
    ///   - now: Milliseconds of a clock that does not go back.
    /// - Throws: ``HTTP2Failure`` if nghttp2 cannot be set up.
    public init(limits: HTTP2Limits = HTTP2Limits(), pool: HTTP2MemoryPool, now: UInt64) throws(HTTP2Failure) {
        try super.init(isServer: false, limits: limits, pool: pool, now: now)
    }

    /// Whether another stream can be opened now: the server allows it, our limit does, and neither has said GOAWAY.
    public var canOpenStream: Bool {
        streamCount < min(Int(peerConcurrentStreams), Int(core.pointee.limits.concurrentStreams))
            && !core.pointee.isTerminated && nghttp2_session_check_request_allowed(core.pointee.session) != 0
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
    ) throws(HTTP2Failure) -> HTTP2Stream? {
        guard canOpenStream else { return nil }
        precondition(head.isFinished, "the head is not finished, or must not be sent")
        let slot = core.pointee.takeStream(id: 0)
        slot.pointee.hasBody = !endOfStream
        slot.pointee.method = method
        slot.pointee.isReported = true
        var provider = nghttp2_data_provider()
        provider.source.ptr = UnsafeMutableRawPointer(slot)
        provider.read_callback = HTTP2Callbacks.readBody
        let id = withUnsafePointer(to: &provider) {
            nghttp2_submit_request(
                core.pointee.session, nil, head.fields, head.count, endOfStream ? nil : $0, slot)
        }
        guard id > 0 else {
            core.pointee.forget(slot)
            throw .library(operation: "request", code: id)
        }
        slot.pointee.id = id
        return HTTP2Stream(slot)
    }
}

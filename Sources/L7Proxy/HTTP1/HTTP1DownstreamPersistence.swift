// SPDX-License-Identifier: Apache-2.0

/// Whether a connection from a client stays open for another request (RFC 9112 sections 9.3 and 9.6).
///
/// Decides only; the connection performs what is returned. One request at a time: a pipelined one begins when the
/// response before it has ended.
public struct HTTP1DownstreamPersistence: Equatable, Sendable, BitwiseCopyable {
    private enum State: Equatable {
        case idle
        case exchange(Exchange)
        case closed
    }

    private struct Exchange: Equatable {
        var mayPersist: Bool
        var requestEnded: Bool
        var responseBegan = false
        var responseEnded = false
    }

    private var state: State = .idle
    private var isDraining = false
    private var peerClosed = false

    public init() {}

    public enum Next: Equatable, Sendable {
        /// Nothing to do now.
        case wait
        /// Parse the next request, which may be in the buffer already.
        case nextRequest
        /// The response is out but the request's body is not all in: read and discard it (RFC 9112 section 9.3), within
        /// bounds of bytes and time, then call ``requestEnded()``; or close.
        case discardRequestBody
        /// Shut down writing, read and discard until the client closes or a time is over, then close. Closing at once
        /// could reset the connection and take the response away from the client (RFC 9112 section 9.6).
        case closeLingering
        /// Close: nothing more can arrive.
        case close
    }

    /// A request's head was parsed.
    ///
    /// - Precondition: No other request is open.
    public mutating func requestBegan(_ head: RequestHead) {
        precondition(state == .idle, "a request began inside another one, or after the last")
        // A proxy must not keep a connection with an HTTP/1.0 client (RFC 9112 section 9.3).
        let mayPersist = head.minorVersion > 0 && !head.options.contains(.close) && !isDraining
        state = .exchange(Exchange(mayPersist: mayPersist, requestEnded: head.framing == .none))
    }

    /// The final response's head is about to be written. Not for interim responses.
    ///
    /// - Parameters:
    ///   - framing: Of the response as it is sent.
    ///   - abandonsBody: The rest of the request's body will not be read, because the proxy answers an error itself.
    /// - Returns: Whether the head must say `Connection: close`, after which the connection is closed.
    public mutating func responseBegan(framing: BodyFraming, abandonsBody: Bool = false) -> Bool {
        guard case .exchange(var exchange) = state, !exchange.responseBegan else {
            preconditionFailure("a response without a request")
        }
        let bodyIsLost = abandonsBody && !exchange.requestEnded
        if framing == .untilClose || bodyIsLost || isDraining || peerClosed { exchange.mayPersist = false }
        exchange.responseBegan = true
        state = .exchange(exchange)
        return !exchange.mayPersist
    }

    /// All of the request has been read.
    public mutating func requestEnded() -> Next {
        guard case .exchange(var exchange) = state else { return .wait }
        exchange.requestEnded = true
        state = .exchange(exchange)
        return exchange.responseEnded ? ended(exchange) : .wait
    }

    /// All of the response has been given to the connection.
    ///
    /// - Precondition: It began.
    public mutating func responseEnded() -> Next {
        guard case .exchange(var exchange) = state, exchange.responseBegan else {
            preconditionFailure("a response ended that did not begin")
        }
        exchange.responseEnded = true
        state = .exchange(exchange)
        return ended(exchange)
    }

    private mutating func ended(_ exchange: Exchange) -> Next {
        if !exchange.mayPersist || peerClosed {
            state = .closed
            return peerClosed ? .close : .closeLingering
        }
        guard exchange.requestEnded else { return .discardRequestBody }
        // A drain that began after the head could not be announced; the next response will announce it.
        state = .idle
        return .nextRequest
    }

    /// The client will send no more (RFC 9112 section 9.6). The open request, if it is whole, is still answered.
    public mutating func inputEnded() -> Next {
        peerClosed = true
        switch state {
        case .idle, .closed:
            state = .closed
            return .close
        case .exchange(let exchange):
            // An incomplete request can never become whole (RFC 9112 section 8).
            guard exchange.requestEnded else {
                state = .closed
                return .close
            }
            return .wait
        }
    }

    /// What was sent is no request, or an incomplete one: an error has been answered, if there was something to answer.
    public mutating func requestFailed() -> Next {
        state = .closed
        return peerClosed ? .close : .closeLingering
    }

    /// No further request should be accepted: the process goes, or the configuration changed.
    public mutating func beginDrain() -> Next {
        isDraining = true
        guard state == .idle else { return .wait }
        state = .closed
        return .closeLingering
    }
}

// SPDX-License-Identifier: Apache-2.0

/// Whether a connection to a backend can carry another request (RFC 9112 sections 9.3 and 9.6).
///
/// Decides only. A connection about which there is any doubt is not used again: a response left over from one request
/// would be taken for the next one's (RFC 9112 section 11.2).
public struct HTTP1UpstreamPersistence: Equatable, Sendable, BitwiseCopyable {
    private enum State: Equatable {
        case idle
        case exchange(requestEnded: Bool, response: ResponseState)
        case closed
    }

    private enum ResponseState: Equatable {
        case awaited
        case persistent
        case last
    }

    private var state: State = .idle

    public init() {}

    public enum Next: Equatable, Sendable {
        /// Give the connection back to the pool.
        case reuse
        case close
        /// It is a tunnel now.
        case tunnel
    }

    /// A request is about to be sent.
    ///
    /// - Parameter closes: The request says `Connection: close`.
    /// - Precondition: The connection is idle and was not closed.
    public mutating func requestBegan(framing: BodyFraming, closes: Bool = false) {
        precondition(state == .idle, "two requests on one connection, or one after its end")
        state = .exchange(requestEnded: framing == .none, response: closes ? .last : .awaited)
    }

    /// All of the request has been sent.
    public mutating func requestEnded() {
        guard case .exchange(_, let response) = state else { return }
        state = .exchange(requestEnded: true, response: response)
    }

    /// A response's head was parsed. Interim ones change nothing.
    public mutating func responseBegan(_ head: ResponseHead) {
        guard case .exchange(let requestEnded, let response) = state else {
            preconditionFailure("a response without a request")
        }
        if head.isInterim, !head.options.contains(.suspiciousFraming) { return }
        // RFC 9112 section 9.3: HTTP/1.0 persists only if it says so; its framing was checked as any other.
        let versionPersists = head.minorVersion > 0 || head.options.contains(.keepAlive)
        let ends =
            head.options.contains(.close) || head.options.contains(.suspiciousFraming)
            || head.framing == .untilClose || !versionPersists
        state = .exchange(requestEnded: requestEnded, response: ends || response == .last ? .last : .persistent)
    }

    /// All of the final response has been received.
    ///
    /// - Parameters:
    ///   - framing: Of that response, as received.
    ///   - hasLeftover: More bytes than the response were received. Nothing was asked for that they could answer.
    public mutating func responseEnded(framing: BodyFraming, hasLeftover: Bool) -> Next {
        guard case .exchange(let requestEnded, let response) = state, response != .awaited else {
            preconditionFailure("a response ended that did not begin")
        }
        if framing == .tunnel {
            state = .closed
            return .tunnel
        }
        // A request that is still being sent when its answer is complete is given up with its connection (section 9.5).
        guard requestEnded, response == .persistent, !hasLeftover else {
            state = .closed
            return .close
        }
        state = .idle
        return .reuse
    }

    /// Bytes, an end or an error came while the connection was idle in the pool: it is of no more use.
    public mutating func disturbedWhileIdle() {
        precondition(state == .idle, "not idle")
        state = .closed
    }
}

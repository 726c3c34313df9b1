// SPDX-License-Identifier: Apache-2.0

/// What is different about a request when it is forwarded.
public struct RequestForwarding {
    /// Replaces the `Host` and the target's authority.
    public var host: UnsafeRawBufferPointer?
    /// Replaces path and query. Begins with `/`.
    public var target: UnsafeRawBufferPointer?
    /// How the body will be framed, if not as it was received.
    public var framing: BodyFraming?
    /// Whether the client's wish to upgrade goes on to the next hop.
    public var keepsUpgrade = false
    /// Whether this is the connection's last request (RFC 9112 section 9.6).
    public var closes = false

    public init() {}
}

extension HTTP1HeadWriter {
    /// Begins with the request `head`, as this proxy sends it on: as HTTP/1.1, in origin form, `Host` first.
    ///
    /// - Parameters:
    ///   - fields: The request's fields. Those that its `Connection` names are dropped.
    ///   - message: The memory that the offsets of head and fields are for.
    public mutating func beginRequest(
        _ head: RequestHead, _ fields: inout FieldTable, in message: UnsafeRawPointer,
        _ forwarding: RequestForwarding = RequestForwarding()
    ) {
        guard phase == .empty else { return out.fail(.outOfOrder) }
        phase = .fields
        if head.options.contains(.nominatesFields) { fields.dropNominated(in: message) }

        if head.form == .origin, forwarding.target == nil {
            // Method, one space and target stand together.
            let start = head.methodRange.offset
            out.append(ByteRange(offset: start, length: head.target.end &- start).bytes(in: message))
        } else {
            out.append(head.methodRange.bytes(in: message))
            out.append(ASCII.space)
            writeTarget(head, message, forwarding.target)
        }
        out.append(" HTTP/1.1\r\nHost: ")
        if let host = forwarding.host {
            guard Authority.isValid(host) else { return out.fail(.unsafeValue) }
            out.append(host)
        } else {
            out.append(head.authority.bytes(in: message))
        }
        out.appendLineEnd()

        forward(fields, in: message)

        let upgrades = forwarding.keepsUpgrade && head.options.contains(.upgrade)
        if upgrades { forwardUpgrade(fields, in: message) }
        // RFC 9110 section 10.1.4: TE is about the connection, so it is written anew and named in Connection.
        let acceptsTrailers = head.options.contains(.acceptsTrailers)
        if acceptsTrailers { out.append("TE: trailers\r\n") }
        switch forwarding.framing ?? head.framing {
        // A client that said 0 may have meant it: some servers want a length with every POST.
        case .none: if head.options.contains(.hasContentLength) { contentLength(0) }
        case .length(let length): contentLength(length)
        case .chunked: transferEncodingChunked()
        // No request is framed so (RFC 9112 section 6.3).
        case .untilClose, .tunnel: out.fail(.outOfOrder)
        }
        connection(close: forwarding.closes, upgrade: upgrades, te: acceptsTrailers)
    }

    private mutating func writeTarget(
        _ head: RequestHead, _ message: UnsafeRawPointer, _ replacement: UnsafeRawBufferPointer?
    ) {
        if let replacement, head.form == .origin || head.form == .absolute {
            guard replacement.first == ASCII.slash else { return out.fail(.unsafeValue) }
            return out.appendVisible(replacement)
        }
        switch head.form {
        case .origin, .authority, .asterisk:
            out.append(head.target.bytes(in: message))
        case .absolute:
            // RFC 9112 sections 3.2.1 and 3.2.4: an empty path is sent as `/`, or as `*` with OPTIONS.
            if head.path.isEmpty {
                let isAsterisk = head.method == .options && !head.options.contains(.hasQuery)
                out.append(isAsterisk ? ASCII.asterisk : ASCII.slash)
            } else {
                out.append(head.path.bytes(in: message))
            }
            if head.options.contains(.hasQuery) {
                out.append(ASCII.questionMark)
                out.append(head.query.bytes(in: message))
            }
        }
    }

    /// Begins with a request that did not come by HTTP/1.1.
    ///
    /// - Parameters:
    ///   - method: A token.
    ///   - target: In the form that goes with the method (RFC 9112 section 3.2); visible ASCII.
    ///   - authority: Goes into `Host`.
    public mutating func beginRequest(
        method: UnsafeRawBufferPointer, target: UnsafeRawBufferPointer, authority: UnsafeRawBufferPointer,
        framing: BodyFraming, acceptsTrailers: Bool = false, closes: Bool = false
    ) {
        guard phase == .empty else { return out.fail(.outOfOrder) }
        phase = .fields
        out.appendToken(method)
        out.append(ASCII.space)
        if target.isEmpty { out.fail(.unsafeValue) }
        out.appendVisible(target)
        out.append(" HTTP/1.1\r\nHost: ")
        if !Authority.isValid(authority) { out.fail(.unsafeValue) }
        out.append(authority)
        out.appendLineEnd()
        if acceptsTrailers { out.append("TE: trailers\r\n") }
        switch framing {
        case .none: break
        case .length(let length): contentLength(length)
        case .chunked: transferEncodingChunked()
        case .untilClose, .tunnel: out.fail(.outOfOrder)
        }
        connection(close: closes, upgrade: false, te: acceptsTrailers)
    }
}

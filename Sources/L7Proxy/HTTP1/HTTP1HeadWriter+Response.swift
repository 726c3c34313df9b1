// SPDX-License-Identifier: Apache-2.0

/// What is different about a response when it is forwarded.
public struct ResponseForwarding {
    /// Of the client's request; an HTTP/1.0 client is never sent chunks (RFC 9112 section 6.1).
    public var clientMinorVersion: UInt8 = 1
    /// Whether a 101 or 426 tells the client about `Upgrade`.
    public var keepsUpgrade = false
    /// The protocol that begins with this 101, which did not come as one.
    var upgradesTo: StaticString?
    /// Whether the connection to the client is closed after this response (RFC 9112 section 9.6).
    public var closes = false

    public init() {}
}

extension HTTP1HeadWriter {
    /// How the body of the response `head` is framed for a client: as received where the client understands it; a body
    /// of unknown length is chunked, or ends with the connection for an HTTP/1.0 client.
    public static func framing(of head: ResponseHead, forMinorVersion clientMinorVersion: UInt8) -> BodyFraming {
        switch head.framing {
        case .none, .length, .tunnel: head.framing
        case .chunked, .untilClose: clientMinorVersion == 0 ? .untilClose : .chunked
        }
    }

    /// Begins with the response `head`, as this proxy sends it on: as HTTP/1.1 (RFC 9112 section 2.3).
    ///
    /// - Parameters:
    ///   - fields: The response's fields. Those that its `Connection` names are dropped.
    ///   - message: The memory that the offsets of head and fields are for.
    /// - Returns: How the body must be written; ``BodyFraming/untilClose`` means that the connection must be closed
    ///   after it, which this head then says.
    public mutating func beginResponse(
        _ head: ResponseHead, _ fields: inout FieldTable, in message: UnsafeRawPointer,
        _ forwarding: ResponseForwarding = ResponseForwarding()
    ) -> BodyFraming {
        let framing = Self.framing(of: head, forMinorVersion: forwarding.clientMinorVersion)
        guard phase == .empty else {
            out.fail(.outOfOrder)
            return framing
        }
        phase = .fields
        if head.options.contains(.nominatesFields) { fields.dropNominated(in: message) }

        out.append("HTTP/1.1 ")
        out.append(decimal: UInt64(head.status))
        out.append(ASCII.space)
        if forwarding.upgradesTo == nil {
            out.append(head.reason.bytes(in: message))
        } else {
            out.append(StatusText.reason(head.status))
        }
        out.appendLineEnd()

        forward(fields, in: message)

        var upgrades = forwarding.keepsUpgrade && head.options.contains(.upgrade)
        if let name = forwarding.upgradesTo {
            upgrades = true
            out.append("Upgrade: ")
            out.append(name)
            out.appendLineEnd()
        } else if upgrades {
            forwardUpgrade(fields, in: message)
        }
        switch framing {
        // With HEAD and 304 the length is that of another message, and goes on; 1xx and 204 have none (RFC 9110
        // section 8.6).
        case .none:
            if head.options.contains(.hasContentLength), head.status >= 200, head.status != 204 {
                contentLength(head.contentLength)
            }
        case .length(let length): contentLength(length)
        case .chunked: transferEncodingChunked()
        case .untilClose, .tunnel: break
        }
        // Neither an interim response nor the start of a tunnel is the connection's last word.
        let isLast = !head.isInterim && framing != .tunnel
        let closes = isLast && (forwarding.closes || framing == .untilClose)
        connection(close: closes, upgrade: upgrades, te: false)
        return framing
    }

    /// Begins with a response that did not come by HTTP/1.1, or is the proxy's own.
    ///
    /// - Precondition: `status` is 100...599.
    public mutating func beginResponse(status: UInt16, framing: BodyFraming, closes: Bool) {
        precondition(status >= 100 && status < 600, "no such status")
        guard phase == .empty else { return out.fail(.outOfOrder) }
        phase = .fields
        out.append("HTTP/1.1 ")
        out.append(decimal: UInt64(status))
        out.append(ASCII.space)
        out.append(StatusText.reason(status))
        out.appendLineEnd()
        switch framing {
        case .none: if status >= 200, status != 204, status != 304 { contentLength(0) }
        case .length(let length): contentLength(length)
        case .chunked: transferEncodingChunked()
        case .untilClose, .tunnel: break
        }
        connection(close: closes || framing == .untilClose, upgrade: false, te: false)
    }
}

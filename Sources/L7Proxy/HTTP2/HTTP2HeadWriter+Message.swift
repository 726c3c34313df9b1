// SPDX-License-Identifier: Apache-2.0

/// What is different about a request when it is forwarded by HTTP/2.
public struct HTTP2RequestForwarding {
    /// Replaces the authority.
    public var host: UnsafeRawBufferPointer?
    /// Replaces path and query. Begins with `/`.
    public var target: UnsafeRawBufferPointer?
    /// Makes the request an extended CONNECT (RFC 8441 section 4) for this protocol, whatever its method.
    public var protocolName: UnsafeRawBufferPointer?
    /// Whether `:scheme` is `https`: the next hop is reached by TLS, or the request was for it.
    public var isHTTPS = false

    public init() {}
}

extension HTTP2HeadWriter {
    /// Begins with the request `head`, whichever protocol it came by (RFC 9113 sections 8.3.1 and 8.5).
    ///
    /// - Parameters:
    ///   - fields: The request's fields. Those that its `Connection` names are dropped.
    ///   - message: The memory that the offsets of head and fields are for.
    public mutating func beginRequest(
        _ head: RequestHead, _ fields: inout FieldTable, in message: UnsafeRawPointer,
        _ forwarding: HTTP2RequestForwarding = HTTP2RequestForwarding()
    ) {
        begin()
        if head.options.contains(.nominatesFields) { fields.dropNominated(in: message) }
        if let name = forwarding.protocolName {
            if !ASCII.isToken(name) { fail(.unsafeValue) }
            append(pseudo: HPACKStaticTable.method, ASCII.bytes(of: "CONNECT"))
            append(ASCII.bytes(of: ":protocol"), name)
        } else {
            append(pseudo: HPACKStaticTable.method, head.methodRange.bytes(in: message))
        }
        if head.form != .authority {
            append(pseudo: HPACKStaticTable.scheme, ASCII.bytes(of: forwarding.isHTTPS ? "https" : "http"))
            append(pseudo: HPACKStaticTable.path, path(head, message, forwarding.target))
        }
        let authority = forwarding.host ?? head.authority.bytes(in: message)
        // An HTTP/1.0 client may have named none; then there must be one to put in its place.
        if authority.isEmpty || (forwarding.host != nil && Authority.parts(authority) == nil) { fail(.unsafeValue) }
        append(pseudo: HPACKStaticTable.authority, authority)

        forward(fields, in: message)

        // RFC 9113 section 8.2.2: the one thing that TE may say.
        if head.options.contains(.acceptsTrailers) { append(.te, ASCII.bytes(of: "trailers")) }
        if head.options.contains(.hasContentLength), head.form != .authority, head.framing != .chunked,
            forwarding.protocolName == nil
        {
            append(.contentLength, decimal(head.contentLength))
        }
    }

    private mutating func path(
        _ head: RequestHead, _ message: UnsafeRawPointer, _ replacement: UnsafeRawBufferPointer?
    ) -> UnsafeRawBufferPointer {
        if let replacement, head.form != .asterisk {
            var isVisible = replacement.first == ASCII.slash
            for byte in replacement where byte < 0x21 || byte > 0x7e { isVisible = false }
            if !isVisible { fail(.unsafeValue) }
            return replacement
        }
        guard head.form == .absolute else { return head.target.bytes(in: message) }
        if head.path.isEmpty {
            if head.options.contains(.hasQuery) { return rootPath(query: head.query.bytes(in: message)) }
            // RFC 9112 section 3.2.4: OPTIONS for the server as a whole.
            let text: StaticString = head.method == .options ? "*" : "/"
            return UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount)
        }
        let start = head.path.offset
        return ByteRange(offset: start, length: head.target.end &- start).bytes(in: message)
    }

    /// Begins with the response `head`, whichever protocol it came by (RFC 9113 section 8.3.2).
    ///
    /// A 101 cannot be sent by HTTP/2 (section 8.6): the caller answers the request with 502 instead.
    public mutating func beginResponse(
        _ head: ResponseHead, _ fields: inout FieldTable, in message: UnsafeRawPointer
    ) {
        begin()
        if head.options.contains(.nominatesFields) { fields.dropNominated(in: message) }
        if head.status == 101 { fail(.outOfOrder) }
        append(pseudo: HPACKStaticTable.status, decimal(UInt64(head.status)))
        forward(fields, in: message)
        // 1xx and 204 have none (RFC 9110 section 8.6), a tunnel has no content, and chunks overrule a length.
        guard head.options.contains(.hasContentLength), head.status >= 200, head.status != 204 else { return }
        switch head.framing {
        case .none, .length: append(.contentLength, decimal(head.contentLength))
        case .chunked, .untilClose, .tunnel: break
        }
    }

    /// Begins with a response of the proxy's own.
    ///
    /// - Parameter contentLength: Of its content, in bytes; `nil` where there can be none or it is not known.
    public mutating func beginResponse(status: UInt16, contentLength: UInt64? = nil) {
        precondition(status >= 100 && status < 600 && status != 101, "no such status in HTTP/2")
        begin()
        append(pseudo: HPACKStaticTable.status, decimal(UInt64(status)))
        if let contentLength { append(.contentLength, decimal(contentLength)) }
    }

    /// Begins with a request of the proxy's own.
    public mutating func beginRequest(
        method: StaticString, scheme: StaticString = "http", path: UnsafeRawBufferPointer,
        authority: UnsafeRawBufferPointer
    ) {
        begin()
        if Authority.parts(authority) == nil || path.first != ASCII.slash { fail(.unsafeValue) }
        append(pseudo: HPACKStaticTable.method, ASCII.bytes(of: method))
        append(pseudo: HPACKStaticTable.scheme, ASCII.bytes(of: scheme))
        append(pseudo: HPACKStaticTable.path, path)
        append(pseudo: HPACKStaticTable.authority, authority)
    }

    /// The trailers in `fields`, without those that do not belong there.
    mutating func trailers(_ fields: borrowing FieldTable, in message: UnsafeRawPointer) {
        begin()
        forward(fields, in: message)
    }
}

// SPDX-License-Identifier: Apache-2.0

// MARK: - The block is whole

extension HTTP2HeadReader {
    /// Ends the head of a request.
    ///
    /// - Parameter endOfStream: There is neither content nor a trailer section.
    /// - Returns: What is wrong with it; `nil` if ``request`` and ``fields`` are valid now.
    mutating func finishRequest(endOfStream: Bool) -> MalformedMessage? {
        guard defect == nil else { return defect }
        if let wrong = requestLine() ?? joinCookies() ?? requestFraming(endOfStream) {
            fail(wrong)
            return wrong
        }
        request.options.formUnion(facts.finalOptions(minorVersion: 1))
        request.options.subtract(.upgrade)
        if request.options.contains(.extendedConnect) {
            request.options.insert(.upgrade)
            guard appendUpgrade() else {
                fail(.tooManyFields)
                return defect
            }
        }
        request.contentLength = facts.contentLength
        request.length = UInt32(truncatingIfNeeded: count)
        return nil
    }

    private mutating func requestLine() -> MalformedMessage? {
        guard pseudo.seen.contains(.method) else { return .missingPseudoField }
        request.methodRange = pseudo.method
        request.method = Method(bytes + Int(pseudo.method.offset), Int(pseudo.method.length))
        let isExtended = pseudo.seen.contains(.protocolName)
        if isExtended {
            // RFC 8441 section 4: only with CONNECT, which then has everything that another method has.
            guard request.method == .connect else { return .invalidPseudoField }
            guard pseudo.seen.isSuperset(of: [.path, .scheme, .authority]) else { return .missingPseudoField }
            guard !pseudo.path.isEmpty else { return .invalidTarget }
            if pseudo.isHTTPS { request.options.insert(.httpsScheme) }
            callGet()
        } else if request.method == .connect {
            // RFC 9113 section 8.5: :authority is the target; there is neither a scheme nor a path.
            guard pseudo.seen.contains(.authority) else { return .missingPseudoField }
            guard pseudo.seen.isDisjoint(with: [.path, .scheme]) else { return .invalidPseudoField }
        } else {
            guard pseudo.seen.isSuperset(of: [.path, .scheme]) else { return .missingPseudoField }
            guard !pseudo.path.isEmpty else { return .invalidTarget }
            if pseudo.isHTTPS { request.options.insert(.httpsScheme) }
        }
        let isConnect = request.method == .connect
        let target = standing(isConnect ? pseudo.authority : pseudo.path)
        let first = (bytes + Int(target.offset)).load(as: UInt8.self)
        // No absolute form here: authority and scheme have fields of their own.
        guard isConnect || first == ASCII.slash || first == ASCII.asterisk else { return .invalidTarget }
        if let wrong = RequestTarget.parse(
            bytes, start: Int(target.offset), end: Int(target.end), into: &request)
        {
            return wrong
        }
        return authority()
    }

    /// An extended CONNECT as HTTP/1 writes it (RFC 8441 section 5): routes and policies then see what its server would.
    private mutating func callGet() {
        let start = count
        let text: StaticString = "GET"
        reserve(text.utf8CodeUnitCount)
        append(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
        request.method = .get
        request.methodRange = ByteRange(start, count)
        request.options.insert(.extendedConnect)
    }

    /// A line `upgrade: PROTOCOL`. - Returns: Whether there was room.
    private mutating func appendUpgrade() -> Bool {
        let name = FieldName.upgrade.text
        reserve(name.utf8CodeUnitCount &+ Int(pseudo.protocolName.length) &+ 4)
        let start = count
        append(UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount))
        append(UInt16(bigEndian: 0x3a20))
        append(pseudo.protocolName.bytes(in: bytes))
        append(UInt16(bigEndian: 0x0d0a))
        return fields.append(
            Field(
                nameOffset: UInt32(truncatingIfNeeded: start),
                valueOffset: UInt32(truncatingIfNeeded: start &+ name.utf8CodeUnitCount &+ 2),
                valueLength: pseudo.protocolName.length, nameLength: UInt16(name.utf8CodeUnitCount), name: .upgrade,
                marks: .canonical))
    }

    /// `target` behind the method and one space, as in a request line: it is copied where it came elsewhere.
    private mutating func standing(_ target: ByteRange) -> ByteRange {
        if target.offset == request.methodRange.end &+ 1 { return target }
        let method = request.methodRange
        reserve(Int(method.length) &+ Int(target.length) &+ 1)
        request.methodRange = ByteRange(count, count &+ Int(method.length))
        append(method.bytes(in: bytes))
        (bytes + count).storeBytes(of: ASCII.space, as: UInt8.self)
        count &+= 1
        let copy = ByteRange(count, count &+ Int(target.length))
        append(target.bytes(in: bytes))
        return copy
    }

    /// `:authority`, or `Host` where there is none; both must be of one mind (RFC 9113 section 8.3.1).
    private mutating func authority() -> MalformedMessage? {
        guard pseudo.seen.contains(.authority) else {
            guard facts.hasHost, !facts.host.isEmpty else { return .missingHost }
            request.authority = facts.host
            return nil
        }
        let text = pseudo.authority.bytes(in: bytes)
        guard Authority.parts(text) != nil else { return .invalidHost }
        if facts.hasHost, !ASCII.equalIgnoringCase(text, facts.host.bytes(in: bytes)) { return .conflictingHost }
        request.authority = pseudo.authority
        return nil
    }

    private mutating func requestFraming(_ endOfStream: Bool) -> MalformedMessage? {
        let hasLength = facts.options.contains(.hasContentLength)
        if request.method == .connect || request.options.contains(.extendedConnect) {
            // RFC 9110 section 9.3.6: what follows is the tunnel's.
            return hasLength && facts.contentLength > 0 ? .bodyOfConnect : nil
        }
        if endOfStream {
            // RFC 9113 section 8.1.1: the length must be that of the content.
            return hasLength && facts.contentLength > 0 ? .invalidContentLength : nil
        }
        request.framing = !hasLength ? .chunked : facts.contentLength > 0 ? .length(facts.contentLength) : .none
        return nil
    }

    /// Ends the head of a response to `method`; see ``finishRequest(endOfStream:)``.
    mutating func finishResponse(to method: Method, endOfStream: Bool) -> MalformedMessage? {
        guard defect == nil else { return defect }
        guard pseudo.seen.contains(.status) else {
            fail(.missingPseudoField)
            return defect
        }
        if !pseudo.seen.contains(.regular) { appendReason() }
        if let wrong = joinCookies() {
            fail(wrong)
            return wrong
        }
        let hasLength = facts.options.contains(.hasContentLength)
        let status = response.status
        if status < 200 || status == 204 || status == 304 || method == .head {
            response.framing = .none
        } else if method == .connect, status < 300 {
            response.framing = .tunnel
        } else if endOfStream {
            guard !hasLength || facts.contentLength == 0 else {
                fail(.invalidContentLength)
                return defect
            }
            // HTTP/1 must be told that there is nothing; HTTP/2 has been.
            response.framing = hasLength ? .none : .length(0)
        } else {
            response.framing = !hasLength ? .chunked : facts.contentLength > 0 ? .length(facts.contentLength) : .none
        }
        // Of what a response may say about the connection nothing is left in HTTP/2.
        response.options = facts.options.intersection(.hasContentLength)
        response.contentLength = facts.contentLength
        response.length = UInt32(truncatingIfNeeded: count)
        return nil
    }

    /// Ends a trailer section. - Returns: What is wrong with it.
    func finishTrailers() -> MalformedMessage? { defect }

    /// Makes one line of several Cookie lines, which HTTP/2 may be sent for better compression and HTTP/1 may not
    /// (RFC 9113 section 8.2.3).
    private mutating func joinCookies() -> MalformedMessage? {
        guard cookies > 1 else { return nil }
        var length = 10
        var marks: Field.Marks = .canonical
        for position in 0..<fields.count where fields.fields[position].name == .cookie {
            length &+= Int(fields.fields[position].valueLength) &+ 2
            marks.formUnion(fields.fields[position].marks.intersection(.neverIndexed))
        }
        reserve(length)
        let start = count
        let name = FieldName.cookie.text
        append(UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount))
        append(UInt16(bigEndian: 0x3a20))
        let valueStart = count
        for position in 0..<fields.count where fields.fields[position].name == .cookie {
            // An empty one says nothing, and must not leave whitespace at an end.
            if count > valueStart, fields.fields[position].valueLength > 0 { append(UInt16(bigEndian: 0x3b20)) }
            append(fields.fields[position].valueRange.bytes(in: bytes))
            fields.fields[position].marks.insert(.dropped)
        }
        let field = Field(
            nameOffset: UInt32(truncatingIfNeeded: start), valueOffset: UInt32(truncatingIfNeeded: valueStart),
            valueLength: UInt32(truncatingIfNeeded: count &- valueStart), nameLength: 6, name: .cookie, marks: marks)
        append(UInt16(bigEndian: 0x0d0a))
        return fields.append(field) ? nil : .tooManyFields
    }
}

// SPDX-License-Identifier: Apache-2.0

/// What the fields of one head say about connection, framing and authority, gathered line by line.
///
/// Values are read here and nowhere else, so there is one reading of each. What several lines say together is checked
/// once the head is whole: ``requestFraming(method:minorVersion:)``, ``responseFraming(status:minorVersion:method:)``.
struct HeadFacts: Sendable, BitwiseCopyable {
    private(set) var options: HeadOptions = []
    private(set) var contentLength: UInt64 = 0
    /// Of `Content-Length`; 0 if there is none.
    private var contentLengthDigits: UInt8 = 0
    private var transferCoding: TransferCoding = .absent
    private(set) var host: ByteRange = .empty
    private(set) var hasHost = false
    private var connectionOptions: UInt8 = 0

    /// What all `Transfer-Encoding` fields so far amount to.
    private enum TransferCoding: Sendable, BitwiseCopyable {
        case absent, chunked, unknown, unknownThenChunked
    }

    init() {}

    /// Takes note of `field`, just parsed.
    ///
    /// - Parameter optionLimit: How many elements all `Connection` fields may have.
    /// - Returns: What is wrong with its value, or `nil`.
    @inline(__always)
    mutating func note(_ field: Field, in base: UnsafeRawPointer, optionLimit: UInt8) -> MalformedMessage? {
        // The fields that matter here are the first ones of the enumeration, up to `expect`.
        guard field.name != .other, field.name.rawValue <= FieldName.expect.rawValue else { return nil }
        return noteFraming(field.name, field.valueRange, base, optionLimit)
    }

    @inline(never)
    private mutating func noteFraming(
        _ name: FieldName, _ range: ByteRange, _ base: UnsafeRawPointer, _ optionLimit: UInt8
    ) -> MalformedMessage? {
        let value = range.bytes(in: base)
        switch name {
        case .host:
            guard !hasHost else { return .repeatedHost }
            hasHost = true
            host = range
            return Authority.isValid(value) ? nil : .invalidHost
        case .contentLength: return noteContentLength(value)
        case .transferEncoding: return noteTransferEncoding(value)
        case .connection: return noteConnection(value, optionLimit)
        case .te:
            if FieldList.contains(value, "trailers") { options.insert(.acceptsTrailers) }
        case .upgrade: options.insert(.upgradeField)
        case .expect:
            if FieldList.contains(value, "100-continue") { options.insert(.expectContinue) }
        default: break
        }
        return nil
    }

    /// RFC 9110 section 8.6: digits only. Equal repetitions, in one line or several, count once; anything else is an
    /// error (RFC 9112 section 6.3). Equal means written alike: `5, 05` is refused.
    private mutating func noteContentLength(_ value: UnsafeRawBufferPointer) -> MalformedMessage? {
        var list = FieldList(value)
        while let element = list.next() {
            guard !element.isEmpty else { return .invalidContentLength }
            // 19 digits cannot overflow 64 bits, and are more than a signed file offset can hold.
            guard element.count <= 19 else { return .invalidContentLength }
            var number: UInt64 = 0
            for byte in element {
                guard ASCII.isDigit(byte) else { return .invalidContentLength }
                number = number &* 10 &+ UInt64(byte &- 0x30)
            }
            guard number <= UInt64(Int64.max) else { return .invalidContentLength }
            let digits = UInt8(truncatingIfNeeded: element.count)
            if contentLengthDigits != 0, contentLengthDigits != digits || contentLength != number {
                return .conflictingContentLength
            }
            contentLength = number
            contentLengthDigits = digits
        }
        options.insert(.hasContentLength)
        return nil
    }

    /// RFC 9112 sections 6.1 and 7: `chunked` once and last. Empty elements, which a list may have elsewhere, and
    /// parameters of `chunked` are refused: both are used to hide a coding from one of two parties.
    private mutating func noteTransferEncoding(_ value: UnsafeRawBufferPointer) -> MalformedMessage? {
        var list = FieldList(value)
        while let element = list.next() {
            let isFinished = transferCoding == .chunked || transferCoding == .unknownThenChunked
            if ASCII.equal(element, "chunked") {
                guard !isFinished else { return .repeatedChunked }
                transferCoding = transferCoding == .unknown ? .unknownThenChunked : .chunked
            } else {
                guard !isFinished else { return .chunkedNotFinal }
                var end = 0
                while end < element.count, ASCII.isToken(element[end]) { end &+= 1 }
                let next = end < element.count ? element[end] : ASCII.semicolon
                let isWhole = ASCII.isBlank(next) || next == ASCII.semicolon
                let coding = UnsafeRawBufferPointer(rebasing: element[0..<end])
                guard end > 0, isWhole, !ASCII.equal(coding, "chunked") else {
                    return .invalidTransferEncoding
                }
                transferCoding = .unknown
            }
        }
        return nil
    }

    /// RFC 9110 section 7.6.1. Elements that are not tokens are refused: what they nominate is not known.
    private mutating func noteConnection(_ value: UnsafeRawBufferPointer, _ optionLimit: UInt8) -> MalformedMessage? {
        var list = FieldList(value)
        while let element = list.next() {
            guard connectionOptions < optionLimit else { return .tooManyConnectionOptions }
            connectionOptions &+= 1
            // An empty element says nothing (RFC 9110 section 5.6.1.2).
            if element.isEmpty { continue }
            if ASCII.equal(element, "keep-alive") {
                options.insert(.keepAlive)
            } else if ASCII.equal(element, "close") {
                options.insert(.close)
            } else if ASCII.equal(element, "upgrade") {
                options.insert(.connectionUpgrade)
            } else {
                guard ASCII.isToken(element) else { return .invalidConnection }
                options.insert(.nominatesFields)
            }
        }
        return nil
    }
}

// MARK: - The head is whole

extension HeadFacts {
    /// Where the body of a request ends (RFC 9112 section 6.3).
    func requestFraming(method: Method, minorVersion: UInt8) -> Result<BodyFraming, MalformedMessage> {
        let hasLength = options.contains(.hasContentLength)
        if transferCoding != .absent {
            // Section 6.1: faulty framing, even if there is a Content-Length. Read by an HTTP/1.0 recipient on the
            // way, the message had another end.
            guard minorVersion > 0 else { return .failure(.transferEncodingInHTTP10) }
            switch transferCoding {
            case .unknownThenChunked: return .failure(.unknownTransferCoding)
            case .unknown: return .failure(.chunkedNotFinal)
            case .chunked, .absent: break
            }
            guard !hasLength else { return .failure(.transferEncodingWithContentLength) }
        }
        if method == .connect {
            // RFC 9110 section 9.3.6: content has no meaning here, and what follows the head is the tunnel's.
            guard transferCoding == .absent, contentLength == 0 else { return .failure(.bodyOfConnect) }
            return .success(.none)
        }
        if transferCoding == .chunked { return .success(.chunked) }
        return .success(contentLength > 0 ? .length(contentLength) : .none)
    }

    /// Where the body of a response to `method` ends (RFC 9112 section 6.3), and whether its framing is suspicious.
    func responseFraming(
        status: UInt16, minorVersion: UInt8, method: Method
    ) -> Result<(framing: BodyFraming, isSuspicious: Bool), MalformedMessage> {
        let hasLength = options.contains(.hasContentLength)
        let hasFraming = transferCoding != .absent || hasLength
        if status < 200 || status == 204 {
            // Neither field may be sent with these (RFC 9112 section 6.1, RFC 9110 section 8.6); a sender who does so
            // may also send a body, which would be taken for the next response.
            let framing: BodyFraming = status == 101 ? .tunnel : .none
            return .success((framing, transferCoding != .absent || contentLength > 0))
        }
        if method == .connect, status < 300 { return .success((.tunnel, hasFraming)) }
        if method == .head || status == 304 { return .success((.none, false)) }
        switch transferCoding {
        case .absent: break
        case .unknown, .unknownThenChunked: return .failure(.unknownTransferCoding)
        case .chunked:
            guard minorVersion > 0 else { return .failure(.transferEncodingInHTTP10) }
            return .success((.chunked, hasLength))
        }
        if hasLength { return .success((contentLength > 0 ? .length(contentLength) : .none, false)) }
        return .success((.untilClose, false))
    }

    /// What the head's owner is told. HTTP/1.0 has neither `Expect` nor `Upgrade` (RFC 9110 sections 10.1.1 and 7.8).
    func finalOptions(minorVersion: UInt8) -> HeadOptions {
        var result = options
        if minorVersion == 0 {
            result.remove(.expectContinue)
        } else if options.contains(.connectionUpgrade), options.contains(.upgradeField) {
            result.insert(.upgrade)
        }
        return result
    }
}

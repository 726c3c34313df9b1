// SPDX-License-Identifier: Apache-2.0

/// Parses the heads of HTTP/1.x requests, one after another, from a connection's receive buffer (RFC 9112).
///
/// Strict and incremental: it can stop after any byte and go on when more have come, and says the same wherever it was
/// stopped. A head costs no allocation and no reference counting; offsets are kept, bytes are not.
///
/// To use it: call ``parse(_:into:)`` with everything received since the end of the previous message until it no longer
/// answers ``HeadProgress/incomplete``; treat the body (``HTTP1BodyReader``); then ``reset()``.
public struct HTTP1RequestParser: Sendable, BitwiseCopyable {
    private enum Phase: Equatable, BitwiseCopyable {
        /// Before the request line, after so many empty lines.
        case start(emptyLines: UInt8)
        case fields
        case complete
        case failed(MalformedMessage)
    }

    /// Empty lines before a request that are ignored. One: clients of old sent it after a body (RFC 9112 section 2.2).
    private static let maximumEmptyLines: UInt8 = 1

    public let limits: HTTP1Limits
    /// What was parsed. Valid once ``parse(_:into:)`` has answered ``HeadProgress/complete(length:)``.
    public private(set) var head = RequestHead()
    private var phase: Phase = .start(emptyLines: 0)
    private var lines = LineCursor()
    private var facts = HeadFacts()

    public init(limits: HTTP1Limits = HTTP1Limits()) { self.limits = limits }

    /// Makes ready for the next request of the connection, whose first byte is the first of the buffer from now on.
    public mutating func reset() {
        head = RequestHead()
        phase = .start(emptyLines: 0)
        lines = LineCursor()
        facts = HeadFacts()
    }

    /// Goes on where the last call stopped.
    ///
    /// - Parameters:
    ///   - bytes: The message from its first byte, all that has been received. It may have moved and grown since the
    ///     last call, but what was there must be there still. What follows the head is not looked at.
    ///   - fields: Emptied when a message starts; holds its field lines when the head is complete.
    /// - Returns: How far the head is. After a failure, the same failure for ever.
    public mutating func parse(_ bytes: UnsafeRawBufferPointer, into fields: inout FieldTable) -> HeadProgress {
        guard let base = bytes.baseAddress else { return phaseProgress }
        while true {
            switch phase {
            case .start(let emptyLines):
                let limit = min(Int(limits.headBytes), Int(lines.lineStart) &+ requestLineLimit)
                switch lines.next(bytes, limit: limit) {
                case .incomplete: return .incomplete
                case .tooLong: return fail(overlongLine(base, start: Int(lines.lineStart), end: limit))
                case .failed(let defect): return fail(defect)
                case .line(let start, let end):
                    if start == end {
                        guard emptyLines < Self.maximumEmptyLines else { return fail(.tooManyEmptyLines) }
                        phase = .start(emptyLines: emptyLines &+ 1)
                        continue
                    }
                    if let defect = parseRequestLine(base, start: start, end: end) { return fail(defect) }
                    fields.removeAll()
                    phase = .fields
                }
            case .fields:
                switch lines.next(bytes, limit: Int(limits.headBytes)) {
                case .incomplete: return .incomplete
                case .tooLong: return fail(.headTooLarge)
                case .failed(let defect): return fail(defect)
                case .line(let start, let end):
                    if start == end { return finish() }
                    if let defect = FieldLine.parse(
                        base, start: start, end: end, section: .request, isFirst: fields.count == 0,
                        nameLimit: limits.fieldNameBytes,
                        into: &fields)
                    {
                        return fail(defect)
                    }
                    let field = fields.fields[fields.count &- 1]
                    if let defect = facts.note(field, in: base, optionLimit: limits.connectionOptions) {
                        return fail(defect)
                    }
                }
            case .complete, .failed:
                return phaseProgress
            }
        }
    }

    private var phaseProgress: HeadProgress {
        switch phase {
        case .start, .fields: .incomplete
        case .complete: .complete(length: Int(head.length))
        case .failed(let defect): .failed(defect)
        }
    }

    private mutating func fail(_ defect: MalformedMessage) -> HeadProgress {
        phase = .failed(defect)
        return .failed(defect)
    }

    /// Of a whole request line with its CRLF, in bytes: method, target, two spaces, version.
    private var requestLineLimit: Int { Int(limits.methodBytes) &+ Int(limits.targetBytes) &+ 12 }

    /// `method SP request-target SP HTTP-version`, with single spaces (RFC 9112 section 3).
    @inline(__always)
    private mutating func parseRequestLine(_ base: UnsafeRawPointer, start: Int, end: Int) -> MalformedMessage? {
        var offset = start
        while offset < end, ASCII.isToken((base + offset).load(as: UInt8.self)) { offset &+= 1 }
        guard offset > start, offset < end, (base + offset).load(as: UInt8.self) == ASCII.space else {
            return offset == end ? .invalidRequestLine : .invalidMethod
        }
        guard offset &- start <= Int(limits.methodBytes) else { return .methodTooLong }
        head.methodRange = ByteRange(start, offset)
        head.method = Method(base + start, offset &- start)

        let targetStart = offset &+ 1
        let versionStart = end &- HTTPVersion.length
        guard versionStart > targetStart &+ 1, (base + (versionStart &- 1)).load(as: UInt8.self) == ASCII.space else {
            return .invalidRequestLine
        }
        switch HTTPVersion.minor(base + versionStart) {
        case .success(let minor): head.minorVersion = minor
        case .failure(let defect): return defect
        }
        let targetEnd = versionStart &- 1
        guard targetEnd &- targetStart <= Int(limits.targetBytes) else { return .targetTooLong }
        return RequestTarget.parse(base, start: targetStart, end: targetEnd, into: &head)
    }

    /// What to say of a request line of which only the first bytes, up to the limit, are looked at.
    private func overlongLine(_ base: UnsafeRawPointer, start: Int, end: Int) -> MalformedMessage {
        var offset = start
        while offset < end, ASCII.isToken((base + offset).load(as: UInt8.self)) { offset &+= 1 }
        if offset < end, offset == start || (base + offset).load(as: UInt8.self) != ASCII.space {
            return .invalidMethod
        }
        return offset &- start > Int(limits.methodBytes) ? .methodTooLong : .targetTooLong
    }

    /// The head is whole: checks what no single line shows.
    @inline(__always)
    private mutating func finish() -> HeadProgress {
        // RFC 9112 section 3.2: exactly one Host in HTTP/1.1, at most one in HTTP/1.0.
        guard facts.hasHost || head.minorVersion == 0 else { return fail(.missingHost) }
        // Section 3.2.2: the target's authority replaces the field's.
        if head.form == .origin || head.form == .asterisk { head.authority = facts.host }
        switch facts.requestFraming(method: head.method, minorVersion: head.minorVersion) {
        case .success(let framing): head.framing = framing
        case .failure(let defect): return fail(defect)
        }
        head.options.formUnion(facts.finalOptions(minorVersion: head.minorVersion))
        head.contentLength = facts.contentLength
        head.length = lines.lineStart
        phase = .complete
        return .complete(length: Int(head.length))
    }
}

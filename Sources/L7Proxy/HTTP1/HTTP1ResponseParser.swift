// SPDX-License-Identifier: Apache-2.0

/// Parses the heads of HTTP/1.x responses, one after another, from a connection's receive buffer (RFC 9112).
///
/// Works like ``HTTP1RequestParser``. Where a response ends depends on its request, so that is given to
/// ``reset(for:expectsUpgrade:)`` before. After an interim response (``ResponseHead/isInterim``) call
/// ``resetAfterInterim()`` and go on.
public struct HTTP1ResponseParser: Sendable, BitwiseCopyable {
    private enum Phase: Equatable, BitwiseCopyable {
        case start
        case fields
        case complete
        case failed(MalformedMessage)
    }

    /// Interim responses to one request. A backend that sends them without end would keep a request alive for ever.
    static let maximumInterimResponses: UInt8 = 16

    public let limits: HTTP1Limits
    /// What was parsed. Valid once ``parse(_:into:)`` has answered ``HeadProgress/complete(length:)``.
    public private(set) var head = ResponseHead()
    private var method: Method
    private var expectsUpgrade: Bool
    private var interimResponses: UInt8 = 0
    private var phase: Phase = .start
    private var lines = LineCursor()
    private var facts = HeadFacts()

    /// - Parameters:
    ///   - method: Of the request whose response comes first.
    ///   - expectsUpgrade: Whether that request asked to upgrade; otherwise 101 is an error (RFC 9110 section 15.2.2).
    public init(limits: HTTP1Limits = HTTP1Limits(), for method: Method, expectsUpgrade: Bool = false) {
        self.limits = limits
        self.method = method
        self.expectsUpgrade = expectsUpgrade
    }

    /// Makes ready for the response to another request, whose first byte is the first of the buffer from now on.
    public mutating func reset(for method: Method, expectsUpgrade: Bool = false) {
        self.method = method
        self.expectsUpgrade = expectsUpgrade
        interimResponses = 0
        restart()
    }

    /// Makes ready for what follows an interim response.
    ///
    /// - Precondition: The last response was complete and an interim one.
    public mutating func resetAfterInterim() {
        precondition(phase == .complete && head.isInterim, "no interim response came before")
        interimResponses += 1
        restart()
    }

    private mutating func restart() {
        head = ResponseHead()
        phase = .start
        lines = LineCursor()
        facts = HeadFacts()
    }

    /// Goes on where the last call stopped; see ``HTTP1RequestParser/parse(_:into:)``.
    public mutating func parse(_ bytes: UnsafeRawBufferPointer, into fields: inout FieldTable) -> HeadProgress {
        guard let base = bytes.baseAddress else { return phaseProgress }
        let limit = Int(limits.headBytes)
        while true {
            switch phase {
            case .start:
                switch lines.next(bytes, limit: limit) {
                case .incomplete: return .incomplete
                case .tooLong: return fail(.headTooLarge)
                case .failed(let defect): return fail(defect)
                case .line(let start, let end):
                    if let defect = parseStatusLine(base, start: start, end: end) { return fail(defect) }
                    fields.removeAll()
                    phase = .fields
                }
            case .fields:
                switch lines.next(bytes, limit: limit) {
                case .incomplete: return .incomplete
                case .tooLong: return fail(.headTooLarge)
                case .failed(let defect): return fail(defect)
                case .line(let start, let end):
                    if start == end { return finish() }
                    if let defect = FieldLine.parse(
                        base, start: start, end: end, section: .response, isFirst: fields.count == 0,
                        nameLimit: limits.fieldNameBytes,
                        into: &fields)
                    {
                        return fail(defect)
                    }
                    let field = fields.fields[fields.count &- 1]
                    // A Host in a response means nothing, and is not read.
                    if field.name != .host,
                        let defect = facts.note(field, in: base, optionLimit: limits.connectionOptions)
                    {
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

    /// `HTTP-version SP status-code SP [ reason-phrase ]` (RFC 9112 section 4). The second space may be missing with
    /// the reason: many servers leave it out, and nobody reads it otherwise.
    @inline(__always)
    private mutating func parseStatusLine(_ base: UnsafeRawPointer, start: Int, end: Int) -> MalformedMessage? {
        let codeStart = start &+ HTTPVersion.length &+ 1
        let codeEnd = codeStart &+ 3
        guard codeEnd <= end, (base + (codeStart &- 1)).load(as: UInt8.self) == ASCII.space else {
            return .invalidStatusLine
        }
        switch HTTPVersion.minor(base + start) {
        case .success(let minor): head.minorVersion = minor
        case .failure(let defect): return defect
        }
        var status: UInt16 = 0
        for offset in codeStart..<codeEnd {
            let byte = (base + offset).load(as: UInt8.self)
            guard ASCII.isDigit(byte) else { return .invalidStatusLine }
            status = status &* 10 &+ UInt16(byte &- 0x30)
        }
        // RFC 9110 section 15: others are invalid.
        guard status >= 100, status < 600 else { return .invalidStatusLine }
        head.status = status
        guard codeEnd < end else { return nil }
        guard (base + codeEnd).load(as: UInt8.self) == ASCII.space else { return .invalidStatusLine }
        head.reason = ByteRange(codeEnd &+ 1, end)
        return nil
    }

    @inline(__always)
    private mutating func finish() -> HeadProgress {
        if head.status == 101, !expectsUpgrade { return fail(.unexpectedSwitchingProtocols) }
        if head.isInterim, interimResponses == Self.maximumInterimResponses { return fail(.tooManyInterimResponses) }
        head.options = facts.finalOptions(minorVersion: head.minorVersion)
        switch facts.responseFraming(status: head.status, minorVersion: head.minorVersion, method: method) {
        case .success(let result):
            head.framing = result.framing
            if result.isSuspicious { head.options.insert(.suspiciousFraming) }
        case .failure(let defect): return fail(defect)
        }
        // What a request may ask for, a response does not.
        head.options.subtract([.expectContinue, .acceptsTrailers])
        head.contentLength = facts.contentLength
        head.length = lines.lineStart
        phase = .complete
        return .complete(length: Int(head.length))
    }
}

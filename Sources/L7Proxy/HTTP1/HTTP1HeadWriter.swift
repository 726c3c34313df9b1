// SPDX-License-Identifier: Apache-2.0

/// Writes the head of one message into memory that the caller lends (RFC 9112 sections 3 to 6).
///
/// Begin with one of the `begin` calls, which write the first line, the fields that are forwarded, framing and
/// connection; add fields; then ``finish()``. A value cannot become more than a value: with CR, LF, NUL or another
/// control character in it nothing is sent at all. Fields of framing, connection and routing are written by `begin`.
public struct HTTP1HeadWriter {
    enum Phase: Equatable {
        case empty, fields, finished
    }

    var out: ByteWriter
    var phase: Phase = .empty

    /// - Parameter buffer: Where the head goes. ``HTTP1HeadWriter/bound(forwarding:in:)`` says what is enough.
    public init(_ buffer: UnsafeMutableRawBufferPointer) { out = ByteWriter(buffer) }

    /// Bytes that certainly suffice to forward a head of `headLength` bytes, apart from what is given beside it: a
    /// target, a host, and further fields of `name: value CRLF` each.
    public static func bound(forwarding headLength: UInt32) -> Int {
        // A line `a:` can become `a: `, so three bytes grow to at most four, plus what we write of our own.
        Int(headLength) + Int(headLength) / 3 + 160
    }

    /// Adds a field of a known name.
    public mutating func field(_ name: FieldName, _ value: UnsafeRawBufferPointer) {
        guard mayAdd(name), name != .other else { return out.fail(.unsafeName) }
        let text = name.text
        out.appendField(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount), value)
    }

    /// Adds a field of a known name.
    public mutating func field(_ name: FieldName, _ value: StaticString) {
        field(name, UnsafeRawBufferPointer(start: value.utf8Start, count: value.utf8CodeUnitCount))
    }

    /// Adds a field of any name but those that are the writer's own.
    public mutating func field(named name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
        guard let text = name.baseAddress, ASCII.isToken(name),
            mayAdd(FieldNameIndex.shared.recognise(text, name.count))
        else { return out.fail(.unsafeName) }
        out.appendField(name, value)
    }

    private func mayAdd(_ name: FieldName) -> Bool {
        phase == .fields && !FieldNameSet.rewritten.contains(name)
    }

    /// Ends the head.
    ///
    /// - Returns: Its length in bytes, or why it must not be sent. A message that failed can be begun again with a new
    ///   writer and a larger buffer.
    public mutating func finish() -> Result<Int, WriteFailure> {
        guard phase == .fields else { return .failure(out.failure ?? .outOfOrder) }
        out.appendLineEnd()
        phase = .finished
        if let failure = out.failure { return .failure(failure) }
        return .success(out.count)
    }
}

// MARK: - Parts of every head

extension HTTP1HeadWriter {
    /// Copies the fields that are the message's, not the connection's, in their order.
    ///
    /// Lines that are canonical and stand together are copied together: they were checked when they were parsed.
    @inline(__always)
    mutating func forward(_ fields: borrowing FieldTable, in message: UnsafeRawPointer) {
        var runStart: UInt32 = 0
        var runEnd: UInt32 = 0
        for position in 0..<fields.count {
            let field = fields.fields[position]
            if field.isDropped || FieldNameSet.rewritten.contains(field.name) { continue }
            let lineEnd = field.valueOffset &+ field.valueLength &+ 2
            if field.marks.contains(.canonical) {
                if field.nameOffset == runEnd {
                    runEnd = lineEnd
                    continue
                }
                copy(runStart, runEnd, message)
                runStart = field.nameOffset
                runEnd = lineEnd
                continue
            }
            copy(runStart, runEnd, message)
            runStart = 0
            runEnd = 0
            out.append(field.nameRange.bytes(in: message))
            out.append(": ")
            out.append(field.valueRange.bytes(in: message))
            out.appendLineEnd()
        }
        copy(runStart, runEnd, message)
    }

    @inline(__always)
    private mutating func copy(_ start: UInt32, _ end: UInt32, _ message: UnsafeRawPointer) {
        if end > start { out.append(ByteRange(offset: start, length: end &- start).bytes(in: message)) }
    }

    /// Copies the `Upgrade` fields, for a message whose `Connection` says `upgrade`.
    mutating func forwardUpgrade(_ fields: borrowing FieldTable, in message: UnsafeRawPointer) {
        for position in 0..<fields.count
        where fields.fields[position].name == .upgrade && !fields.fields[position].isDropped {
            out.append("Upgrade: ")
            out.append(fields.fields[position].valueRange.bytes(in: message))
            out.appendLineEnd()
        }
    }

    mutating func contentLength(_ length: UInt64) {
        out.append("Content-Length: ")
        out.append(decimal: length)
        out.appendLineEnd()
    }

    @inline(__always)
    mutating func transferEncodingChunked() { out.append("Transfer-Encoding: chunked\r\n") }

    /// `Connection`, with each option that holds (RFC 9110 section 7.6.1); nothing if none does.
    @inline(__always)
    mutating func connection(close: Bool, upgrade: Bool, te: Bool) {
        guard close || upgrade || te else { return }
        out.append("Connection: ")
        if close { out.append("close") }
        if upgrade { out.append(close ? ", upgrade" : "upgrade") }
        if te { out.append(close || upgrade ? ", te" : "te") }
        out.appendLineEnd()
    }
}

// SPDX-License-Identifier: Apache-2.0

/// Makes the field list of one HTTP/2 header block (RFC 9113 section 8.3) in memory that is used again and again.
///
/// Begin with one of the `begin` calls, which take over what is the message's and leave out what is the connection's
/// (section 8.2.2), add fields, then ``finish()``, and give it to a session at once: names and values are lent until
/// then. Names may be of any case: they are sent in lower case (section 8.2.1).
public struct HTTP2HeadWriter: ~Copyable {
    private enum Phase {
        case empty, fields, finished
    }

    private let list: UnsafeMutablePointer<HTTP2FieldLine>
    private let capacity: Int
    private let table = HPACKStaticTable.shared
    private(set) var count = 0
    private var phase = Phase.empty
    private var failure: WriteFailure?

    /// Text that stands in no message: digits, and a path that has to be put together.
    private let text: UnsafeMutableRawBufferPointer
    private var textCount = 0

    /// - Parameters:
    ///   - fields: The most field lines of a message; some more are for what is added.
    ///   - targetBytes: The longest path with its query.
    public init(fields: Int = 128, targetBytes: Int = 8 * 1024) {
        capacity = fields + 32
        list = .allocate(capacity: capacity)
        text = .allocate(byteCount: targetBytes + 64, alignment: 16)
    }

    deinit {
        list.deallocate()
        text.deallocate()
    }

    /// The finished list.
    var fields: UnsafePointer<HTTP2FieldLine> { UnsafePointer(list) }

    mutating func begin() {
        count = 0
        textCount = 0
        failure = nil
        phase = .fields
    }

    mutating func fail(_ reason: WriteFailure) {
        if failure == nil { failure = reason }
    }

    /// Adds a field whose name and value are known to be valid.
    ///
    /// - Parameter key: Of the name; see ``HTTP2FieldLine/key``.
    @inline(__always)
    private mutating func append(
        _ name: UnsafeRawBufferPointer, _ key: UInt16, _ value: UnsafeRawBufferPointer, neverIndexed: Bool
    ) {
        guard count < capacity else { return fail(.noRoom) }
        (list + count).initialize(
            to: HTTP2FieldLine(name: name, value: value, key: key, neverIndexed: neverIndexed))
        count &+= 1
    }

    /// - Parameter pseudo: The index of its name in HPACK's static table.
    @inline(__always)
    mutating func append(pseudo: UInt8, _ value: UnsafeRawBufferPointer) {
        append(table.entries[Int(pseudo) &- 1].name, UInt16(pseudo), value, neverIndexed: false)
    }

    /// - Parameter name: Not ``FieldName/other``.
    @inline(__always)
    mutating func append(_ name: FieldName, _ value: UnsafeRawBufferPointer, neverIndexed: Bool = false) {
        let index = table.index(of: name)
        // What a peer must not be able to guess at by what it costs (RFC 7541 section 7.1).
        let isSecret =
            name == .authorization || name == .proxyAuthorization || name == .setCookie
            || name == .cookie && value.count < 20
        if index > 0 {
            append(
                table.entries[Int(index) &- 1].name, UInt16(index), value, neverIndexed: neverIndexed || isSecret)
        } else {
            append(ASCII.bytes(of: name.text), HTTP2FieldLine.key(name), value, neverIndexed: neverIndexed || isSecret)
        }
    }

    /// - Parameter name: In any case, valid, and perhaps one that is known.
    @inline(__always)
    mutating func append(
        _ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer, neverIndexed: Bool = false
    ) {
        append(name, 0, value, neverIndexed: neverIndexed)
    }

    mutating func decimal(_ number: UInt64) -> UnsafeRawBufferPointer {
        var out = ByteWriter(UnsafeMutableRawBufferPointer(rebasing: text[textCount...]))
        out.append(decimal: number)
        return stored(out)
    }

    /// What was written into the free part of ``text``.
    private mutating func stored(_ out: ByteWriter) -> UnsafeRawBufferPointer {
        if let reason = out.failure { fail(reason) }
        let written = UnsafeRawBufferPointer(rebasing: text[textCount..<(textCount + out.count)])
        textCount += out.count
        return written
    }

    /// `?` and the query of a target without a path, which is sent as `/` (RFC 9113 section 8.3.1).
    mutating func rootPath(query: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        var out = ByteWriter(UnsafeMutableRawBufferPointer(rebasing: text[textCount...]))
        out.append("/?")
        out.append(query)
        return stored(out)
    }

    /// Copies the fields that are the message's, in their order.
    mutating func forward(_ fields: borrowing FieldTable, in message: UnsafeRawPointer) {
        for position in 0..<fields.count {
            let field = fields.fields[position]
            if field.isDropped || FieldNameSet.rewritten.contains(field.name) { continue }
            let (value, neverIndexed) = (field.valueRange.bytes(in: message), field.marks.contains(.neverIndexed))
            if field.name == .other {
                append(field.nameRange.bytes(in: message), value, neverIndexed: neverIndexed)
            } else {
                append(field.name, value, neverIndexed: neverIndexed)
            }
        }
    }

    /// Adds a field of a known name.
    public mutating func field(_ name: FieldName, _ value: UnsafeRawBufferPointer) {
        guard name != .other, mayAdd(name) else { return fail(.unsafeName) }
        guard let value = checked(value) else { return }
        append(name, value)
    }

    /// Adds a field of a known name.
    public mutating func field(_ name: FieldName, _ value: StaticString) {
        field(name, ASCII.bytes(of: value))
    }

    /// Adds a field of any name but those that are the writer's own.
    public mutating func field(named name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
        guard let text = name.baseAddress, ASCII.isToken(name) else { return fail(.unsafeName) }
        let known = FieldNameIndex.shared.recognise(text, name.count)
        guard mayAdd(known) else { return fail(.unsafeName) }
        guard let value = checked(value) else { return }
        if known == .other { append(name, value) } else { append(known, value) }
    }

    private func mayAdd(_ name: FieldName) -> Bool {
        phase == .fields && !FieldNameSet.rewritten.contains(name)
    }

    /// RFC 9113 section 8.2.1: no control character, no whitespace at the ends.
    private mutating func checked(_ value: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        if let start = value.baseAddress, ByteScanner.firstControl(start, from: 0, to: value.count) != value.count {
            fail(.unsafeValue)
            return nil
        }
        return ASCII.trimmed(value)
    }

    /// The same with text that need not stay where it is: it is copied.
    mutating func copyField(named name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
        guard let name = stored(name), let value = stored(value) else { return fail(.noRoom) }
        field(named: name, value)
    }

    private mutating func stored(_ bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        guard text.count - textCount >= bytes.count else { return nil }
        let place = UnsafeMutableRawBufferPointer(rebasing: text[textCount..<(textCount + bytes.count)])
        place.copyMemory(from: bytes)
        textCount += bytes.count
        return UnsafeRawBufferPointer(place)
    }

    /// Ends the list.
    ///
    /// - Returns: How many fields it has, or why it must not be sent.
    public mutating func finish() -> Result<Int, WriteFailure> {
        if let failure { return .failure(failure) }
        guard phase == .fields else { return .failure(.outOfOrder) }
        phase = .finished
        return .success(count)
    }

    /// Whether the list may be sent.
    var isFinished: Bool { phase == .finished && failure == nil }
}

// SPDX-License-Identifier: Apache-2.0

/// Reads header blocks of one direction of a connection (RFC 7541), one field at a time.
///
/// It checks the encoding and nothing else: whether names and values may be what they are is the reader's of the head.
struct HPACKDecoder: ~Copyable {
    /// One field, lent until the next call.
    struct Field {
        var name = UnsafeRawBufferPointer(start: nil, count: 0)
        var value = UnsafeRawBufferPointer(start: nil, count: 0)
        /// Recognised, and in lower case; ``FieldName/other`` is anything else.
        var known = FieldName.other
        /// The sender forbids to put it into a table (RFC 7541 section 7.1.3).
        var neverIndexed = false
    }

    enum Step {
        case field, end
        /// The block is no HPACK, or does not end with a field: RFC 9113 section 4.3, COMPRESSION_ERROR.
        case failed
    }

    /// What a table may count before SETTINGS say anything (RFC 9113 section 6.5.2).
    static let defaultLimit = 4096

    private var table: HPACKTable
    private let fixed: UnsafePointer<HPACKStaticTable.Entry>
    private let huffman = HPACKHuffman.shared
    private let names = FieldNameIndex.shared
    /// The most that the peer may make of the table.
    private var allowed: Int
    /// It has acknowledged less than it uses: it has to say so first (RFC 7541 section 4.2).
    private var mustShrink = false

    // Of the block that is read.
    private var position: UnsafeRawPointer
    private var left = 0
    private var mayResize = false
    private var scratch: UnsafeMutableRawPointer
    private var scratchUsed = 0

    /// - Parameter limit: What we announce, SETTINGS_HEADER_TABLE_SIZE.
    init(limit: Int, pool: Unmanaged<HTTP2MemoryPool>) {
        table = HPACKTable(limit: Self.defaultLimit, pool: pool)
        fixed = HPACKStaticTable.shared.entries
        allowed = max(limit, Self.defaultLimit)
        position = UnsafeRawPointer(fixed)
        scratch = UnsafeMutableRawPointer(mutating: position)
    }

    /// The peer has acknowledged our SETTINGS.
    mutating func settle(limit: Int) {
        allowed = limit
        mustShrink = table.limit > limit
    }

    /// Bytes of memory that a block of `count` bytes needs while it is read.
    func scratchBytes(_ count: Int) -> Int { HPACKHuffman.bound(count) + max(table.limit, allowed) }

    /// Begins a block.
    ///
    /// - Parameters:
    ///   - block: Whole; lent until the last field was read.
    ///   - scratch: ``scratchBytes(_:)``, lent as long.
    mutating func begin(_ block: UnsafeRawBufferPointer, scratch: UnsafeMutableRawPointer) {
        left = block.count
        if let start = block.baseAddress { position = start }
        mayResize = true
        self.scratch = scratch
    }

    /// The next field of the block.
    @inline(__always)
    mutating func next(_ field: inout Field) -> Step {
        while left > 0 {
            let first = position.load(as: UInt8.self)
            if first & 0x80 != 0 { return indexed(&field) ? .field : .failed }
            if first & 0xe0 != 0x20 { return literal(first, &field) ? .field : .failed }
            guard resize() else { return .failed }
        }
        return .end
    }

    /// RFC 7541 section 6.1.
    @inline(__always)
    private mutating func indexed(_ field: inout Field) -> Bool {
        guard let index = integer(7), index > 0, !mustShrink else { return false }
        mayResize = false
        field.neverIndexed = false
        return find(index, &field)
    }

    @inline(__always)
    private func find(_ index: Int, _ field: inout Field) -> Bool {
        if index <= HPACKStaticTable.count {
            field.name = fixed[index &- 1].name
            field.value = fixed[index &- 1].value
            field.known = fixed[index &- 1].known
            return true
        }
        let age = index &- HPACKStaticTable.count &- 1
        guard age < table.count else { return false }
        let entry = table[age]
        field.name = table.name(entry)
        field.value = table.value(entry)
        field.known = FieldName(rawValue: UInt8(truncatingIfNeeded: entry.known)) ?? .other
        return true
    }

    /// RFC 7541 section 6.2.
    private mutating func literal(_ first: UInt8, _ field: inout Field) -> Bool {
        guard !mustShrink else { return false }
        mayResize = false
        scratchUsed = 0
        let isKept = first & 0x40 != 0
        guard let index = integer(isKept ? 6 : 4) else { return false }
        if index > 0 {
            guard find(index, &field) else { return false }
            // What is put into the table must not be in it.
            if isKept, index > HPACKStaticTable.count { field.name = copied(field.name) }
        } else {
            guard string(&field.name) else { return false }
            field.known = recognise(field.name)
        }
        guard string(&field.value) else { return false }
        field.neverIndexed = first & 0xf0 == 0x10
        if isKept {
            table.insert(field.name, field.value, known: UInt16(field.known.rawValue), keepsName: true, hash: 0)
        }
        return true
    }

    @inline(__always)
    private func recognise(_ name: UnsafeRawBufferPointer) -> FieldName {
        guard let text = name.baseAddress else { return .other }
        let known = names.recognise(text, name.count)
        return known != .other && FieldNameIndex.isLowerCase(text, name.count) ? known : .other
    }

    private mutating func copied(_ text: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        let place = scratch + scratchUsed
        if let start = text.baseAddress { place.copyMemory(from: start, byteCount: text.count) }
        scratchUsed &+= text.count
        return UnsafeRawBufferPointer(start: place, count: text.count)
    }

    /// RFC 7541 section 6.3: at the beginning of a block, and no more than we allow.
    @inline(never)
    private mutating func resize() -> Bool {
        guard mayResize, let limit = integer(5), limit <= allowed else { return false }
        table.setLimit(limit)
        mustShrink = false
        return true
    }

    /// RFC 7541 section 5.2.
    @inline(__always)
    private mutating func string(_ text: inout UnsafeRawBufferPointer) -> Bool {
        guard left > 0 else { return false }
        let isCoded = position.load(as: UInt8.self) & 0x80 != 0
        guard let count = integer(7), count <= left else { return false }
        let source = UnsafeRawBufferPointer(start: position, count: count)
        position += count
        left &-= count
        guard isCoded else {
            text = source
            return true
        }
        let place = scratch + scratchUsed
        let length = huffman.decode(source, into: place)
        guard length >= 0 else { return false }
        scratchUsed &+= length
        text = UnsafeRawBufferPointer(start: place, count: length)
        return true
    }

    /// RFC 7541 section 5.1.
    ///
    /// - Parameter bits: Of the first byte.
    /// - Returns: `nil` if the block ends within it, or it is larger than anything that we count.
    @inline(__always)
    private mutating func integer(_ bits: Int) -> Int? {
        let most = 1 &<< bits &- 1
        let first = Int(position.load(as: UInt8.self)) & most
        position += 1
        left &-= 1
        return first < most ? first : longInteger(most)
    }

    @inline(never)
    private mutating func longInteger(_ first: Int) -> Int? {
        var value = first
        var shift = 0
        while left > 0, shift <= 28 {
            let byte = position.load(as: UInt8.self)
            position += 1
            left &-= 1
            value &+= Int(byte & 0x7f) &<< shift
            if byte & 0x80 == 0 { return value }
            shift &+= 7
        }
        return nil
    }
}

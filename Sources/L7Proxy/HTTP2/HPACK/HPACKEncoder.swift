// SPDX-License-Identifier: Apache-2.0

/// Writes header blocks of one direction of a connection (RFC 7541).
///
/// A field enters the table the second time that it comes: what every request has anew, an id or a time, costs the others
/// nothing. Strings are written as they are; see ``HPACKHuffman``.
struct HPACKEncoder: ~Copyable {
    private var table: HPACKTable
    private let fixed: UnsafePointer<HPACKStaticTable.Entry>
    private let pool: Unmanaged<HTTP2MemoryPool>
    /// What we use at most, whatever the peer allows.
    private let own: Int
    /// The smallest limit since the last block, if the peer has to be told of one (RFC 7541 section 4.2).
    private var smallest: Int?

    /// Hashes of fields that came lately, in pairs of which the newer is first.
    private var seen: UnsafeMutablePointer<UInt32>?
    private static let pairs = 16

    init(limit: Int, pool: Unmanaged<HTTP2MemoryPool>) {
        self.pool = pool
        own = limit
        let first = min(limit, HPACKDecoder.defaultLimit)
        table = HPACKTable(limit: first, pool: pool)
        fixed = HPACKStaticTable.shared.entries
        smallest = first < HPACKDecoder.defaultLimit ? first : nil
    }

    deinit { pool._withUnsafeGuaranteedRef { $0.deallocate(UnsafeMutableRawPointer(seen)) } }

    /// The peer's SETTINGS_HEADER_TABLE_SIZE.
    mutating func setPeerLimit(_ limit: UInt32) {
        let limit = min(Int(limit), own)
        guard limit != table.limit else { return }
        smallest = min(smallest ?? limit, limit)
        table.setLimit(limit)
    }

    /// Bytes that the beginning of a block takes at most.
    static let beginBound = 12

    /// Bytes that a field takes at most.
    @inline(__always)
    static func bound(_ line: HTTP2FieldLine) -> Int { line.name.count &+ line.value.count &+ 14 }

    /// Begins a block at `place`. - Returns: Where it goes on.
    @inline(__always)
    mutating func begin(at place: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer {
        smallest == nil ? place : writeLimit(place)
    }

    @inline(never)
    private mutating func writeLimit(_ place: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer {
        var place = place
        if let smallest, smallest < table.limit { place = Self.write(smallest, 5, 0x20, place) }
        smallest = nil
        return Self.write(table.limit, 5, 0x20, place)
    }

    /// Writes a field at `place`. - Returns: What follows.
    mutating func write(_ line: HTTP2FieldLine, at place: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer {
        // What came as such a literal goes as one, even if the static table has it.
        guard !line.neverIndexed else { return literal(line, 4, 0x10, place) }
        if let index = fixedIndex(line) {
            place.storeBytes(of: 0x80 | index, as: UInt8.self)
            return place + 1
        }
        // One that would take nearly all of the table is not put into it.
        let counted = line.name.count &+ line.value.count &+ HPACKTable.overhead
        guard counted &* 4 <= table.limit &* 3 else { return literal(line, 4, 0, place) }
        let hash = Self.hash(line)
        if let age = age(of: line, hash) {
            return Self.write(HPACKStaticTable.count &+ 1 &+ age, 7, 0x80, place)
        }
        guard cameLately(hash) else { return literal(line, 4, 0, place) }
        let end = literal(line, 6, 0x40, place)
        // Its name is in lower case where it was just written.
        let name =
            line.key == 0
            ? UnsafeRawBufferPointer(
                start: end - line.value.count - Self.lengthBytes(line.value.count) - line.name.count,
                count: line.name.count)
            : line.name
        table.insert(name, line.value, known: line.key, keepsName: line.key == 0, hash: hash)
        return end
    }

    /// The entry of the static table that is the whole field.
    @inline(__always)
    private func fixedIndex(_ line: HTTP2FieldLine) -> UInt8? {
        guard line.key != 0, line.key <= UInt16(HPACKStaticTable.lastValued) else { return nil }
        let first = UInt8(truncatingIfNeeded: line.key)
        let count: UInt8
        switch first {
        case HPACKStaticTable.method, HPACKStaticTable.path, HPACKStaticTable.scheme: count = 2
        case HPACKStaticTable.status: count = 7
        case HPACKStaticTable.lastValued: count = 1
        default: return nil
        }
        for index in first..<(first &+ count) where ASCII.isSame(line.value, fixed[Int(index) &- 1].value) {
            return index
        }
        return nil
    }

    /// How old the entry is that is the whole field.
    @inline(__always)
    private func age(of line: HTTP2FieldLine, _ hash: UInt32) -> Int? {
        var from = 0
        while let place = table.place(of: hash, from: from) {
            let age = table.age(ofPlace: place)
            let entry = table[age]
            if entry.known == line.key, ASCII.isSame(table.value(entry), line.value),
                line.key != 0 || Self.isLowerCase(table.name(entry), of: line.name)
            {
                return age
            }
            from = place &+ 1
        }
        return nil
    }

    /// Whether it was asked for lately; now it was.
    private mutating func cameLately(_ hash: UInt32) -> Bool {
        if seen == nil {
            let memory = pool._withUnsafeGuaranteedRef { $0.allocate(Self.pairs * 2 * 4) }
            seen = memory.bindMemory(to: UInt32.self, capacity: Self.pairs * 2)
            seen?.initialize(repeating: 0, count: Self.pairs * 2)
        }
        guard let seen else { return false }
        let pair = seen + Int(hash &>> 28) &* 2
        if pair[0] == hash || pair[1] == hash { return true }
        pair[1] = pair[0]
        pair[0] = hash
        return false
    }

    // MARK: Writing

    /// RFC 7541 section 6.2.
    private func literal(
        _ line: HTTP2FieldLine, _ bits: Int, _ pattern: UInt8, _ place: UnsafeMutableRawPointer
    ) -> UnsafeMutableRawPointer {
        var place = place
        if line.key != 0, line.key <= UInt16(HPACKStaticTable.count) {
            place = Self.write(Int(line.key), bits, pattern, place)
        } else {
            place.storeBytes(of: pattern, as: UInt8.self)
            place = Self.write(line.name.count, 7, 0, place + 1)
            if line.key == 0 {
                Self.copyLowerCase(line.name, to: place)
            } else if let start = line.name.baseAddress {
                place.copyMemory(from: start, byteCount: line.name.count)
            }
            place += line.name.count
        }
        place = Self.write(line.value.count, 7, 0, place)
        if let start = line.value.baseAddress { place.copyMemory(from: start, byteCount: line.value.count) }
        return place + line.value.count
    }

    /// RFC 7541 section 5.1.
    @inline(__always)
    private static func write(
        _ number: Int, _ bits: Int, _ pattern: UInt8, _ place: UnsafeMutableRawPointer
    ) -> UnsafeMutableRawPointer {
        let most = 1 &<< bits &- 1
        guard number >= most else {
            place.storeBytes(of: pattern | UInt8(truncatingIfNeeded: number), as: UInt8.self)
            return place + 1
        }
        return writeLong(number, most, pattern, place)
    }

    @inline(never)
    private static func writeLong(
        _ number: Int, _ most: Int, _ pattern: UInt8, _ place: UnsafeMutableRawPointer
    ) -> UnsafeMutableRawPointer {
        place.storeBytes(of: pattern | UInt8(truncatingIfNeeded: most), as: UInt8.self)
        var place = place + 1
        var rest = number &- most
        while rest >= 0x80 {
            place.storeBytes(of: UInt8(truncatingIfNeeded: rest) | 0x80, as: UInt8.self)
            place += 1
            rest = rest &>> 7
        }
        place.storeBytes(of: UInt8(truncatingIfNeeded: rest), as: UInt8.self)
        return place + 1
    }

    /// Of a string's length.
    private static func lengthBytes(_ count: Int) -> Int {
        var (bytes, rest) = (1, count &- 127)
        while rest >= 0 {
            bytes &+= 1
            rest = rest < 0x80 ? -1 : rest &>> 7
        }
        return bytes
    }
}

// MARK: - Names in any case

extension HPACKEncoder {
    /// RFC 9113 section 8.2.1: names are sent in lower case.
    private static func copyLowerCase(_ name: UnsafeRawBufferPointer, to place: UnsafeMutableRawPointer) {
        for offset in 0..<name.count {
            (place + offset).storeBytes(of: ASCII.lowercased(name[offset]), as: UInt8.self)
        }
    }

    private static func isLowerCase(_ text: UnsafeRawBufferPointer, of name: UnsafeRawBufferPointer) -> Bool {
        guard text.count == name.count else { return false }
        for offset in 0..<text.count where text[offset] != ASCII.lowercased(name[offset]) { return false }
        return true
    }

    /// Not 0. The case of letters in names does not matter.
    @inline(__always)
    private static func hash(_ line: HTTP2FieldLine) -> UInt32 {
        var hash = UInt64(line.key) &* multiplier
        if line.key == 0 { hash = mix(line.name, 0x2020_2020_2020_2020, hash) }
        hash = mix(line.value, 0, hash)
        hash ^= hash &>> 29
        return UInt32(truncatingIfNeeded: (hash &* multiplier) &>> 32) | 1
    }

    private static let multiplier: UInt64 = 0x9e37_79b9_7f4a_7c15

    @inline(__always)
    private static func mix(_ text: UnsafeRawBufferPointer, _ mask: UInt64, _ seed: UInt64) -> UInt64 {
        var hash = seed ^ UInt64(truncatingIfNeeded: text.count)
        guard let start = text.baseAddress else { return hash &* multiplier }
        var offset = 0
        while offset &+ 8 <= text.count {
            hash = (hash ^ ((start + offset).loadUnaligned(as: UInt64.self) | mask)) &* multiplier
            hash ^= hash &>> 32
            offset &+= 8
        }
        var rest: UInt64 = 0
        while offset < text.count {
            rest = rest &<< 8 | UInt64((start + offset).load(as: UInt8.self))
            offset &+= 1
        }
        return (hash ^ (rest | mask)) &* multiplier
    }
}

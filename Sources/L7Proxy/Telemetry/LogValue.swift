// SPDX-License-Identifier: Apache-2.0

/// Appends values to a line of a log so that they cannot be taken for anything else.
///
/// What a client sends may hold quotes, line ends, terminal sequences and bytes that are no UTF-8. In both forms a line
/// is printable UTF-8 without a line end inside, and a value ends where it says.
struct LogValue {
    /// Bytes appended so far.
    private(set) var count = 0
    private let buffer: UnsafeMutableRawBufferPointer
    /// Bytes kept free for the end of the line.
    private let reserve: Int

    init(_ buffer: UnsafeMutableRawBufferPointer, reserve: Int) {
        self.buffer = buffer
        self.reserve = reserve
    }

    /// - Returns: Whether there was room.
    @inline(__always)
    private mutating func append(_ byte: UInt8, _ limit: Int) -> Bool {
        guard count < limit else { return false }
        buffer[count] = byte
        count &+= 1
        return true
    }

    /// Takes back what was appended since `count` was `earlier`.
    mutating func cut(to earlier: Int) { count = earlier }

    /// Appends text that is known to be printable ASCII without quotes.
    mutating func append(_ text: StaticString, useReserve: Bool = false) -> Bool {
        let limit = buffer.count - (useReserve ? 0 : reserve)
        let length = text.utf8CodeUnitCount
        guard limit - count >= length else { return false }
        for index in 0..<length { buffer[count + index] = text.utf8Start[index] }
        count += length
        return true
    }

    mutating func append(decimal number: UInt64) -> Bool {
        var digits = (UInt64(0), UInt64(0), UInt32(0))
        return withUnsafeMutableBytes(of: &digits) { digits in
            var first = digits.count
            var rest = number
            repeat {
                first -= 1
                digits[first] = UInt8(truncatingIfNeeded: rest % 10) + 0x30
                rest /= 10
            } while rest > 0
            guard buffer.count - reserve - count >= digits.count - first else { return false }
            for index in first..<digits.count { _ = append(digits[index], buffer.count) }
            return true
        }
    }

    /// Appends a quoted string, escaped as JSON has it (RFC 8259 section 7), which logfmt's readers understand too.
    ///
    /// - Parameter limit: Bytes of `bytes` that are taken at most; a longer value ends in `…`, also one that does not fit.
    /// - Returns: Whether even the quotes did not fit.
    mutating func append(quoted bytes: UnsafeRawBufferPointer, limit: Int) -> Bool {
        let begin = count
        // The mark of three bytes and the quote must always fit behind what was taken.
        let room = buffer.count - reserve - 4
        guard room > count else { return false }
        _ = append(0x22, room)
        var index = 0
        var isCut = false
        while index < bytes.count {
            if index >= limit {
                isCut = true
                break
            }
            let length = Self.scalarLength(bytes, index)
            let before = count
            guard append(scalar: bytes, index, length, room) else {
                count = before
                isCut = true
                break
            }
            index += max(1, length)
        }
        if isCut {
            // U+2026
            let end = buffer.count - reserve
            _ = append(0xe2, end) && append(0x80, end) && append(0xa6, end)
        }
        guard append(0x22, buffer.count - reserve) else {
            count = begin
            return false
        }
        return true
    }

    /// - Parameter length: 0: the byte begins no character.
    private mutating func append(
        scalar bytes: UnsafeRawBufferPointer, _ index: Int, _ length: Int, _ room: Int
    ) -> Bool {
        let byte = bytes[index]
        if length == 0 {
            // As if the byte were a character of Latin-1, which says what was sent and is valid in any reader.
            return escape(byte, room)
        }
        if length == 1 {
            switch byte {
            case 0x22, 0x5c: return append(0x5c, room) && append(byte, room)
            case 0..<0x20, 0x7f: return escape(byte, room)
            default: return append(byte, room)
            }
        }
        // U+0080...U+009F are controls for terminals, U+2028 and U+2029 line ends, U+202A...U+202E and U+2066...U+2069
        // turn the direction of what follows.
        if length == 2, byte == 0xc2, bytes[index + 1] < 0xa0 { return escape(bytes[index + 1], room) }
        if length == 3, byte == 0xe2 {
            let low = UInt16(bytes[index + 1] & 0x3f) << 6 | UInt16(bytes[index + 2] & 0x3f) | 0x2000
            if (0x2028...0x202e).contains(low) || (0x2066...0x2069).contains(low) {
                return escape(UInt8(low >> 8), UInt8(truncatingIfNeeded: low), room)
            }
        }
        guard room - count >= length else { return false }
        for offset in 0..<length { _ = append(bytes[index + offset], room) }
        return true
    }

    private mutating func escape(_ byte: UInt8, _ room: Int) -> Bool { escape(0, byte, room) }

    private mutating func escape(_ high: UInt8, _ low: UInt8, _ room: Int) -> Bool {
        guard room - count >= 6 else { return false }
        return append(0x5c, room) && append(0x75, room) && append(digit: high >> 4, room)
            && append(digit: high & 0xf, room) && append(digit: low >> 4, room) && append(digit: low & 0xf, room)
    }

    private mutating func append(digit: UInt8, _ room: Int) -> Bool {
        append(digit < 10 ? digit + 0x30 : digit + 0x57, room)
    }

    /// The length of the character that begins at `index`; 0 if none does (RFC 3629 section 4).
    private static func scalarLength(_ bytes: UnsafeRawBufferPointer, _ index: Int) -> Int {
        let first = bytes[index]
        if first < 0x80 { return 1 }
        let length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2
        guard first >= 0xc2, first < 0xf5, index + length <= bytes.count else { return 0 }
        let second = bytes[index + 1]
        let lowest: UInt8 = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80
        let highest: UInt8 = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf
        guard second >= lowest, second <= highest else { return 0 }
        for offset in 2..<length where bytes[index + offset] & 0xc0 != 0x80 { return 0 }
        return length
    }
}

// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// The bytes and classes of bytes of HTTP's grammar (RFC 9110 section 5.6, RFC 3986 appendix A).
///
/// A class is a bit mask of the 128 ASCII characters, compiled into two constants.
enum ASCII {
    static let tab: UInt8 = 0x09
    static let lineFeed: UInt8 = 0x0a
    static let carriageReturn: UInt8 = 0x0d
    static let space: UInt8 = 0x20
    static let colon: UInt8 = 0x3a
    static let comma: UInt8 = 0x2c
    static let semicolon: UInt8 = 0x3b
    static let slash: UInt8 = 0x2f
    static let backslash: UInt8 = 0x5c
    static let questionMark: UInt8 = 0x3f
    static let percent: UInt8 = 0x25
    static let asterisk: UInt8 = 0x2a
    static let at: UInt8 = 0x40

    /// A character of a `token`.
    @inline(__always)
    static func isToken(_ byte: UInt8) -> Bool { HTTPToken.isCharacter(byte) }

    /// Characters of a `reg-name` (RFC 3986 section 3.2.2), `%` included: unreserved, sub-delims, percent.
    @inline(__always)
    static func isRegName(_ byte: UInt8) -> Bool { member(byte, 0x2bff_7ff2_0000_0000, 0x47ff_fffe_87ff_fffe) }

    /// The 128-bit mask `high:low` says which ASCII characters are members; no other byte is.
    @inline(__always)
    private static func member(_ byte: UInt8, _ low: UInt64, _ high: UInt64) -> Bool {
        let word = byte < 64 ? low : high
        return byte < 128 && (word &>> UInt64(byte & 63)) & 1 == 1
    }

    @inline(__always)
    static func isDigit(_ byte: UInt8) -> Bool { byte &- 0x30 < 10 }

    /// SP or HTAB, of which optional whitespace is made (RFC 9110 section 5.6.3).
    @inline(__always)
    static func isBlank(_ byte: UInt8) -> Bool { byte == space || byte == tab }

    /// The value of a hexadecimal digit in either case, or `nil`.
    @inline(__always)
    static func hexValue(_ byte: UInt8) -> UInt8? {
        if isDigit(byte) { return byte &- 0x30 }
        let letter = (byte | 0x20) &- 0x61
        return letter < 6 ? letter &+ 10 : nil
    }

    @inline(__always)
    static func lowercased(_ byte: UInt8) -> UInt8 { byte &- 0x41 < 26 ? byte | 0x20 : byte }

    /// Whether both are the same text, letters of either case taken as equal.
    static func equalIgnoringCase(_ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer) -> Bool {
        guard left.count == right.count else { return false }
        for index in 0..<left.count where lowercased(left[index]) != lowercased(right[index]) { return false }
        return true
    }

    /// The bytes of a text of the program's.
    @inline(__always)
    static func bytes(of text: StaticString) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount)
    }

    /// Whether both are the same bytes.
    @inline(__always)
    static func isSame(_ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer) -> Bool {
        let count = left.count
        guard count == right.count else { return false }
        guard let one = left.baseAddress, let other = right.baseAddress else { return true }
        var offset = 0
        while offset &+ 8 <= count {
            if (one + offset).loadUnaligned(as: UInt64.self) != (other + offset).loadUnaligned(as: UInt64.self) {
                return false
            }
            offset &+= 8
        }
        while offset < count {
            if (one + offset).load(as: UInt8.self) != (other + offset).load(as: UInt8.self) { return false }
            offset &+= 1
        }
        return true
    }

    /// Whether `bytes` is `text`, which must be in lower case; letters of `bytes` may be of either case.
    @inline(__always)
    static func equal(_ bytes: UnsafeRawBufferPointer, _ text: StaticString) -> Bool {
        let count = text.utf8CodeUnitCount
        guard bytes.count == count else { return false }
        let start = text.utf8Start
        for index in 0..<count where lowercased(bytes[index]) != start[index] { return false }
        return true
    }

    /// Whether `bytes` is a `token` (RFC 9110 section 5.6.2), which is never empty.
    static func isToken(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard !bytes.isEmpty else { return false }
        for byte in bytes where !isToken(byte) { return false }
        return true
    }

    /// `bytes` without the spaces and tabs at both ends.
    @inline(__always)
    static func trimmed(_ bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        var start = 0
        var end = bytes.count
        while start < end, isBlank(bytes[start]) { start &+= 1 }
        while end > start, isBlank(bytes[end &- 1]) { end &-= 1 }
        return UnsafeRawBufferPointer(rebasing: bytes[start..<end])
    }
}

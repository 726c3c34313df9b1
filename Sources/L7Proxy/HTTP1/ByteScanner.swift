// SPDX-License-Identifier: Apache-2.0

/// Searches that look at eight bytes at a time, as one word: Swift has no vector compare that yields a bit mask, and
/// lanes taken one by one are slower than this. Bounds are offsets from `base`.
///
/// A test sets the high bit of each byte that meets it. Sums never carry from one byte into the next, because they are
/// made of the low seven bits; where a difference borrows, it does so only above the first byte that meets the test, and
/// only the first one is asked for.
enum ByteScanner {
    private static let low: UInt64 = 0x7f7f_7f7f_7f7f_7f7f
    private static let high: UInt64 = 0x8080_8080_8080_8080
    private static let ones: UInt64 = 0x0101_0101_0101_0101

    /// The first byte in `start..<end` that may not be inside a line: a control character other than HTAB (RFC 9110
    /// section 5.5), which CR and LF are too. Nothing beyond `end` is read.
    ///
    /// - Returns: Its offset, or `end`.
    @inline(__always)
    static func firstControl(_ base: UnsafeRawPointer, from start: Int, to end: Int) -> Int {
        var offset = start
        while true {
            while offset &+ 16 <= end {
                let first = controls(word(base, offset))
                let second = controls(word(base, offset &+ 8))
                if first | second == 0 {
                    offset &+= 16
                    continue
                }
                offset &+= first != 0 ? place(first) : 8 &+ place(second)
                break
            }
            // At a hit, or less than two words before the end.
            while offset < end {
                let byte = (base + offset).load(as: UInt8.self)
                if byte < 0x20 && byte != ASCII.tab || byte == 0x7f { return offset }
                offset &+= 1
                // HTAB is no hit after all; words again.
                if byte == ASCII.tab, offset &+ 16 <= end { break }
            }
            if offset >= end { return end }
        }
    }

    /// The first `:` in `start..<end`, or `end`. Nothing beyond `end` is read.
    @inline(__always)
    static func firstColon(_ base: UnsafeRawPointer, from start: Int, to end: Int) -> Int {
        var offset = start
        while offset &+ 8 <= end {
            let hit = equal(word(base, offset), ASCII.colon) & high
            if hit != 0 { return offset &+ place(hit) }
            offset &+= 8
        }
        while offset < end, (base + offset).load(as: UInt8.self) != ASCII.colon { offset &+= 1 }
        return offset
    }

    /// The first byte in `start..<end` that a target's path or query may not hold or that means something there:
    /// anything but visible ASCII, and `"`, `#`, `<`, `>`, `\`, `%`, `?`.
    ///
    /// - Precondition: Seven bytes after `end` can be read too; a version follows each target.
    /// - Returns: Its offset, or `end`.
    @inline(__always)
    static func firstNotable(_ base: UnsafeRawPointer, from start: Int, to end: Int) -> Int {
        var offset = start
        while offset < end {
            let bytes = word(base, offset)
            // 0x22 and 0x23 are neighbours, as are 0x3e and 0x3f.
            let paired = bytes | ones
            let marks =
                equal(paired, 0x23) | equal(paired, 0x3f) | equal(bytes, ASCII.percent) | equal(bytes, 0x3c)
                | equal(bytes, ASCII.backslash)
            let sevenBits = bytes & low
            let invisible = ~(sevenBits &+ ones &* (0x80 - 0x21)) | (sevenBits &+ ones) | bytes
            let hit = (marks | invisible) & high
            if hit != 0 { return min(offset &+ place(hit), end) }
            offset &+= 8
        }
        return end
    }

    /// The first byte in `start..<end` that is neither a letter, a digit, `.` nor `-`, of which nearly all hosts are
    /// made. Nothing beyond `end` is read.
    ///
    /// - Returns: Its offset, or `end`.
    @inline(__always)
    static func firstUnusualInHost(_ base: UnsafeRawPointer, from start: Int, to end: Int) -> Int {
        var offset = start
        while offset &+ 8 <= end {
            let bytes = word(base, offset)
            let letters = (bytes | ones &* 0x20) & low
            let isLetter = (letters &+ ones &* (0x80 - 0x61)) & ~(letters &+ ones &* (0x80 - 0x7b))
            // `-`, `.`, `/` and the digits are neighbours.
            let others = bytes & low
            let difference = bytes ^ ones &* 0x2f
            let isNotSlash = ((difference & low) &+ low) | difference
            let isOther = (others &+ ones &* (0x80 - 0x2d)) & ~(others &+ ones &* (0x80 - 0x3a)) & isNotSlash
            let hit = (~(isLetter | isOther) | bytes) & high
            if hit != 0 { return offset &+ place(hit) }
            offset &+= 8
        }
        while offset < end {
            let byte = (base + offset).load(as: UInt8.self)
            guard (byte | 0x20) &- 0x61 < 26 || byte &- 0x2d < 13 && byte != ASCII.slash else { return offset }
            offset &+= 1
        }
        return end
    }

    /// Eight bytes, the first one least significant.
    @inline(__always)
    private static func word(_ base: UnsafeRawPointer, _ offset: Int) -> UInt64 {
        UInt64(littleEndian: (base + offset).loadUnaligned(as: UInt64.self))
    }

    /// Marks 0x00...0x1f and 0x7f, exactly.
    @inline(__always)
    private static func controls(_ bytes: UInt64) -> UInt64 {
        let sevenBits = bytes & low
        return (~(sevenBits &+ ones &* (0x80 - 0x20)) | (sevenBits &+ ones)) & ~bytes & high
    }

    /// Marks bytes that are `value`; above the first one, others may be marked too. Other bits than the high ones are
    /// of no meaning.
    @inline(__always)
    private static func equal(_ bytes: UInt64, _ value: UInt8) -> UInt64 {
        let difference = bytes ^ ones &* UInt64(value)
        return (difference &- ones) & ~difference
    }

    /// Which byte has the lowest mark.
    @inline(__always)
    private static func place(_ marks: UInt64) -> Int { marks.trailingZeroBitCount &>> 3 }
}

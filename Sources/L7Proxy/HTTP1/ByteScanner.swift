// SPDX-License-Identifier: Apache-2.0

/// Searches that look at sixteen bytes at a time. Bounds are offsets from `base`; nothing beyond `end` is read.
enum ByteScanner {
    private typealias Vector = SIMD16<UInt8>

    /// The first byte in `start..<end` that may not be inside a line: a control character other than HTAB (RFC 9110
    /// section 5.5), which CR and LF are too.
    ///
    /// - Returns: Its offset, or `end`.
    @inline(__always)
    static func firstControl(_ base: UnsafeRawPointer, from start: Int, to end: Int) -> Int {
        var offset = start
        while offset &+ 16 <= end {
            let bytes = (base + offset).loadUnaligned(as: Vector.self)
            let hit = ((bytes .< 0x20) .& (bytes .!= 0x09)) .| (bytes .== 0x7f)
            let place = first(hit)
            if place < 16 { return offset &+ place }
            offset &+= 16
        }
        while offset < end {
            let byte = (base + offset).load(as: UInt8.self)
            if byte < 0x20 && byte != 0x09 || byte == 0x7f { return offset }
            offset &+= 1
        }
        return end
    }

    /// The first `:` in `start..<end`, or `end`.
    @inline(__always)
    static func firstColon(_ base: UnsafeRawPointer, from start: Int, to end: Int) -> Int {
        var offset = start
        while offset &+ 16 <= end {
            let place = first((base + offset).loadUnaligned(as: Vector.self) .== ASCII.colon)
            if place < 16 { return offset &+ place }
            offset &+= 16
        }
        while offset < end {
            if (base + offset).load(as: UInt8.self) == ASCII.colon { return offset }
            offset &+= 1
        }
        return end
    }

    /// The first byte in `start..<end` that a target's path or query may not hold or that means something there:
    /// anything but visible ASCII, and `"`, `#`, `<`, `>`, `\`, `%`, `?`.
    ///
    /// - Returns: Its offset, or `end`.
    @inline(__always)
    static func firstNotable(_ base: UnsafeRawPointer, from start: Int, to end: Int) -> Int {
        var offset = start
        while offset &+ 16 <= end {
            let bytes = (base + offset).loadUnaligned(as: Vector.self)
            // 0x22 and 0x23 are neighbours, as are 0x3e and 0x3f.
            let quoteOrHash = (bytes | 0x01) .== 0x23
            let greaterOrQuestion = (bytes | 0x01) .== 0x3f
            let others = (bytes .== 0x25) .| (bytes .== 0x3c) .| (bytes .== 0x5c)
            let invisible = (bytes .< 0x21) .| (bytes .> 0x7e)
            let place = first(quoteOrHash .| greaterOrQuestion .| others .| invisible)
            if place < 16 { return offset &+ place }
            offset &+= 16
        }
        while offset < end {
            switch (base + offset).load(as: UInt8.self) {
            case 0x00..<0x21, 0x22, 0x23, 0x25, 0x3c, 0x3e, 0x3f, 0x5c, 0x7f...0xff: return offset
            default: offset &+= 1
            }
        }
        return end
    }

    /// The place of the first lane that is set, or 16.
    @inline(__always)
    private static func first(_ hit: SIMDMask<SIMD16<Int8>>) -> Int {
        let words = unsafeBitCast(hit, to: SIMD2<UInt64>.self)
        // One test for the common case of none.
        if words.x | words.y == 0 { return 16 }
        return words.x != 0 ? words.x.trailingZeroBitCount &>> 3 : 8 &+ words.y.trailingZeroBitCount &>> 3
    }
}

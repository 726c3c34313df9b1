// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// Writes `192.0.2.1:80` and `[2001:db8::1]:80` (RFC 5952) without an allocation.
struct EndpointText {
    /// `[`, eight groups of four digits with colons, `]:` and five digits.
    static let longest = 47

    private let buffer: UnsafeMutableRawBufferPointer
    private var count = 0

    /// - Parameter buffer: of ``longest`` bytes at least.
    /// - Returns: what was written.
    static func write(
        _ address: IPAddress, _ port: UInt16, into buffer: UnsafeMutableRawBufferPointer
    ) -> UnsafeRawBufferPointer {
        var text = EndpointText(buffer: buffer)
        if address.isIPv4 { text.v4(UInt32(truncatingIfNeeded: address.low)) } else { text.v6(address) }
        text.put(0x3a)
        text.decimal(UInt32(port))
        return UnsafeRawBufferPointer(rebasing: buffer[..<text.count])
    }

    private init(buffer: UnsafeMutableRawBufferPointer) { self.buffer = buffer }

    private mutating func put(_ byte: UInt8) {
        buffer[count] = byte
        count += 1
    }

    private mutating func decimal(_ number: UInt32) {
        if number >= 10 { decimal(number / 10) }
        put(0x30 + UInt8(number % 10))
    }

    private mutating func hexadecimal(_ number: UInt16) {
        if number >= 16 { hexadecimal(number / 16) }
        let digit = UInt8(number % 16)
        put(digit < 10 ? 0x30 + digit : 0x57 + digit)
    }

    private mutating func v4(_ address: UInt32) {
        for shift: UInt32 in [24, 16, 8, 0] {
            if shift < 24 { put(0x2e) }
            decimal(address >> shift & 0xff)
        }
    }

    private static func group(_ address: IPAddress, _ index: Int) -> UInt16 {
        let half = index < 4 ? address.high : address.low
        return UInt16(truncatingIfNeeded: half >> UInt64(48 - 16 * (index & 3)))
    }

    private mutating func v6(_ address: IPAddress) {
        // The longest run of zeros, the first of equals, is left out; not a single one.
        var (best, length, index) = (8, 1, 0)
        while index < 8 {
            var end = index
            while end < 8, Self.group(address, end) == 0 { end += 1 }
            if end - index > length { (best, length) = (index, end - index) }
            index = max(end, index + 1)
        }
        put(0x5b)
        index = 0
        while index < 8 {
            if index == best {
                put(0x3a)
                put(0x3a)
                index += length
                continue
            }
            if index > 0, index != best + length || best == 8 { put(0x3a) }
            hexadecimal(Self.group(address, index))
            index += 1
        }
        put(0x5d)
    }
}

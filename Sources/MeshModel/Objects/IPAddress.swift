// SPDX-License-Identifier: Apache-2.0

/// An IPv4 or IPv6 address in one form: 128 bits, IPv4 as `::ffff:a.b.c.d` (RFC 4291 section 2.5.5.2).
///
/// An IPv4-mapped IPv6 address and the IPv4 address in it are the same value, as they are the same
/// destination to the kernel.
public struct IPAddress: Hashable, Sendable, BitwiseCopyable {
    /// The first eight bytes, the first one most significant.
    public let high: UInt64
    /// The last eight bytes, the first one most significant.
    public let low: UInt64

    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// The IPv4 address whose first octet is the most significant byte of `v4`.
    public init(v4: UInt32) {
        self.init(high: 0, low: 0xffff_0000_0000 | UInt64(v4))
    }

    /// - Returns: `nil` unless there are 16 bytes (or 4, for IPv4), in network order.
    public init?(bytes: some Collection<UInt8>) {
        switch bytes.count {
        case 4:
            self.init(v4: bytes.reduce(0) { $0 << 8 | UInt32($1) })
        case 16:
            self.init(
                high: bytes.prefix(8).reduce(0) { $0 << 8 | UInt64($1) },
                low: bytes.suffix(8).reduce(0) { $0 << 8 | UInt64($1) })
        default:
            return nil
        }
    }

    public var isIPv4: Bool { high == 0 && low >> 32 == 0xffff }

    /// 127.0.0.0/8 and ::1.
    public var isLoopback: Bool {
        isIPv4 ? low & 0xff00_0000 == 0x7f00_0000 : high == 0 && low == 1
    }

    /// 0.0.0.0 and ::.
    public var isUnspecified: Bool { high == 0 && (low == 0 || low == 0xffff_0000_0000) }

    /// The 16 bytes in network order.
    public var bytes: [UInt8] {
        (0..<16).map { index in
            let word = index < 8 ? high : low
            return UInt8(truncatingIfNeeded: word >> UInt64(56 - 8 * (index % 8)))
        }
    }

    /// Four 32-bit words whose bytes in memory are in network order, as in `struct mesh_ip`.
    public var networkWords: (UInt32, UInt32, UInt32, UInt32) {
        (
            UInt32(truncatingIfNeeded: high >> 32).bigEndian, UInt32(truncatingIfNeeded: high).bigEndian,
            UInt32(truncatingIfNeeded: low >> 32).bigEndian, UInt32(truncatingIfNeeded: low).bigEndian
        )
    }

    /// The inverse of ``networkWords``.
    public init(networkWords words: (UInt32, UInt32, UInt32, UInt32)) {
        self.init(
            high: UInt64(UInt32(bigEndian: words.0)) << 32 | UInt64(UInt32(bigEndian: words.1)),
            low: UInt64(UInt32(bigEndian: words.2)) << 32 | UInt64(UInt32(bigEndian: words.3)))
    }
}

extension IPAddress: Comparable {
    public static func < (left: Self, right: Self) -> Bool {
        (left.high, left.low) < (right.high, right.low)
    }
}

extension IPAddress: LosslessStringConvertible {
    /// Parses strictly: four decimal octets without leading zeros, or RFC 4291 section 2.2. No zone, no brackets.
    public init?(_ text: String) {
        guard let address = IPAddressParser.parse(Array(text.utf8)) else { return nil }
        self = address
    }

    /// Dotted IPv4, or the canonical IPv6 text of RFC 5952.
    public var description: String {
        if isIPv4 {
            return (0..<4).map { String(low >> UInt64(24 - 8 * $0) & 0xff) }.joined(separator: ".")
        }
        let groups = (0..<8).map { index -> UInt64 in
            (index < 4 ? high : low) >> UInt64(48 - 16 * (index % 4)) & 0xffff
        }
        // RFC 5952 section 4.2: compress the longest run of two or more zero groups, the first of equals.
        var best = 0..<0
        var start = 0
        while start < 8 {
            var end = start
            while end < 8, groups[end] == 0 { end += 1 }
            if end - start >= 2, end - start > best.count { best = start..<end }
            start = max(end, start + 1)
        }
        let hex = { (range: Range<Int>) in range.map { String(groups[$0], radix: 16) }.joined(separator: ":") }
        return best.isEmpty ? hex(0..<8) : "\(hex(0..<best.lowerBound))::\(hex(best.upperBound..<8))"
    }
}

/// Reads the two textual forms of an address.
private enum IPAddressParser {
    static func parse(_ text: [UInt8]) -> IPAddress? {
        text.contains(UInt8(ascii: ":")) ? parseIPv6(text[...]) : parseIPv4(text[...]).map { IPAddress(v4: $0) }
    }

    private static func parseIPv4(_ text: ArraySlice<UInt8>) -> UInt32? {
        let octets = text.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard octets.count == 4 else { return nil }
        var value: UInt32 = 0
        for octet in octets {
            guard (1...3).contains(octet.count), octet.count == 1 || octet.first != UInt8(ascii: "0") else {
                return nil
            }
            var number: UInt32 = 0
            for digit in octet {
                guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(digit) else { return nil }
                number = number * 10 + UInt32(digit - UInt8(ascii: "0"))
            }
            guard number <= 255 else { return nil }
            value = value << 8 | number
        }
        return value
    }

    private static func parseIPv6(_ text: ArraySlice<UInt8>) -> IPAddress? {
        let colon = UInt8(ascii: ":")
        var front: [UInt16] = []
        var back: [UInt16] = []
        var compressed = false
        var rest = text
        if rest.starts(with: [colon, colon]) {
            compressed = true
            rest = rest.dropFirst(2)
        }
        while !rest.isEmpty {
            let end = rest.firstIndex(of: colon) ?? rest.endIndex
            let field = rest[rest.startIndex..<end]
            var groups: [UInt16] = []
            if end == rest.endIndex, field.contains(UInt8(ascii: ".")) {
                guard let v4 = parseIPv4(field) else { return nil }
                groups = [UInt16(v4 >> 16), UInt16(truncatingIfNeeded: v4)]
            } else {
                guard let group = parseGroup(field) else { return nil }
                groups = [group]
            }
            if compressed { back += groups } else { front += groups }
            guard end < rest.endIndex else { break }
            rest = rest[(end + 1)...]
            if rest.first == colon {
                guard !compressed else { return nil }
                compressed = true
                rest = rest.dropFirst()
            } else if rest.isEmpty {
                return nil
            }
        }
        let count = front.count + back.count
        guard compressed ? count <= 7 : count == 8 else { return nil }
        let groups = front + Array(repeating: 0, count: 8 - count) + back
        let word = { (range: ArraySlice<UInt16>) in range.reduce(UInt64(0)) { $0 << 16 | UInt64($1) } }
        return IPAddress(high: word(groups[0..<4]), low: word(groups[4..<8]))
    }

    private static func parseGroup(_ field: ArraySlice<UInt8>) -> UInt16? {
        guard (1...4).contains(field.count) else { return nil }
        var value: UInt16 = 0
        for digit in field {
            let nibble: UInt8
            switch digit {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): nibble = digit - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): nibble = digit - UInt8(ascii: "a") + 10
            case UInt8(ascii: "A")...UInt8(ascii: "F"): nibble = digit - UInt8(ascii: "A") + 10
            default: return nil
            }
            value = value << 4 | UInt16(nibble)
        }
        return value
    }
}

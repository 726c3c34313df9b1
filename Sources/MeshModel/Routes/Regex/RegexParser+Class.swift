// SPDX-License-Identifier: Apache-2.0

/// Escapes and character classes.
extension RegexParser {
    enum Escape {
        case byte(UInt8)
        case set(ByteSet)
    }

    private static let digit = ByteSet(0x30...0x39)
    private static let word = ByteSet(ascii: "abcdefghijklmnopqrstuvwxyz_").ignoringCase.union(digit)
    /// RE2's `\s`, which has no vertical tab.
    private static let space = ByteSet(ascii: "\t\n\u{0C}\r ")

    private static let named: [String: ByteSet] = [
        "alnum": ByteSet(ascii: "abcdefghijklmnopqrstuvwxyz").ignoringCase.union(digit),
        "alpha": ByteSet(ascii: "abcdefghijklmnopqrstuvwxyz").ignoringCase,
        "ascii": ByteSet(0...0x7F), "blank": ByteSet(ascii: "\t "), "cntrl": ByteSet(0...0x1F).union(ByteSet(0x7F)),
        "digit": digit, "graph": ByteSet(0x21...0x7E), "lower": ByteSet(0x61...0x7A), "print": ByteSet(0x20...0x7E),
        "punct": ByteSet(0x21...0x2F).union(ByteSet(0x3A...0x40)).union(ByteSet(0x5B...0x60))
            .union(ByteSet(0x7B...0x7E)),
        "space": ByteSet(ascii: "\t\n\u{0B}\u{0C}\r "), "upper": ByteSet(0x41...0x5A), "word": word,
        "xdigit": digit.union(ByteSet(ascii: "abcdef").ignoringCase),
    ]

    /// What begins with a backslash, inside or outside of a class.
    mutating func escape() throws(RegexError) -> Escape {
        guard offset + 1 < bytes.count else { throw error("a \\ at the end") }
        let byte = bytes[offset + 1]
        let result: Escape
        switch byte {
        case UInt8(ascii: "d"): result = .set(Self.digit)
        case UInt8(ascii: "D"): result = .set(Self.digit.inverted)
        case UInt8(ascii: "w"): result = .set(Self.word)
        case UInt8(ascii: "W"): result = .set(Self.word.inverted)
        case UInt8(ascii: "s"): result = .set(Self.space)
        case UInt8(ascii: "S"): result = .set(Self.space.inverted)
        case UInt8(ascii: "t"): result = .byte(0x09)
        case UInt8(ascii: "n"): result = .byte(0x0A)
        case UInt8(ascii: "v"): result = .byte(0x0B)
        case UInt8(ascii: "f"): result = .byte(0x0C)
        case UInt8(ascii: "r"): result = .byte(0x0D)
        case UInt8(ascii: "x"):
            guard offset + 3 < bytes.count, let high = bytes[offset + 2].hexDigit, let low = bytes[offset + 3].hexDigit
            else { throw error("\\x needs two hexadecimal digits") }
            offset += 2
            result = .byte(high << 4 | low)
        case UInt8(ascii: "b"), UInt8(ascii: "B"): throw error("word boundaries are not supported")
        case UInt8(ascii: "p"), UInt8(ascii: "P"): throw error("Unicode classes are not supported")
        case 0x30...0x39: throw error("backreferences are not supported")
        case 0x41...0x5A, 0x61...0x7A, 0x80...: throw error("an unknown escape")
        default: result = .byte(byte)
        }
        offset += 2
        return result
    }

    /// `[...]`.
    mutating func characterClass(ignoringCase: Bool) throws(RegexError) -> ByteSet {
        let start = offset
        offset += 1
        let isInverted = take("^")
        var set = ByteSet()
        var isFirst = true
        while true {
            guard let byte = next else {
                offset = start
                throw error("a [ without its ]")
            }
            if byte == UInt8(ascii: "]"), !isFirst { break }
            isFirst = false
            set = set.union(try classMember())
        }
        offset += 1
        // The case before the inversion: [^a] without case is neither a nor A.
        if ignoringCase { set = set.ignoringCase }
        return isInverted ? set.inverted : set
    }

    private mutating func classMember() throws(RegexError) -> ByteSet {
        if take("[:") { return try namedClass() }
        let first: UInt8
        switch try classByte() {
        case .set(let set): return set
        case .byte(let byte): first = byte
        }
        // A - before the ] is itself.
        guard offset + 1 < bytes.count, bytes[offset] == UInt8(ascii: "-"), bytes[offset + 1] != UInt8(ascii: "]")
        else { return ByteSet(first) }
        offset += 1
        guard case .byte(let last) = try classByte(), first <= last else {
            throw error("a range of characters that does not ascend")
        }
        return ByteSet(first...last)
    }

    private mutating func classByte() throws(RegexError) -> Escape {
        let byte = bytes[offset]
        if byte == UInt8(ascii: "\\") { return try escape() }
        if byte >= 0x80 { throw error("a class may hold ASCII characters only; use (a|b)") }
        offset += 1
        return .byte(byte)
    }

    private mutating func namedClass() throws(RegexError) -> ByteSet {
        let isInverted = take("^")
        let name = String(decoding: bytes[offset...].prefix { $0 != UInt8(ascii: ":") }, as: UTF8.self)
        guard let set = Self.named[name] else { throw error("an unknown class [:\(name):]") }
        offset += name.utf8.count
        guard take(":]") else { throw error("a [: without its :]") }
        return isInverted ? set.inverted : set
    }
}

extension UInt8 {
    /// The value of a hexadecimal digit in ASCII.
    var hexDigit: UInt8? {
        switch self {
        case 0x30...0x39: self - 0x30
        case 0x41...0x46: self - 0x41 + 10
        case 0x61...0x66: self - 0x61 + 10
        default: nil
        }
    }
}

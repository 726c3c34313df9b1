// SPDX-License-Identifier: Apache-2.0

/// Reads the syntax of ``RegexPattern``.
struct RegexParser {
    private struct Flags {
        /// `i`, for ASCII.
        var ignoresCase = false
        /// `s`: `.` is also a line feed.
        var dotIsAny = false
    }

    /// Groups in groups. Bounds the recursion.
    static let maximumDepth = 100
    /// RE2's limit on a counted repetition.
    static let maximumRepetition = 1000

    let bytes: [UInt8]
    var offset = 0
    private var flags = Flags()
    private var depth = 0

    static func parse(_ text: String) throws(RegexError) -> RegexNode {
        var parser = RegexParser(bytes: Array(text.utf8))
        let node = try parser.alternatives()
        if parser.offset < parser.bytes.count { throw parser.error("a ) without its (") }
        return node
    }

    private init(bytes: [UInt8]) {
        self.bytes = bytes
    }

    func error(_ reason: String) -> RegexError { RegexError(offset: offset, reason: reason) }

    var next: UInt8? { offset < bytes.count ? bytes[offset] : nil }

    mutating func take(_ text: StaticString) -> Bool {
        guard bytes.count - offset >= text.utf8CodeUnitCount else { return false }
        let wanted = UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount)
        guard bytes[offset...].starts(with: wanted) else { return false }
        offset += wanted.count
        return true
    }

    // MARK: - Structure

    private mutating func alternatives() throws(RegexError) -> RegexNode {
        depth += 1
        defer { depth -= 1 }
        guard depth <= Self.maximumDepth else { throw error("more than \(Self.maximumDepth) groups in each other") }
        var choices = [try sequence()]
        while take("|") { choices.append(try sequence()) }
        return choices.count == 1 ? choices[0] : .alternatives(choices)
    }

    private mutating func sequence() throws(RegexError) -> RegexNode {
        var nodes: [RegexNode] = []
        while let byte = next, byte != UInt8(ascii: "|"), byte != UInt8(ascii: ")") {
            guard let atom = try atom() else { continue }
            nodes.append(try repetition(of: atom))
        }
        return nodes.count == 1 ? nodes[0] : nodes.isEmpty ? .empty : .sequence(nodes)
    }

    private mutating func repetition(of atom: RegexNode) throws(RegexError) -> RegexNode {
        guard let (least, most) = try bounds() else { return atom }
        // Lazy or greedy: the language is the same, and only whether the whole matches is asked.
        _ = take("?")
        if let byte = next, "*+?{".utf8.contains(byte) { throw error("a repetition of a repetition") }
        return .repeated(atom, least: least, most: most)
    }

    private mutating func bounds() throws(RegexError) -> (Int, Int?)? {
        if take("*") { return (0, nil) }
        if take("+") { return (1, nil) }
        if take("?") { return (0, 1) }
        guard take("{") else { return nil }
        guard let least = number() else { throw error("a { that begins no repetition; write \\{ for the character") }
        var most: Int? = least
        if take(",") { most = number() }
        guard take("}") else { throw error("a { that begins no repetition; write \\{ for the character") }
        if least > Self.maximumRepetition || (most ?? 0) > Self.maximumRepetition {
            throw error("more than \(Self.maximumRepetition) repetitions")
        }
        if let most, most < least { throw error("a repetition of at least \(least) and at most \(most)") }
        return (least, most)
    }

    private mutating func number() -> Int? {
        let digits = bytes[offset...].prefix { (0x30...0x39).contains($0) }
        guard (1...6).contains(digits.count) else { return nil }
        offset += digits.count
        return digits.reduce(0) { $0 * 10 + Int($1 - 0x30) }
    }

    // MARK: - Atoms

    /// - Returns: `nil` for flags, which are no part of the expression.
    private mutating func atom() throws(RegexError) -> RegexNode? {
        let byte = bytes[offset]
        switch byte {
        case UInt8(ascii: "("): return try group()
        case UInt8(ascii: "["): return .byte(try characterClass(ignoringCase: flags.ignoresCase))
        case UInt8(ascii: "\\"): return try escapedAtom()
        case UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "?"): throw error("nothing to repeat")
        case UInt8(ascii: "{"): throw error("a { that begins no repetition; write \\{ for the character")
        default: break
        }
        offset += 1
        switch byte {
        case UInt8(ascii: "."): return .byte(flags.dotIsAny ? .all : ByteSet(0x0A).inverted)
        case UInt8(ascii: "^"): return .start
        case UInt8(ascii: "$"): return .end
        case 0..<0x80: return literal(byte)
        default:
            // The rest of a character in UTF-8, so that a repetition means the character.
            var nodes = [literal(byte)]
            while let more = next, more & 0xC0 == 0x80 {
                nodes.append(literal(more))
                offset += 1
            }
            return .sequence(nodes)
        }
    }

    private func literal(_ byte: UInt8) -> RegexNode {
        let set = ByteSet(byte)
        return .byte(flags.ignoresCase ? set.ignoringCase : set)
    }

    private mutating func escapedAtom() throws(RegexError) -> RegexNode {
        if take("\\A") { return .start }
        if take("\\z") { return .end }
        switch try escape() {
        case .byte(let byte): return literal(byte)
        case .set(let set): return .byte(set)
        }
    }

    private mutating func group() throws(RegexError) -> RegexNode? {
        let start = offset
        let outer = flags
        offset += 1
        if take("?") {
            if take("P<") || take("<") {
                try groupName()
            } else if let isGroup = try groupFlags(), !isGroup {
                return nil
            }
        }
        let node = try alternatives()
        guard take(")") else {
            offset = start
            throw error("a ( without its )")
        }
        flags = outer
        return node
    }

    private mutating func groupName() throws(RegexError) {
        if let byte = next, "=!".utf8.contains(byte) { throw error("look-behind is not supported") }
        let name = bytes[offset...].prefix { $0 != UInt8(ascii: ">") }
        let isName = name.allSatisfy { byte in
            byte == 0x5F || ByteSet(ascii: "abcdefghijklmnopqrstuvwxyz0123456789").ignoringCase.contains(byte)
        }
        guard !name.isEmpty, isName, offset + name.count < bytes.count else { throw error("not the name of a group") }
        offset += name.count + 1
    }

    /// What follows `(?`: flags for this group, or for the rest of the group around it.
    ///
    /// - Returns: Whether a group follows.
    private mutating func groupFlags() throws(RegexError) -> Bool? {
        if let byte = next, "=!".utf8.contains(byte) { throw error("look-ahead is not supported") }
        var isSet = true
        while let byte = next {
            offset += 1
            switch byte {
            case UInt8(ascii: "i"): flags.ignoresCase = isSet
            case UInt8(ascii: "s"): flags.dotIsAny = isSet
            case UInt8(ascii: "-") where isSet: isSet = false
            case UInt8(ascii: ":"): return true
            case UInt8(ascii: ")"): return false
            default:
                offset -= 1
                throw error("an unknown flag: known are i and s")
            }
        }
        throw error("a ( without its )")
    }
}

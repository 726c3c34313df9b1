// SPDX-License-Identifier: Apache-2.0

/// A set of byte values.
struct ByteSet: Hashable, Sendable {
    private var words: SIMD4<UInt64> = .zero

    static let empty = ByteSet()
    static let all = ByteSet(0...255)

    init() {}

    init(_ range: ClosedRange<UInt8>) { insert(range) }

    init(_ byte: UInt8) { insert(byte...byte) }

    /// The bytes of ASCII characters.
    init(ascii text: String) {
        for byte in text.utf8 { insert(byte...byte) }
    }

    mutating func insert(_ range: ClosedRange<UInt8>) {
        for byte in range { words[Int(byte >> 6)] |= 1 << UInt64(byte & 63) }
    }

    func contains(_ byte: UInt8) -> Bool { words[Int(byte >> 6)] >> UInt64(byte & 63) & 1 == 1 }

    var inverted: ByteSet {
        var set = self
        set.words = ~words
        return set
    }

    func union(_ other: ByteSet) -> ByteSet {
        var set = self
        set.words |= other.words
        return set
    }

    /// With each letter also in its other case.
    var ignoringCase: ByteSet {
        var set = self
        for letter in UInt8(ascii: "a")...UInt8(ascii: "z") where contains(letter) || contains(letter & ~0x20) {
            set.insert(letter...letter)
            set.insert((letter & ~0x20)...(letter & ~0x20))
        }
        return set
    }
}

/// A regular expression over bytes.
indirect enum RegexNode: Hashable, Sendable {
    case empty
    /// One byte of the set.
    case byte(ByteSet)
    /// `^`: nothing, where nothing has been read.
    case start
    /// `$`: nothing, where nothing is left.
    case end
    case sequence([RegexNode])
    case alternatives([RegexNode])
    /// `most` `nil`: without limit.
    case repeated(RegexNode, least: Int, most: Int?)

    /// Byte positions of the automaton that this becomes. Repetitions count as often as they are written out.
    var positions: Int {
        switch self {
        case .empty, .start, .end: 0
        case .byte: 1
        case .sequence(let nodes), .alternatives(let nodes):
            nodes.reduce(0) { Self.clamp($0 + $1.positions) }
        case .repeated(let node, let least, let most):
            Self.clamp(node.positions * max(most ?? least, 1))
        }
    }

    /// Nodes, repetitions written out: what building the automaton costs.
    var size: Int {
        switch self {
        case .empty, .start, .end, .byte: 1
        case .sequence(let nodes), .alternatives(let nodes):
            nodes.reduce(1) { Self.clamp($0 + $1.size) }
        case .repeated(let node, let least, let most):
            Self.clamp(1 + node.size * max(most ?? least, 1))
        }
    }

    /// Beyond every limit, and far from overflow when multiplied by the largest repetition.
    private static func clamp(_ count: Int) -> Int { min(count, 1 << 24) }
}

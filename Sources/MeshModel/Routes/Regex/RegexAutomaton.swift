// SPDX-License-Identifier: Apache-2.0

/// The position automaton of an expression: a state for each byte of the pattern, and no empty transitions.
///
/// V. M. Glushkov, "The abstract theory of automata", Russian Mathematical Surveys 16 (1961); here with `^` and `$`,
/// which make the first and the last positions depend on whether the expression stands at an end of the input.
struct RegexAutomaton: Sendable {
    /// What a byte must be at each position.
    private(set) var sets: [ByteSet] = []
    /// Positions that may come after each.
    private(set) var follow: [PositionSet] = []
    /// Positions that may be first, and those that may be last.
    private(set) var first: PositionSet
    private(set) var last: PositionSet
    let matchesEmpty: Bool
    /// Words of each set.
    let words: Int

    init(_ node: RegexNode) {
        words = max(1, (node.positions + 63) / 64)
        let empty = PositionSet(words: words)
        first = empty
        last = empty
        var builder = Builder(words: words)
        let fragment = builder.fragment(node)
        sets = builder.sets
        follow = builder.follow
        first = fragment.first[1]
        last = fragment.last[1]
        matchesEmpty = fragment.isNullable(atStart: true, atEnd: true)
    }

    private struct Fragment {
        /// Bit `atStart + 2 * atEnd`: whether nothing matches there.
        var nullable: UInt8
        /// Index 0 in the middle of the input, 1 at its start.
        var first: [PositionSet]
        /// Index 0 in the middle of the input, 1 at its end.
        var last: [PositionSet]

        func isNullable(atStart: Bool, atEnd: Bool) -> Bool {
            nullable >> ((atStart ? 1 : 0) + (atEnd ? 2 : 0)) & 1 == 1
        }
    }

    private struct Builder {
        let words: Int
        var sets: [ByteSet] = []
        var follow: [PositionSet] = []

        func empty(nullable: UInt8) -> Fragment {
            let none = PositionSet(words: words)
            return Fragment(nullable: nullable, first: [none, none], last: [none, none])
        }

        mutating func fragment(_ node: RegexNode) -> Fragment {
            switch node {
            case .empty: return empty(nullable: 0b1111)
            case .start: return empty(nullable: 0b1010)
            case .end: return empty(nullable: 0b1100)
            case .byte(let set):
                var own = PositionSet(words: words)
                own.insert(sets.count)
                sets.append(set)
                follow.append(PositionSet(words: words))
                return Fragment(nullable: 0, first: [own, own], last: [own, own])
            case .sequence(let nodes):
                var result = empty(nullable: 0b1111)
                for node in nodes { result = concatenation(result, fragment(node)) }
                return result
            case .alternatives(let nodes):
                var result = empty(nullable: 0)
                for node in nodes { result = union(result, fragment(node)) }
                return result
            case .repeated(let node, let least, let most):
                return repetition(node, least, most)
            }
        }

        private mutating func concatenation(_ left: Fragment, _ right: Fragment) -> Fragment {
            connect(left, right)
            var result = left
            result.nullable = left.nullable & right.nullable
            for isAtEdge in [false, true] {
                let index = isAtEdge ? 1 : 0
                // A byte follows, so it is not the end; a byte came before, so it is not the start.
                if left.isNullable(atStart: isAtEdge, atEnd: false) {
                    result.first[index].formUnion(right.first[index])
                }
                result.last[index] = right.last[index]
                if right.isNullable(atStart: false, atEnd: isAtEdge) { result.last[index].formUnion(left.last[index]) }
            }
            return result
        }

        private func union(_ left: Fragment, _ right: Fragment) -> Fragment {
            var result = left
            result.nullable |= right.nullable
            for index in 0...1 {
                result.first[index].formUnion(right.first[index])
                result.last[index].formUnion(right.last[index])
            }
            return result
        }

        private mutating func connect(_ left: Fragment, _ right: Fragment) {
            left.last[0].forEach { follow[$0].formUnion(right.first[0]) }
        }

        /// Written out; positions cannot be shared between copies, because a count must be kept.
        private mutating func repetition(_ node: RegexNode, _ least: Int, _ most: Int?) -> Fragment {
            if node.positions == 0 {
                // Nothing any number of times is nothing; and with zero times allowed, no condition holds.
                return least == 0 ? empty(nullable: 0b1111) : fragment(node)
            }
            var result = empty(nullable: 0b1111)
            guard let most else {
                for _ in 1..<max(least, 1) { result = concatenation(result, fragment(node)) }
                var loop = fragment(node)
                connect(loop, loop)
                if least == 0 { loop.nullable = 0b1111 }
                return concatenation(result, loop)
            }
            for _ in 0..<least { result = concatenation(result, fragment(node)) }
            // x{0,3} as x?x?x?: the language of (x(x(x)?)?)?, with the same positions.
            for _ in least..<most {
                var optional = fragment(node)
                optional.nullable = 0b1111
                result = concatenation(result, optional)
            }
            return result
        }
    }
}

/// A set of positions of an automaton.
struct PositionSet: Hashable, Sendable {
    private(set) var words: [UInt64]

    init(words: Int) { self.words = [UInt64](repeating: 0, count: words) }

    var isEmpty: Bool { words.allSatisfy { $0 == 0 } }

    mutating func insert(_ position: Int) { words[position / 64] |= 1 << UInt64(position % 64) }

    mutating func formUnion(_ other: PositionSet) {
        for index in words.indices { words[index] |= other.words[index] }
    }

    func intersection(_ other: PositionSet) -> PositionSet {
        var result = self
        for index in words.indices { result.words[index] &= other.words[index] }
        return result
    }

    func forEach(_ body: (Int) -> Void) {
        for index in words.indices {
            var word = words[index]
            while word != 0 {
                body(index * 64 + word.trailingZeroBitCount)
                word &= word - 1
            }
        }
    }
}

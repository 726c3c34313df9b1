// SPDX-License-Identifier: Apache-2.0

import TestSupport

/// Regular expressions as a tree, matched by trying everything: right by inspection, and slow.
indirect enum NaiveRegex {
    case literal(Character)
    case any
    case oneOf([Character], isInverted: Bool)
    case start, end
    case sequence([NaiveRegex])
    case choice([NaiveRegex])
    case counted(NaiveRegex, Int, Int?, isLazy: Bool)

    static func random(_ random: inout SplitMix64, depth: Int) -> NaiveRegex {
        switch Int.random(in: 0..<(depth == 0 ? 5 : 11), using: &random) {
        case 0...1: return .literal(random.pick(["a", "b", "c"]))
        case 2: return .any
        case 3: return .oneOf(random.some(["a", "b", "c"], atLeast: 1, atMost: 2), isInverted: random.chance(30))
        case 4: return random.chance(30) ? (random.chance(50) ? .start : .end) : .literal("a")
        case 5...6: return .sequence(random.list(atMost: 3) { Self.random(&$0, depth: depth - 1) })
        case 7...8: return .choice(random.list(atLeast: 1, atMost: 3) { Self.random(&$0, depth: depth - 1) })
        default:
            let least = random.pick([0, 0, 1, 2])
            let most = random.pick([nil, nil, least, least + 1, least + 2])
            return .counted(Self.random(&random, depth: depth - 1), least, most, isLazy: random.chance(20))
        }
    }

    var pattern: String {
        switch self {
        case .literal(let character): String(character)
        case .any: "."
        case .oneOf(let characters, let isInverted): "[\(isInverted ? "^" : "")\(String(characters))]"
        case .start: "^"
        case .end: "$"
        case .sequence(let parts): parts.map { "(?:\($0.pattern))" }.joined()
        case .choice(let parts): "(" + parts.map(\.pattern).joined(separator: "|") + ")"
        case .counted(let part, let least, let most, let isLazy):
            "(?:\(part.pattern))" + Self.suffix(least, most) + (isLazy ? "?" : "")
        }
    }

    private static func suffix(_ least: Int, _ most: Int?) -> String {
        switch (least, most) {
        case (0, nil): "*"
        case (1, nil): "+"
        case (0, 1): "?"
        case (_, nil): "{\(least),}"
        case (_, let most?): most == least ? "{\(least)}" : "{\(least),\(most)}"
        }
    }

    func matches(_ input: [UInt8]) -> Bool {
        ends(input, 0).contains(input.count)
    }

    /// Where a match that begins at `start` may end.
    private func ends(_ input: [UInt8], _ start: Int) -> Set<Int> {
        let next = start < input.count ? Character(Unicode.Scalar(input[start])) : nil
        switch self {
        case .literal(let character): return next == character ? [start + 1] : []
        case .any: return next == nil || next == "\n" ? [] : [start + 1]
        case .oneOf(let characters, let isInverted):
            guard let next else { return [] }
            return characters.contains(next) != isInverted ? [start + 1] : []
        case .start: return start == 0 ? [0] : []
        case .end: return start == input.count ? [start] : []
        case .sequence(let parts):
            return parts.reduce([start]) { places, part in Set(places.flatMap { part.ends(input, $0) }) }
        case .choice(let parts): return Set(parts.flatMap { $0.ends(input, start) })
        case .counted(let part, let least, let most, _):
            var reached: Set<Int> = [start]
            for _ in 0..<least { reached = Set(reached.flatMap { part.ends(input, $0) }) }
            var result = reached
            // More rounds than bytes reach nothing new.
            for _ in 0..<min(most.map { $0 - least } ?? .max, input.count + 1) {
                reached = Set(reached.flatMap { part.ends(input, $0) })
                result.formUnion(reached)
            }
            return result
        }
    }
}

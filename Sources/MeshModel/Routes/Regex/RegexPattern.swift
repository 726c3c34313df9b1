// SPDX-License-Identifier: Apache-2.0

/// A regular expression that takes time linear in its input, whatever the pattern.
///
/// A subset of RE2's syntax (https://github.com/google/re2/wiki/Syntax), matched against the whole input. Over bytes:
/// `.` is any byte but a line feed, a character beyond ASCII stands for its UTF-8 bytes, and a class holds ASCII only.
/// Backreferences and look-around are refused, because they cannot be matched in linear time; `\b`, `\p` and the flags
/// `m` and `U` because they are not implemented.
public struct RegexPattern: Hashable, Sendable {
    /// As it was written.
    public let text: String
    let automaton: RegexAutomaton

    /// Bytes of a pattern that can each be matched by a byte of input; repetitions count as often as they are written
    /// out. Bounds the memory of a pattern (about 128 KiB) and the work for a byte of input.
    public static let maximumPositions = 1024

    /// - Throws: ``RegexError`` for what RE2 would refuse too, what is not supported, and patterns that are too large.
    public init(_ text: String) throws(RegexError) {
        let node = try RegexParser.parse(text)
        guard node.positions <= Self.maximumPositions, node.size <= 8 * Self.maximumPositions else {
            throw RegexError(
                offset: 0,
                reason: "the pattern is too large: repetitions written out, it may have "
                    + "\(Self.maximumPositions) characters")
        }
        self.text = text
        automaton = RegexAutomaton(node)
    }

    /// Whether the whole of `bytes` matches. Builds tables first: for a few calls, not for requests.
    public func matches(_ bytes: some Sequence<UInt8>) -> Bool {
        var tables = RegexTables()
        let index = tables.add(automaton)
        return tables.matches(index, RegexSequenceInput(bytes))
    }

    public static func == (left: Self, right: Self) -> Bool { left.text == right.text }

    public func hash(into hasher: inout Hasher) { hasher.combine(text) }
}

/// Why a pattern is refused.
public struct RegexError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Bytes before the place.
    public let offset: Int
    public let reason: String

    public var description: String { offset == 0 ? reason : "\(reason), at character \(offset + 1)" }
}

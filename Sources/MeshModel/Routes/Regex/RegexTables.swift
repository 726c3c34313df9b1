// SPDX-License-Identifier: Apache-2.0

/// Where the bytes of a match come from.
protocol RegexInput {
    mutating func next() -> UInt8?
}

struct RegexSequenceInput<Bytes: Sequence<UInt8>>: RegexInput {
    private var iterator: Bytes.Iterator

    init(_ bytes: Bytes) { iterator = bytes.makeIterator() }

    mutating func next() -> UInt8? { iterator.next() }
}

/// Automata of many patterns in a few flat tables, so that a match follows indices and touches no reference count.
///
/// A pattern becomes a deterministic automaton, one table look-up for a byte, if that stays small; else its positions
/// are followed all at once as bits, a few words for each position that is reached. Both take time linear in the input.
struct RegexTables: Sendable {
    private struct Program {
        /// Where in `classes` the map of its 256 bytes begins.
        var classes: Int
        var classCount: Int
        /// Where in `transitions` its rows begin; -1: it has only `bits`.
        var transitions = -1
        /// Where in `bits` its sets begin: first, last, one for each class, one to follow each position.
        var bits = 0
        var words = 0
        var matchesEmpty: Bool
    }

    /// Entries of a deterministic automaton: 16 KiB. Row 0 is dead; a row is named by its offset.
    static let maximumEntries = 8192
    /// In an entry, beside the offset of the next row: the input may end here.
    private static let accepting: UInt16 = 1 << 15

    private var programs: [Program] = []
    private var classes: [UInt8] = []
    private var transitions: [UInt16] = []
    private var bits: [UInt64] = []

    /// - Parameter deterministic: `false` leaves out the first way, for tests of the second.
    /// - Returns: The number by which the pattern is matched.
    mutating func add(_ automaton: RegexAutomaton, deterministic: Bool = true) -> Int {
        let (map, masks) = Self.classes(of: automaton)
        var program = Program(classes: classes.count, classCount: masks.count, matchesEmpty: automaton.matchesEmpty)
        classes += map
        if deterministic, let rows = Self.rows(of: automaton, masks) {
            program.transitions = transitions.count
            transitions += rows
        } else {
            program.bits = bits.count
            program.words = automaton.words
            for set in [automaton.first, automaton.last] + masks + automaton.follow { bits += set.words }
        }
        programs.append(program)
        return programs.count - 1
    }

    /// Whether the whole input matches.
    func matches(_ index: Int, _ input: consuming some RegexInput) -> Bool {
        let program = programs[index]
        if program.transitions < 0 { return matchesBits(program, &input) }
        var entry: UInt16 = program.matchesEmpty ? Self.accepting : 0
        // The start is the row after the dead one.
        var row = program.classCount
        while let byte = input.next() {
            entry = transitions[program.transitions + row + Int(classes[program.classes + Int(byte)])]
            row = Int(entry & ~Self.accepting)
            if row == 0 { return false }
        }
        return entry & Self.accepting != 0
    }

    private func matchesBits(_ program: Program, _ input: inout some RegexInput) -> Bool {
        let words = program.words
        // 256 bytes for the largest pattern: on the stack.
        return withUnsafeTemporaryAllocation(of: UInt64.self, capacity: 2 * words) { scratch in
            bits.withUnsafeBufferPointer { bits in
                let sets = bits.baseAddress! + program.bits
                let follow = sets + (2 + program.classCount) * words
                let current = scratch.baseAddress!
                let reached = current + words
                reached.update(from: sets, count: words)
                var isEmpty = true
                while let byte = input.next() {
                    isEmpty = false
                    let mask = sets + (2 + Int(classes[program.classes + Int(byte)])) * words
                    var any: UInt64 = 0
                    for word in 0..<words {
                        current[word] = reached[word] & mask[word]
                        any |= current[word]
                        reached[word] = 0
                    }
                    if any == 0 { return false }
                    for word in 0..<words {
                        var rest = current[word]
                        while rest != 0 {
                            let next = follow + (word * 64 + rest.trailingZeroBitCount) * words
                            for index in 0..<words { reached[index] |= next[index] }
                            rest &= rest - 1
                        }
                    }
                }
                if isEmpty { return program.matchesEmpty }
                return (0..<words).contains { current[$0] & sets[words + $0] != 0 }
            }
        }
    }

    // MARK: - Building

    /// Bytes that the pattern treats alike are one class.
    private static func classes(of automaton: RegexAutomaton) -> (map: [UInt8], masks: [PositionSet]) {
        var numbers: [PositionSet: UInt8] = [:]
        var masks: [PositionSet] = []
        let map = (UInt8.min...UInt8.max).map { byte -> UInt8 in
            var mask = PositionSet(words: automaton.words)
            for (position, set) in automaton.sets.enumerated() where set.contains(byte) { mask.insert(position) }
            if let number = numbers[mask] { return number }
            numbers[mask] = UInt8(masks.count)
            masks.append(mask)
            return UInt8(masks.count - 1)
        }
        return (map, masks)
    }

    /// The deterministic automaton, by subset construction; `nil` if it has too many entries.
    private static func rows(of automaton: RegexAutomaton, _ masks: [PositionSet]) -> [UInt16]? {
        let width = masks.count
        // Row 0 is dead, row 1 the start. A row is known by the positions that may come next and by where it ends.
        var rows = [UInt16](repeating: 0, count: width)
        var numbers: [PositionSet: Int] = [:]
        var reached: [PositionSet] = [automaton.first]
        var done = 0
        while done < reached.count {
            let from = reached[done]
            done += 1
            for mask in masks {
                let positions = from.intersection(mask)
                if positions.isEmpty {
                    rows.append(0)
                    continue
                }
                let number: Int
                if let known = numbers[positions] {
                    number = known
                } else {
                    guard (reached.count + 2) * width <= maximumEntries else { return nil }
                    var next = PositionSet(words: automaton.words)
                    positions.forEach { next.formUnion(automaton.follow[$0]) }
                    reached.append(next)
                    number = reached.count
                    numbers[positions] = number
                }
                let isLast = !positions.intersection(automaton.last).isEmpty
                rows.append(UInt16(number * width) | (isLast ? accepting : 0))
            }
        }
        return rows
    }
}

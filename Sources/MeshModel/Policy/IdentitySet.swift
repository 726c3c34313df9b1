// SPDX-License-Identifier: Apache-2.0

/// A set of identities as bits, by slot of the ``IdentityIndex``.
///
/// Words after the end are zero, so sets of different lengths combine.
struct IdentitySet: Sendable {
    private(set) var words: [UInt64]

    init() {
        words = []
    }

    init(slot: Int) {
        words = []
        insert(slot)
    }

    mutating func insert(_ slot: Int) {
        let word = slot >> 6
        if word >= words.count {
            words.append(contentsOf: repeatElement(0, count: word + 1 - words.count))
        }
        words[word] |= 1 << UInt64(slot & 63)
    }

    mutating func remove(_ slot: Int) {
        let word = slot >> 6
        guard word < words.count else { return }
        words[word] &= ~(1 << UInt64(slot & 63))
    }

    mutating func set(_ slot: Int, to isMember: Bool) {
        if isMember { insert(slot) } else { remove(slot) }
    }

    func contains(_ slot: Int) -> Bool {
        let word = slot >> 6
        return word < words.count && words[word] & (1 << UInt64(slot & 63)) != 0
    }

    var isEmpty: Bool { words.allSatisfy { $0 == 0 } }

    mutating func formUnion(_ other: IdentitySet) {
        if words.isEmpty {
            words = other.words
            return
        }
        if words.count < other.words.count {
            words.append(contentsOf: repeatElement(0, count: other.words.count - words.count))
        }
        for index in other.words.indices { words[index] |= other.words[index] }
    }

    mutating func formIntersection(_ other: IdentitySet) {
        if words.count > other.words.count { words.removeLast(words.count - other.words.count) }
        for index in words.indices { words[index] &= other.words[index] }
    }

    mutating func subtract(_ other: IdentitySet) {
        for index in 0..<min(words.count, other.words.count) { words[index] &= ~other.words[index] }
    }

    func subtracting(_ other: IdentitySet) -> IdentitySet {
        var result = self
        result.subtract(other)
        return result
    }

    func union(_ other: IdentitySet) -> IdentitySet {
        var result = self
        result.formUnion(other)
        return result
    }

    func intersection(_ other: IdentitySet) -> IdentitySet {
        var result = self
        result.formIntersection(other)
        return result
    }

    /// The members, ascending.
    var slots: [Int] {
        var result: [Int] = []
        for (index, word) in words.enumerated() {
            var rest = word
            while rest != 0 {
                result.append(index << 6 + rest.trailingZeroBitCount)
                rest &= rest - 1
            }
        }
        return result
    }

    /// The words without trailing zeros: equal for equal sets.
    var canonicalWords: ArraySlice<UInt64> {
        let end = words.lastIndex { $0 != 0 }.map { $0 + 1 } ?? 0
        return words[..<end]
    }
}

// SPDX-License-Identifier: Apache-2.0

/// Paths by hash, in flat tables of numbers.
///
/// The prefixes form a tree: each knows the longest of the others that is a prefix of it by elements. So one pass over
/// a request's path hashes it up to each `/`, the longest configured prefix is remembered, and the shorter ones follow
/// from the tree: the cost depends on the length of the path, not on the number of routes.
///
/// Few lines of the cache are touched, however many paths there are: a length that no path has is not looked up, a slot
/// says by a part of the hash whether it is the right one, and a path's text stands beside its numbers.
struct PathIndex: Sendable {
    /// Words of a record before the text of its path.
    private static let headWords = 4

    /// Records of four words and a text: where its entries begin and end in the router's list, the record of the next
    /// shorter prefix or -1, the length of the text in bytes.
    private var records: [Int32] = []
    /// The upper half is that of the path's hash, the lower half the offset of its record, plus 1; 0: empty. A power of two
    /// of them, at most half of them used.
    private var slots: [UInt64] = []
    /// Bit n: there is a path of n bytes; the last bit: of 63 bytes or more.
    private var lengths: UInt64 = 0
    /// Bytes of the longest path.
    private(set) var longestKey = 0

    var isEmpty: Bool { records.isEmpty }

    static let seed: UInt64 = 0xcbf2_9ce4_8422_2325

    /// FNV-1a: the hash of a path follows from that of the path without its last byte.
    @inline(__always)
    static func hash(_ hash: UInt64, _ byte: UInt8) -> UInt64 { (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }

    /// The hash of what was hashed before and these bytes.
    @inline(__always)
    static func hash(_ hash: UInt64, _ bytes: UnsafeRawBufferPointer) -> UInt64 {
        var hash = hash
        for byte in bytes { hash = self.hash(hash, byte) }
        return hash
    }

    /// - Parameters:
    ///   - paths: each once, with its entries.
    ///   - isTree: whether they are prefixes.
    init(_ paths: [(key: [UInt8], entries: Range<Int>)], isTree: Bool) {
        var capacity = 8
        while capacity < 2 * paths.count { capacity *= 2 }
        slots = [UInt64](repeating: 0, count: paths.isEmpty ? 0 : capacity)
        var offsets: [Int] = []
        for path in paths {
            let offset = append(path.key, path.entries)
            offsets.append(offset)
            let hash = path.key.reduce(Self.seed, Self.hash)
            var slot = Self.slot(hash, slots.count)
            while slots[slot] != 0 { slot = (slot + 1) & (slots.count - 1) }
            slots[slot] = hash & ~0xffff_ffff | UInt64(offset + 1)
            lengths |= Self.bit(path.key.count)
            longestKey = max(longestKey, path.key.count)
        }
        guard isTree else { return }
        for (path, offset) in zip(paths, offsets) {
            records[offset + 2] = Int32(path.key.withUnsafeBytes(longestPrefix))
        }
    }

    private mutating func append(_ key: [UInt8], _ entries: Range<Int>) -> Int {
        let offset = records.count
        records += [Int32(entries.lowerBound), Int32(entries.upperBound), -1, Int32(key.count)]
        for begin in stride(from: 0, to: key.count, by: 4) {
            var word: Int32 = 0
            withUnsafeMutableBytes(of: &word) { $0.copyBytes(from: key[begin..<min(begin + 4, key.count)]) }
            records.append(word)
        }
        return offset
    }

    /// Where in the router's list the entries of a path are.
    @inline(__always)
    func entries(_ record: Int) -> Range<Int> { Int(records[record])..<Int(records[record + 1]) }

    /// The record of the next shorter prefix; -1: none.
    @inline(__always)
    func parent(_ record: Int) -> Int { Int(records[record + 2]) }

    /// Whether there may be a path of so many bytes.
    @inline(__always)
    func has(length: Int) -> Bool { lengths & Self.bit(length) != 0 }

    @inline(__always)
    private static func bit(_ length: Int) -> UInt64 { 1 << UInt64(min(length, 63)) }

    @inline(__always)
    private static func slot(_ hash: UInt64, _ count: Int) -> Int {
        // The low bits of FNV-1a depend on the low bits of the input only.
        Int(truncatingIfNeeded: hash ^ hash >> 32) & (count - 1)
    }

    /// The record of a path, given its hash; -1: none.
    @inline(__always)
    func record(_ path: UnsafeRawBufferPointer, _ hash: UInt64) -> Int {
        if slots.isEmpty { return -1 }
        var slot = Self.slot(hash, slots.count)
        while true {
            let found = slots[slot]
            if found == 0 { return -1 }
            if (found ^ hash) >> 32 == 0 {
                let record = Int(truncatingIfNeeded: found & 0xffff_ffff) - 1
                if isKey(of: record, path) { return record }
            }
            slot = (slot + 1) & (slots.count - 1)
        }
    }

    private func isKey(of record: Int, _ path: UnsafeRawBufferPointer) -> Bool {
        guard Int(records[record + 3]) == path.count else { return false }
        return records.withUnsafeBytes { bytes in
            let begin = 4 * (record + Self.headWords)
            return UnsafeRawBufferPointer(rebasing: bytes[begin..<begin + path.count]).equals(path)
        }
    }

    private func longestPrefix(of path: UnsafeRawBufferPointer) -> Int {
        var best = -1
        var hash = Self.seed
        for (offset, byte) in path.enumerated() {
            if byte == UInt8(ascii: "/"), offset > 0, has(length: offset) {
                let found = record(UnsafeRawBufferPointer(rebasing: path[..<offset]), hash)
                if found >= 0 { best = found }
            }
            hash = Self.hash(hash, byte)
        }
        return best
    }
}

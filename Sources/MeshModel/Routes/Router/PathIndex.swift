// SPDX-License-Identifier: Apache-2.0

/// Paths by hash, in flat tables of indices.
///
/// The prefixes form a tree: each knows the longest of the others that is a prefix of it by elements. So one pass over
/// a request's path hashes it up to each `/`, the longest configured prefix is remembered, and the shorter ones follow
/// from the tree: the cost depends on the length of the path, not on the number of routes.
struct PathIndex: Sendable {
    struct Node {
        fileprivate let hash: UInt64
        fileprivate let keyOffset: Int
        let keyLength: Int
        /// Where in the router's list its entries are.
        var entries: Range<Int>
        /// The node of the next shorter prefix; -1: none.
        var parent = -1
    }

    private(set) var nodes: [Node] = []
    private(set) var longestKey = 0
    private var keys: [UInt8] = []
    /// Index of a node, or -1; a power of two of them, at most half of them used.
    private var slots: [Int32] = []

    static let seed: UInt64 = 0xcbf2_9ce4_8422_2325

    /// FNV-1a: the hash of a path follows from that of the path without its last byte.
    @inline(__always)
    static func hash(_ hash: UInt64, _ byte: UInt8) -> UInt64 { (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }

    /// - Parameters:
    ///   - paths: each once, with its entries.
    ///   - isTree: whether they are prefixes.
    init(_ paths: [(key: [UInt8], entries: Range<Int>)], isTree: Bool) {
        var capacity = 8
        while capacity < 2 * paths.count { capacity *= 2 }
        slots = [Int32](repeating: -1, count: paths.isEmpty ? 0 : capacity)
        for path in paths {
            let hash = path.key.reduce(Self.seed, Self.hash)
            var slot = Self.slot(hash, slots.count)
            while slots[slot] >= 0 { slot = (slot + 1) & (slots.count - 1) }
            slots[slot] = Int32(nodes.count)
            nodes.append(
                Node(hash: hash, keyOffset: keys.count, keyLength: path.key.count, entries: path.entries))
            keys += path.key
            longestKey = max(longestKey, path.key.count)
        }
        guard isTree else { return }
        for index in nodes.indices {
            let node = nodes[index]
            let key = keys[node.keyOffset..<node.keyOffset + node.keyLength]
            nodes[index].parent = key.withUnsafeBytes { longestPrefix(of: $0, shorterThan: node.keyLength) }
        }
    }

    @inline(__always)
    private static func slot(_ hash: UInt64, _ count: Int) -> Int {
        // The low bits of FNV-1a depend on the low bits of the input only.
        Int(truncatingIfNeeded: hash ^ hash >> 32) & (count - 1)
    }

    /// The node of a path, given its hash; -1: none.
    @inline(__always)
    func node(_ path: UnsafeRawBufferPointer, _ hash: UInt64) -> Int {
        if slots.isEmpty { return -1 }
        var slot = Self.slot(hash, slots.count)
        while true {
            let index = Int(slots[slot])
            if index < 0 { return -1 }
            if nodes[index].hash == hash, isKey(of: index, path) { return index }
            slot = (slot + 1) & (slots.count - 1)
        }
    }

    private func isKey(of index: Int, _ path: UnsafeRawBufferPointer) -> Bool {
        let node = nodes[index]
        guard node.keyLength == path.count else { return false }
        return keys.withUnsafeBytes { keys in
            UnsafeRawBufferPointer(rebasing: keys[node.keyOffset..<node.keyOffset + node.keyLength]).equals(path)
        }
    }

    private func longestPrefix(of path: UnsafeRawBufferPointer, shorterThan limit: Int) -> Int {
        var best = -1
        var hash = Self.seed
        for (offset, byte) in path.prefix(limit).enumerated() {
            if byte == UInt8(ascii: "/"), offset > 0 {
                let found = node(UnsafeRawBufferPointer(rebasing: path[..<offset]), hash)
                if found >= 0 { best = found }
            }
            hash = Self.hash(hash, byte)
        }
        return best
    }
}

// SPDX-License-Identifier: Apache-2.0

/// A dictionary in 256 parts, of which a copy shares all but the ones that are changed: with ten thousand entries, a
/// change of one in a copy costs two hundred and fifty references and forty entries, not ten thousand.
struct ShardedDictionary<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    private static var count: Int { 256 }

    private var shards = [[Key: Value]](repeating: [:], count: Self.count)

    init() {}

    private static func shard(_ key: Key) -> Int { key.hashValue & (count - 1) }

    subscript(key: Key) -> Value? {
        get { shards[Self.shard(key)][key] }
        _modify { yield &shards[Self.shard(key)][key] }
    }

    subscript(key: Key, default value: @autoclosure () -> Value) -> Value {
        get { shards[Self.shard(key)][key] ?? value() }
        _modify { yield &shards[Self.shard(key)][key, default: value()] }
    }

    /// In no particular order.
    var values: some Sequence<Value> { shards.lazy.flatMap(\.values) }
}

extension ShardedDictionary {
    /// Adds to the set of a key, or takes from it; an empty set has no entry.
    mutating func insert<Element>(_ element: Element, for key: Key) where Value == Set<Element> {
        self[key, default: []].insert(element)
    }

    mutating func remove<Element>(_ element: Element, for key: Key) where Value == Set<Element> {
        self[key]?.remove(element)
        if self[key]?.isEmpty == true { self[key] = nil }
    }
}

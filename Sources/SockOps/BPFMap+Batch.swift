// SPDX-License-Identifier: Apache-2.0

import CLibBPF
import Glibc
import LinuxIO

/// Many entries with few system calls (Linux 5.6; LPM tries 5.13), one by one where the map type has no batches.
extension BPFMap {
    /// Entries moved by one system call: some tens of kilobytes for every map of this project.
    private static var chunk: Int { 1024 }

    /// Stores all of `entries`. Each entry is stored as a whole, the batch as such is not atomic.
    ///
    /// - Throws: ``BPFError`` with `.update`; `detail` says how many were stored before the failure.
    public func setAll(_ entries: [(key: Key, value: Value)], mode: Mode = .any) throws(BPFError) {
        var stored = 0
        while stored < entries.count {
            let part = entries[stored..<min(stored + Self.chunk, entries.count)]
            let keys = part.map(\.key)
            let values = part.map(\.value)
            var count = UInt32(keys.count)
            var options = bpf_map_batch_opts()
            options.sz = MemoryLayout<bpf_map_batch_opts>.size
            options.elem_flags = mode.rawValue
            let status = bpf_map_update_batch(handle.descriptor.rawValue, keys, values, &count, &options)
            if Self.lacksBatches(status) {
                for (key, value) in part { try set(key, value, mode: mode) }
            } else if status != 0 {
                let done = stored + (status == -EFAULT ? 0 : Int(count))
                throw BPFError(
                    .update, "map \(handle.name)", errnoCode: status,
                    detail: "\(done) of \(entries.count) entries were stored")
            }
            stored += part.count
        }
    }

    /// Removes all of `keys`; those that are not there do not matter.
    public func removeAll(_ keys: [Key]) throws(BPFError) {
        var removed = 0
        while removed < keys.count {
            let part = Array(keys[removed..<min(removed + Self.chunk, keys.count)])
            var count = UInt32(part.count)
            let status = bpf_map_delete_batch(handle.descriptor.rawValue, part, &count, nil)
            if status == -ENOENT {
                // A batch stops at the first key that is not there: `count` were removed before it.
                removed += Int(count) + 1
                continue
            }
            if Self.lacksBatches(status) {
                for key in part { try remove(key) }
            } else if status != 0 {
                throw failure(.delete, status)
            }
            removed += part.count
        }
    }

    /// All entries. What is added or removed meanwhile may or may not be among them.
    public func entries() throws(BPFError) -> [(key: Key, value: Value)] {
        var all: [(key: Key, value: Value)] = []
        try forEach { key, value in all.append((key, value)) }
        return all
    }

    /// Calls `body` with every entry. What is added or removed meanwhile may or may not be among them; where
    /// the map type has no batches, an entry removed meanwhile can make others appear twice.
    public func forEach(_ body: (Key, Value) -> Void) throws(BPFError) {
        // A hash table hands out whole buckets: one that does not fit is ENOSPC, and asked for again with more room.
        var capacity = min(Self.chunk, max(Int(handle.shape.maxEntries), 1))
        // The position is a bucket number for hash tables and a key for the others.
        let positionSize = max(MemoryLayout<Key>.stride, 8)
        var position = [UInt8](repeating: 0, count: positionSize)
        var next = position
        var isFirst = true
        while true {
            var count = UInt32(capacity)
            var status: CInt = 0
            withUnsafeTemporaryAllocation(of: Key.self, capacity: capacity) { keys in
                withUnsafeTemporaryAllocation(of: Value.self, capacity: capacity) { values in
                    status = position.withUnsafeMutableBytes { position in
                        next.withUnsafeMutableBytes { next in
                            bpf_map_lookup_batch(
                                handle.descriptor.rawValue, isFirst ? nil : position.baseAddress, next.baseAddress,
                                keys.baseAddress, values.baseAddress, &count, nil)
                        }
                    }
                    guard status == 0 || status == -ENOENT else { return }
                    for index in 0..<Int(count) { body(keys[index], values[index]) }
                }
            }
            switch status {
            case 0:
                swap(&position, &next)
                isFirst = false
            case -ENOENT: return
            case -ENOSPC: capacity *= 2
            case _ where Self.lacksBatches(status) && isFirst: return try forEachOneByOne(body)
            default: throw failure(.iterate, status)
            }
        }
    }

    func forEachOneByOne(_ body: (Key, Value) -> Void) throws(BPFError) {
        var key = try key(after: nil)
        // The bound ends a walk that removals keep sending back to the start.
        for _ in 0..<handle.shape.maxEntries {
            guard let current = key else { return }
            if let value = try get(current) { body(current, value) }
            key = try self.key(after: current)
        }
    }

    /// ENOTSUPP is how the kernel says that the map type has no such operation; EINVAL that it has no batches at all.
    private static func lacksBatches(_ status: CInt) -> Bool { status == -524 || status == -EOPNOTSUPP }
}

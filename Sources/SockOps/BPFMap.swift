// SPDX-License-Identifier: Apache-2.0

import CLibBPF
import Glibc
import LinuxIO

/// A hash, LRU hash, array or LPM trie map from `Key` to `Value`, both as raw bytes.
///
/// `Key` and `Value` must be C structures without padding, or integers: what lies in
/// padding is hashed too.
public struct BPFMap<Key: BitwiseCopyable, Value: BitwiseCopyable>: ~Copyable, Sendable {
    let handle: MapHandle

    /// How ``set(_:_:mode:)`` treats a key that is there already or is not.
    public enum Mode: UInt64, Sendable {
        /// Insert or replace.
        case any = 0
        /// Insert; EEXIST if the key is there.
        case insert = 1
        /// Replace; ENOENT if the key is not there.
        case replace = 2
    }

    /// - Throws: ``BPFError`` with `.open` if the map's type or sizes are not those of `Key` and `Value`.
    public init(_ handle: consuming MapHandle) throws(BPFError) {
        try handle.require(
            types: [BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_LRU_HASH, BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_LPM_TRIE],
            keySize: MemoryLayout<Key>.stride, valueSize: MemoryLayout<Value>.stride)
        self.handle = handle
    }

    /// The map's name, for messages.
    public var name: String { handle.name }

    /// Entries that fit.
    public var capacity: Int { Int(handle.shape.maxEntries) }

    /// The value of `key`, nil if there is none. In an LPM trie, of the longest prefix that covers it.
    public func get(_ key: Key) throws(BPFError) -> Value? {
        let raw = handle.descriptor.rawValue
        var status: CInt = 0
        let value = withUnsafeTemporaryAllocation(of: Value.self, capacity: 1) { buffer -> Value? in
            status = withUnsafePointer(to: key) { bpf_map_lookup_elem(raw, $0, buffer.baseAddress) }
            return status == 0 ? buffer[0] : nil
        }
        guard status == 0 || status == -ENOENT else { throw failure(.lookUp, status) }
        return value
    }

    /// Stores `value` under `key`.
    ///
    /// - Throws: ``BPFError`` with `.update`: E2BIG if the map is full (ENOSPC for an LPM trie), EEXIST or
    ///   ENOENT as `mode` says.
    public func set(_ key: Key, _ value: Value, mode: Mode = .any) throws(BPFError) {
        let raw = handle.descriptor.rawValue
        let status = withUnsafePointer(to: key) { key in
            withUnsafePointer(to: value) { bpf_map_update_elem(raw, key, $0, mode.rawValue) }
        }
        guard status == 0 else { throw failure(.update, status) }
    }

    /// Removes `key`; entries of an array cannot be removed (EINVAL).
    ///
    /// - Returns: whether it was there.
    @discardableResult
    public func remove(_ key: Key) throws(BPFError) -> Bool {
        let raw = handle.descriptor.rawValue
        let status = withUnsafePointer(to: key) { bpf_map_delete_elem(raw, $0) }
        guard status == 0 || status == -ENOENT else { throw failure(.delete, status) }
        return status == 0
    }

    /// The first entry's key, nil if the map is empty.
    public func firstKey() throws(BPFError) -> Key? {
        try key(after: nil)
    }

    /// The key that follows `key`; the first one if `key` is nil or no longer in the map.
    func key(after key: Key?) throws(BPFError) -> Key? {
        let raw = handle.descriptor.rawValue
        var status: CInt = 0
        let next = withUnsafeTemporaryAllocation(of: Key.self, capacity: 1) { buffer -> Key? in
            if let key {
                status = withUnsafePointer(to: key) { bpf_map_get_next_key(raw, $0, buffer.baseAddress) }
            } else {
                status = bpf_map_get_next_key(raw, nil, buffer.baseAddress)
            }
            return status == 0 ? buffer[0] : nil
        }
        guard status == 0 || status == -ENOENT else { throw failure(.iterate, status) }
        return next
    }

    func failure(_ operation: BPFError.Operation, _ status: CInt) -> BPFError {
        BPFError(operation, "map \(handle.name)", errnoCode: status)
    }
}

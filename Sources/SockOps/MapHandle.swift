// SPDX-License-Identifier: Apache-2.0

import CLibBPF
import Glibc
import LinuxIO

/// What two maps must have in common for one to stand in for the other.
public struct MapShape: Hashable, Sendable {
    /// `enum bpf_map_type`.
    public let type: UInt32
    /// Bytes.
    public let keySize: UInt32
    /// Bytes; of one CPU's value in a per-CPU map.
    public let valueSize: UInt32
    /// As the map was created; rounded up by the kernel for some types.
    public let maxEntries: UInt32
    /// `BPF_F_*` of map creation.
    public let flags: UInt32

    /// Whether the kernel allocates all entries of this hash table or array when the map is created.
    var isPreallocatedTable: Bool {
        [BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_LRU_HASH, BPF_MAP_TYPE_ARRAY].contains { $0.rawValue == type }
            && flags & UInt32(BPF_F_NO_PREALLOC) == 0
    }

    /// Where two shapes differ, as `value size 16, not 24`; nil if they do not.
    func difference(from expected: MapShape) -> String? {
        let fields: [(String, UInt32, UInt32)] = [
            ("type", type, expected.type), ("key size", keySize, expected.keySize),
            ("value size", valueSize, expected.valueSize), ("entries", maxEntries, expected.maxEntries),
            ("flags", flags, expected.flags),
        ]
        let differing = fields.filter { $0.1 != $0.2 }.map { "\($0.0) \($0.1), not \($0.2)" }
        return differing.isEmpty ? nil : differing.joined(separator: ", ")
    }
}

/// A BPF map on a descriptor of its own, without a notion of what it holds.
///
/// The typed owners (``BPFMap`` and the others) are made from one and check it once.
public struct MapHandle: ~Copyable, Sendable {
    let descriptor: OwnedDescriptor
    /// As the kernel knows it: at most 15 characters.
    public let name: String
    /// Sizes and type.
    public let shape: MapShape
    /// The kernel's number of the map; not used again before the next boot.
    public let id: UInt32

    init(adopting descriptor: consuming OwnedDescriptor) throws(BPFError) {
        var info = bpf_map_info()
        var length = UInt32(MemoryLayout<bpf_map_info>.size)
        let status = bpf_obj_get_info_by_fd(descriptor.rawValue, &info, &length)
        guard status == 0 else { throw BPFError(.query, "map", errnoCode: status) }
        self.descriptor = descriptor
        self.name = String(cTuple: info.name)
        self.shape = MapShape(
            type: info.type, keySize: info.key_size, valueSize: info.value_size, maxEntries: info.max_entries,
            flags: info.map_flags)
        self.id = info.id
    }

    /// Opens a pinned map.
    ///
    /// - Throws: ``BPFError`` with `.open`: ENOENT if nothing is pinned there, EINVAL if it is not a map.
    public init(pinned path: String) throws(BPFError) {
        try self.init(adopting: PinnedObject.open(.map, path))
    }

    /// Pins the map at `path`, which must not exist; the map then outlives the process.
    public func pin(_ path: String) throws(BPFError) {
        let status = bpf_obj_pin(descriptor.rawValue, path)
        guard status == 0 else { throw BPFError(.pin, "map \(name) at \(path)", errnoCode: status) }
    }

    /// Lent for the duration of a call, for example to sock_diag. Do not store it.
    public var rawDescriptor: CInt { descriptor.rawValue }

    /// The same map on a second descriptor.
    func duplicate() throws(BPFError) -> MapHandle {
        let second = try BPFError.telling { () throws(SystemError) in try descriptor.duplicate() }
        return try MapHandle(adopting: second)
    }

    func requireSocketStorage(valueSize: Int) throws(BPFError) {
        try require(types: [BPF_MAP_TYPE_SK_STORAGE], keySize: 4, valueSize: valueSize)
    }

    /// Throws unless the map is of one of `types` with exactly these sizes.
    ///
    /// - Parameters:
    ///   - types: `enum bpf_map_type`; empty for any.
    ///   - keySize: bytes.
    ///   - valueSize: bytes.
    func require(types: [bpf_map_type], keySize: Int, valueSize: Int) throws(BPFError) {
        let expected = MapShape(
            type: types.contains { $0.rawValue == shape.type } || types.isEmpty ? shape.type : types[0].rawValue,
            keySize: UInt32(keySize), valueSize: UInt32(valueSize), maxEntries: shape.maxEntries, flags: shape.flags)
        if let difference = shape.difference(from: expected) {
            throw BPFError(.open, "map \(name)", errnoCode: EINVAL, detail: difference)
        }
    }
}

extension String {
    /// The text of a C array of characters that Swift imports as a tuple; it need not end with a zero.
    init<Tuple: BitwiseCopyable>(cTuple tuple: Tuple) {
        self = withUnsafeBytes(of: tuple) { bytes in
            String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
    }
}

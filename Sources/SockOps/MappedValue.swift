// SPDX-License-Identifier: Apache-2.0

import CLibBPF
import Glibc
import LinuxIO

/// The single value of an mmapable array map, as memory shared with the BPF programs.
public struct MappedValue<Value: BitwiseCopyable>: ~Copyable {
    let handle: MapHandle
    private let base: UnsafeMutableRawPointer
    private let length: Int

    /// - Throws: ``BPFError`` with `.open` if the map is not an array of one `Value`, with `.memoryMap` if it
    ///   was not created with BPF_F_MMAPABLE.
    public init(_ handle: consuming MapHandle) throws(BPFError) {
        try handle.require(types: [BPF_MAP_TYPE_ARRAY], keySize: 4, valueSize: MemoryLayout<Value>.stride)
        let page = Int(sysconf(CInt(_SC_PAGESIZE)))
        let length = (MemoryLayout<Value>.stride + page - 1) / page * page
        let base = mmap(nil, length, PROT_READ | PROT_WRITE, MAP_SHARED, handle.descriptor.rawValue, 0)
        guard let base, base != MAP_FAILED else {
            throw BPFError(.memoryMap, "map \(handle.name)", errnoCode: errno)
        }
        self.handle = handle
        self.base = base
        self.length = length
    }

    /// Opens the beginning of a value that may be longer, in a map of another layout.
    ///
    /// - Throws: ``BPFError`` as ``init(_:)``.
    init(beginningOf handle: consuming MapHandle) throws(BPFError) {
        let size = Int(handle.shape.valueSize)
        try handle.require(types: [BPF_MAP_TYPE_ARRAY], keySize: 4, valueSize: max(size, MemoryLayout<Value>.stride))
        let length = Int(sysconf(CInt(_SC_PAGESIZE)))
        let base = mmap(nil, length, PROT_READ | PROT_WRITE, MAP_SHARED, handle.descriptor.rawValue, 0)
        guard let base, base != MAP_FAILED else {
            throw BPFError(.memoryMap, "map \(handle.name)", errnoCode: errno)
        }
        self.handle = handle
        self.base = base
        self.length = length
    }

    deinit { munmap(base, length) }

    /// A copy of the value; words that others write meanwhile may be old or new, each for itself.
    public var snapshot: Value { base.load(as: Value.self) }

    /// Reads the aligned 32-bit field at `field`; later reads see what was written before it.
    public func load(_ field: KeyPath<Value, UInt32>) -> UInt32 {
        sockops_load_acquire_u32(base + offset(of: field))
    }

    /// Writes the aligned 32-bit field at `field`, after everything that this thread has written before.
    public func publish(_ value: UInt32, to field: KeyPath<Value, UInt32>) {
        sockops_store_release_u32(base + offset(of: field), value)
    }

    /// Writes the aligned 32-bit field at `field` at once, in no order with other writes.
    public func store(_ value: UInt32, to field: KeyPath<Value, UInt32>) {
        sockops_store_relaxed_u32(base + offset(of: field), value)
    }

    /// Writes the aligned 64-bit field at `field` at once, in no order with other writes.
    public func store(_ value: UInt64, to field: KeyPath<Value, UInt64>) {
        sockops_store_relaxed_u64(base + offset(of: field), value)
    }

    private func offset(of field: PartialKeyPath<Value>) -> Int {
        guard let offset = MemoryLayout<Value>.offset(of: field) else {
            preconditionFailure("\(field) is not a stored field of \(Value.self)")
        }
        return offset
    }
}

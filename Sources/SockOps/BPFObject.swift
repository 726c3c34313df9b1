// SPDX-License-Identifier: Apache-2.0

import CLibBPF
import Glibc
import LinuxIO

/// Owns a `struct bpf_object *`.
private struct ObjectPointer: ~Copyable {
    let raw: OpaquePointer

    deinit { bpf_object__close(raw) }
}

/// A BPF object file that has been read but not loaded: maps can still be replaced and constants set.
public struct BPFObjectFile: ~Copyable {
    private let object: ObjectPointer
    /// File name, for messages.
    public let name: String

    /// - Throws: ``BPFError`` with `.open` if the ELF is malformed.
    public init(elf: [UInt8], name: String) throws(BPFError) {
        var log: [String] = []
        var code: CInt = 0
        // libbpf copies what it needs before it returns (bpf_object_open ends with bpf_object__elf_finish).
        let opened = LibBPFLog.capture(into: &log) { () -> OpaquePointer? in
            let opened = elf.withUnsafeBytes { bpf_object__open_mem($0.baseAddress, $0.count, nil) }
            code = errno
            return opened
        }
        guard let opened else { throw BPFError(.open, "object \(name)", errnoCode: code, log: log) }
        self.object = ObjectPointer(raw: opened)
        self.name = name
    }

    /// Reads the object file at `path`.
    public init(path: String) throws(BPFError) {
        let bytes = try BPFError.telling { () throws(SystemError) in try SmallFile.read(path) }
        try self.init(elf: bytes, name: path.split(separator: "/").last.map(String.init) ?? path)
    }

    /// The maps that the object declares, with the shapes they will have; not those of its constants.
    public var maps: [(name: String, shape: MapShape)] {
        var found: [(name: String, shape: MapShape)] = []
        var map = bpf_object__next_map(object.raw, nil)
        while let current = map {
            if !bpf_map__is_internal(current) {
                let shape = MapShape(
                    type: bpf_map__type(current).rawValue, keySize: bpf_map__key_size(current),
                    valueSize: bpf_map__value_size(current), maxEntries: bpf_map__max_entries(current),
                    flags: bpf_map__map_flags(current))
                found.append((String(cString: bpf_map__name(current)), shape))
            }
            map = bpf_object__next_map(object.raw, current)
        }
        return found
    }

    /// Lets the object use an existing map in place of the one it declares.
    ///
    /// - Throws: ``BPFError`` with `.reuse` if type, sizes, number of entries or flags differ.
    public func reuse(_ handle: borrowing MapHandle, as mapName: String) throws(BPFError) {
        guard let declared = maps.first(where: { $0.name == mapName })?.shape,
            let map = bpf_object__find_map_by_name(object.raw, mapName)
        else { throw BPFError(.find, "map \(mapName) in \(name)", errnoCode: ENOENT) }
        if let difference = handle.shape.difference(from: declared) {
            throw BPFError(.reuse, "map \(mapName)", errnoCode: EINVAL, detail: "it has \(difference)")
        }
        let status = bpf_map__reuse_fd(map, handle.descriptor.rawValue)
        guard status == 0 else { throw BPFError(.reuse, "map \(mapName)", errnoCode: status) }
    }

    /// Leaves out all programs but `names`, which saves the verifier's time.
    public func keepOnly(programs names: [String]) {
        var program = bpf_object__next_program(object.raw, nil)
        while let current = program {
            // Fails only after the load.
            _ = bpf_program__set_autoload(current, names.contains(String(cString: bpf_program__name(current))))
            program = bpf_object__next_program(object.raw, current)
        }
    }

    /// Changes the number of entries that a map will have.
    public func setCapacity(_ entries: UInt32, of mapName: String) throws(BPFError) {
        guard let map = bpf_object__find_map_by_name(object.raw, mapName) else {
            throw BPFError(.find, "map \(mapName) in \(name)", errnoCode: ENOENT)
        }
        let status = bpf_map__set_max_entries(map, entries)
        guard status == 0 else { throw BPFError(.update, "entries of map \(mapName)", errnoCode: status) }
    }

    /// Sets a `const volatile` variable of the object; the verifier then treats it as a constant.
    ///
    /// - Throws: ``BPFError`` with `.find` if the object has no such variable, or one of another size.
    public func setConstant<Value: BitwiseCopyable>(_ variable: String, to value: Value) throws(BPFError) {
        var size: UInt32 = 0
        let offset = sockops_rodata_offset(object.raw, variable, &size)
        guard offset >= 0 else { throw BPFError(.find, "constant \(variable) in \(name)", errnoCode: ENOENT) }
        guard Int(size) == MemoryLayout<Value>.size else {
            throw BPFError(
                .find, "constant \(variable) in \(name)", errnoCode: EINVAL,
                detail: "it has \(size) bytes, not \(MemoryLayout<Value>.size)")
        }
        var map = bpf_object__next_map(object.raw, nil)
        while let current = map {
            // libbpf prefixes the section's name with that of the object.
            if bpf_map__is_internal(current), String(cString: bpf_map__name(current)).hasSuffix(".rodata") {
                var length = 0
                guard let start = bpf_map__initial_value(current, &length), Int(offset) + Int(size) <= length else {
                    break
                }
                // The section is memory of libbpf's that it will write to the map; const guards readers only.
                UnsafeMutableRawPointer(mutating: start).storeBytes(
                    of: value, toByteOffset: Int(offset), as: Value.self)
                return
            }
            map = bpf_object__next_map(object.raw, current)
        }
        throw BPFError(.find, "section .rodata of \(name)", errnoCode: ENOENT)
    }

    /// Creates the maps that are not reused and hands all programs to the verifier.
    ///
    /// - Throws: ``BPFError`` with `.load`; its log has the last lines of the verifier.
    public consuming func load() throws(BPFError) -> BPFObject {
        var log: [String] = []
        let raw = object.raw
        let status = LibBPFLog.capture(into: &log) { bpf_object__load(raw) }
        guard status == 0 else { throw BPFError(.load, "object \(name)", errnoCode: status, log: log) }
        return BPFObject(object: object, name: name)
    }
}

/// A BPF object that the kernel has verified and loaded.
///
/// Owns every map and program in it. Nothing that points into the object is handed out: maps
/// and programs leave on descriptors of their own, and may outlive it.
public struct BPFObject: ~Copyable {
    private let object: ObjectPointer
    /// File name, for messages.
    public let name: String

    fileprivate init(object: consuming ObjectPointer, name: String) {
        self.object = object
        self.name = name
    }

    /// The map called `mapName`.
    ///
    /// - Throws: ``BPFError`` with `.find` if the object has no such map.
    public func map(_ mapName: String) throws(BPFError) -> MapHandle {
        guard let map = bpf_object__find_map_by_name(object.raw, mapName) else {
            throw BPFError(.find, "map \(mapName) in \(name)", errnoCode: ENOENT)
        }
        return try MapHandle(adopting: Self.duplicate(bpf_map__fd(map)))
    }

    /// The program called `programName`.
    ///
    /// - Throws: ``BPFError`` with `.find` if the object has no such program.
    public func program(_ programName: String) throws(BPFError) -> BPFProgram {
        guard let program = bpf_object__find_program_by_name(object.raw, programName) else {
            throw BPFError(.find, "program \(programName) in \(name)", errnoCode: ENOENT)
        }
        return try BPFProgram(adopting: Self.duplicate(bpf_program__fd(program)))
    }

    private static func duplicate(_ raw: CInt) throws(BPFError) -> OwnedDescriptor {
        try BPFError.telling { () throws(SystemError) in
            OwnedDescriptor(
                adopting: try SystemError.check("fcntl(F_DUPFD_CLOEXEC)") { fcntl(raw, F_DUPFD_CLOEXEC, 0) })
        }
    }
}

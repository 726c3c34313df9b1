// SPDX-License-Identifier: Apache-2.0

import CLibBPF
import Glibc
import LinuxIO

/// The slots that programs tail-call into.
public struct ProgramArray: ~Copyable, Sendable {
    let handle: MapHandle

    /// - Throws: ``BPFError`` with `.open` if the map is not a program array.
    public init(_ handle: consuming MapHandle) throws(BPFError) {
        try handle.require(types: [BPF_MAP_TYPE_PROG_ARRAY], keySize: 4, valueSize: 4)
        self.handle = handle
    }

    /// Puts `program` into `slot` in place of what is there; a tail call sees the old one or the new one.
    public func set(_ slot: UInt32, _ program: borrowing BPFProgram) throws(BPFError) {
        let raw = program.descriptor.rawValue
        let status = withUnsafePointer(to: slot) { slot in
            withUnsafePointer(to: raw) { bpf_map_update_elem(handle.descriptor.rawValue, slot, $0, 0) }
        }
        guard status == 0 else {
            throw BPFError(.update, "slot \(slot) of \(handle.name) to \(program.name)", errnoCode: status)
        }
    }

    /// Empties `slot`: tail calls into it fall through from now on. One that is empty already is fine.
    public func clear(_ slot: UInt32) throws(BPFError) {
        let status = withUnsafePointer(to: slot) { bpf_map_delete_elem(handle.descriptor.rawValue, $0) }
        guard status == 0 || status == -ENOENT else {
            throw BPFError(.delete, "slot \(slot) of \(handle.name)", errnoCode: status)
        }
    }

    /// The kernel's number of the program in `slot`, nil if it is empty.
    public func programID(_ slot: UInt32) throws(BPFError) -> UInt32? {
        var id: UInt32 = 0
        let status = withUnsafePointer(to: slot) { bpf_map_lookup_elem(handle.descriptor.rawValue, $0, &id) }
        guard status == 0 || status == -ENOENT else {
            throw BPFError(.lookUp, "slot \(slot) of \(handle.name)", errnoCode: status)
        }
        return status == 0 ? id : nil
    }
}

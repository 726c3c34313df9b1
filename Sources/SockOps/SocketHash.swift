// SPDX-License-Identifier: Apache-2.0

import CLibBPF
import Glibc
import LinuxIO

/// A sockhash with 64-bit keys.
///
/// Connected sockets are added and removed by BPF only: taking a live member out from here would
/// drop what is queued for it. Listeners may be ``set(_:listener:)`` and removed.
public struct SocketHash: ~Copyable, Sendable {
    let handle: MapHandle

    /// - Throws: ``BPFError`` with `.open` if the map is not a sockhash from 64-bit keys to socket cookies.
    public init(_ handle: consuming MapHandle) throws(BPFError) {
        try handle.require(types: [BPF_MAP_TYPE_SOCKHASH], keySize: 8, valueSize: 8)
        self.handle = handle
    }

    /// Makes `program` the verdict of sockets that join from now on; members keep the program they joined with.
    ///
    /// The attachment lives as long as the map has a descriptor or a pin: there is no link for it before
    /// Linux 6.10 and libbpf 1.5.
    public func attach(_ program: borrowing BPFProgram) throws(BPFError) {
        let status = bpf_prog_attach(program.descriptor.rawValue, handle.descriptor.rawValue, BPF_SK_MSG_VERDICT, 0)
        guard status == 0 else {
            throw BPFError(.attach, "\(program.name) to \(handle.name)", errnoCode: status)
        }
    }

    /// Puts a listening socket under `key`, in place of what is there. The map does not keep it open: it leaves the
    /// map when its last descriptor is closed.
    ///
    /// - Throws: ``BPFError`` with `.update`: EOPNOTSUPP if the socket does not listen, E2BIG if the map is full.
    public func set(_ key: UInt64, listener: CInt) throws(BPFError) {
        let value = UInt64(UInt32(bitPattern: listener))
        let status = withUnsafePointer(to: key) { key in
            withUnsafePointer(to: value) { bpf_map_update_elem(handle.descriptor.rawValue, key, $0, 0) }
        }
        guard status == 0 else { throw BPFError(.update, "map \(handle.name)", errnoCode: status) }
    }

    /// Takes the listener under `key` out.
    ///
    /// - Returns: whether there was one.
    @discardableResult
    public func remove(_ key: UInt64) throws(BPFError) -> Bool {
        let status = withUnsafePointer(to: key) { bpf_map_delete_elem(handle.descriptor.rawValue, $0) }
        guard status == 0 || status == -ENOENT || status == -EINVAL else {
            throw BPFError(.delete, "map \(handle.name)", errnoCode: status)
        }
        return status == 0
    }

    /// The keys of the members, in no order. Changes meanwhile may or may not show.
    public func keys() throws(BPFError) -> [UInt64] {
        var keys: [UInt64] = []
        var next: UInt64 = 0
        var status = bpf_map_get_next_key(handle.descriptor.rawValue, nil, &next)
        // The bound ends a walk that departing members keep sending back to the start.
        while status == 0, keys.count < Int(handle.shape.maxEntries) {
            keys.append(next)
            let current = next
            status = withUnsafePointer(to: current) { bpf_map_get_next_key(handle.descriptor.rawValue, $0, &next) }
        }
        guard status == 0 || status == -ENOENT else {
            throw BPFError(.iterate, "map \(handle.name)", errnoCode: status)
        }
        return keys
    }
}

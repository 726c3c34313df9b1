// SPDX-License-Identifier: Apache-2.0

import CLibBPF
import Glibc
import LinuxIO

/// What BPF programs keep with each socket, read and written through the socket's descriptor.
public struct SocketStorage<Value: BitwiseCopyable>: ~Copyable, Sendable {
    let handle: MapHandle

    /// - Throws: ``BPFError`` with `.open` if the map is not a socket storage of `Value`.
    public init(_ handle: consuming MapHandle) throws(BPFError) {
        try handle.requireSocketStorage(valueSize: MemoryLayout<Value>.stride)
        self.handle = handle
    }

    /// The value of a socket, nil if it has none.
    ///
    /// - Parameter socket: a descriptor of it.
    public func get(_ socket: CInt) throws(BPFError) -> Value? {
        let raw = handle.descriptor.rawValue
        var status: CInt = 0
        let value = withUnsafeTemporaryAllocation(of: Value.self, capacity: 1) { buffer -> Value? in
            status = withUnsafePointer(to: socket) { bpf_map_lookup_elem(raw, $0, buffer.baseAddress) }
            return status == 0 ? buffer[0] : nil
        }
        guard status == 0 || status == -ENOENT else { throw failure(.lookUp, status) }
        return value
    }

    /// Gives a socket a value, in place of what it has.
    ///
    /// - Throws: ``BPFError`` with `.update`: EBADF or ENOTSOCK if `socket` is no socket, ENOMEM.
    public func set(_ socket: CInt, _ value: Value) throws(BPFError) {
        let raw = handle.descriptor.rawValue
        let status = withUnsafePointer(to: socket) { socket in
            withUnsafePointer(to: value) { bpf_map_update_elem(raw, socket, $0, 0) }
        }
        guard status == 0 else { throw failure(.update, status) }
    }

    private func failure(_ operation: BPFError.Operation, _ status: CInt) -> BPFError {
        BPFError(operation, "map \(handle.name)", errnoCode: status)
    }
}

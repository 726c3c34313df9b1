// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// A file in memory that nobody can change any more, to be given to another process (memfd_create(2), sealed).
public enum SealedMemory {
    /// Makes a file of `bytes`.
    ///
    /// - Parameter name: shown in `/proc/PID/fd`; for people.
    public static func make(_ name: String, _ bytes: [UInt8]) throws(SystemError) -> SharedDescriptor {
        let raw = try SystemError.check("memfd_create", name) { clinux_memory_create(name) }
        let file = SharedDescriptor(adopting: raw)
        var written = 0
        while written < bytes.count {
            written += try SystemError.check("write", name) {
                bytes.withUnsafeBytes { write(raw, $0.baseAddress.map { $0 + written }, $0.count - written) }
            }
        }
        try SystemError.check("fcntl(F_ADD_SEALS)", name) { clinux_memory_seal(raw) }
        return file
    }

    /// Lends the bytes of a file that came from another process.
    ///
    /// Only of one that is sealed: the sender of any other could change the bytes while they are read, or cut the file,
    /// which kills the reader by SIGBUS.
    ///
    /// - Parameter limit: bytes.
    /// - Throws: ``SystemError``; EPERM with a hint if a seal is missing, EINVAL if it is no file in memory, EFBIG if it
    ///   is larger than `limit`.
    public static func withBytes<Value>(
        of file: SharedDescriptor, atMost limit: Int, _ body: (UnsafeRawBufferPointer) -> Value
    ) throws(SystemError) -> Value {
        let raw = file.rawValue
        let seals = try SystemError.check("fcntl(F_GET_SEALS)") { clinux_memory_is_sealed(raw) }
        guard seals == 1 else {
            throw SystemError(
                "fcntl(F_GET_SEALS)", errnoCode: EPERM, hint: "the file is not sealed against being changed")
        }
        var status = stat()
        try SystemError.check("fstat") { fstat(raw, &status) }
        let size = Int(status.st_size)
        guard size <= limit else {
            throw SystemError("fstat", errnoCode: EFBIG, hint: "\(size) bytes, more than \(limit)")
        }
        guard size > 0 else { return body(UnsafeRawBufferPointer(start: nil, count: 0)) }
        guard let start = mmap(nil, size, PROT_READ, MAP_PRIVATE, raw, 0), start != MAP_FAILED else {
            throw SystemError("mmap", errnoCode: errno)
        }
        defer { munmap(start, size) }
        return body(UnsafeRawBufferPointer(start: start, count: size))
    }
}

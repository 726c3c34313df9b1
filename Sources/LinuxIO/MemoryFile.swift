// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// A file in memory that one process makes and another one fills (memfd_create(2)).
public enum MemoryFile {
    /// An empty file.
    ///
    /// - Parameter name: shown in `/proc/PID/fd`; for people.
    public static func make(_ name: String) throws(SystemError) -> SharedDescriptor {
        SharedDescriptor(adopting: try SystemError.check("memfd_create", name) { clinux_memory_create(name) })
    }

    /// Writes `bytes` to a new file.
    public static func write(_ bytes: [UInt8], to file: SharedDescriptor) throws(SystemError) {
        var failure: SystemError?
        bytes.withUnsafeBytes { bytes in
            do throws(SystemError) { try append(bytes, to: file) } catch { failure = error }
        }
        if let failure { throw failure }
    }

    /// The whole file. It is read, not mapped: whoever has filled it may cut it at any time.
    ///
    /// - Throws: ``SystemError``; EFBIG if it has more than `limit` bytes.
    public static func read(_ file: SharedDescriptor, atMost limit: Int) throws(SystemError) -> [UInt8] {
        let raw = file.rawValue
        var bytes: [UInt8] = []
        var block = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = try SystemError.check("pread") {
                block.withUnsafeMutableBytes { pread(raw, $0.baseAddress, $0.count, off_t(bytes.count)) }
            }
            if count == 0 { return bytes }
            guard bytes.count + count <= limit else {
                throw SystemError("pread", errnoCode: EFBIG, hint: "more than \(limit) bytes")
            }
            bytes += block[..<count]
        }
    }
}

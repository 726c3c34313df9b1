// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Whole-file reads and writes of the small files that the kernel presents (`/proc`, cgroupfs).
public enum SmallFile {
    /// The bytes of `path`, read to the end; sizes that the file system reports are not trusted.
    ///
    /// - Parameter limit: largest size accepted, in bytes; a bigger file is an EFBIG error.
    public static func read(_ path: String, limit: Int = 16 << 20) throws(SystemError) -> [UInt8] {
        let file = try OwnedDescriptor(open: path, flags: O_RDONLY)
        let raw = file.rawValue
        return try withUnsafeTemporaryAllocation(byteCount: 16384, alignment: 1) { (buffer) throws(SystemError) in
            var bytes: [UInt8] = []
            while true {
                let count = try SystemError.check("read", path) { Glibc.read(raw, buffer.baseAddress, buffer.count) }
                if count == 0 { return bytes }
                // Copied as a whole: where every process of the machine is looked at, a byte at a time takes seconds.
                bytes.append(contentsOf: UnsafeRawBufferPointer(rebasing: buffer[..<count]))
                guard bytes.count <= limit else {
                    throw SystemError("read", path, errnoCode: EFBIG, hint: "larger than \(limit) bytes")
                }
            }
        }
    }

    /// The text of `path`; bytes that are not UTF-8 become U+FFFD.
    public static func readText(_ path: String, limit: Int = 16 << 20) throws(SystemError) -> String {
        String(decoding: try read(path, limit: limit), as: UTF8.self)
    }

    /// Writes `text` to the existing file `path` with one write(2), as control files demand.
    public static func writeText(_ path: String, _ text: String) throws(SystemError) {
        let file = try OwnedDescriptor(open: path, flags: O_WRONLY)
        let raw = file.rawValue
        let bytes = Array(text.utf8)
        let written = try SystemError.check("write", path) { Glibc.write(raw, bytes, bytes.count) }
        guard written == bytes.count else {
            throw SystemError("write", path, errnoCode: EIO, hint: "wrote \(written) of \(bytes.count) bytes")
        }
    }
}

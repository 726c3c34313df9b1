// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Reading of whole files.
enum FileBytes {
    /// What tells that a file has changed without reading it.
    struct Stamp: Hashable, Sendable {
        let device: UInt64
        let inode: UInt64
        let size: Int64
        let modifiedSeconds: Int64
        let modifiedNanoseconds: Int64
        let changedSeconds: Int64
        let changedNanoseconds: Int64

        init(_ status: stat) {
            device = UInt64(status.st_dev)
            inode = UInt64(status.st_ino)
            size = Int64(status.st_size)
            modifiedSeconds = Int64(status.st_mtim.tv_sec)
            modifiedNanoseconds = Int64(status.st_mtim.tv_nsec)
            changedSeconds = Int64(status.st_ctim.tv_sec)
            changedNanoseconds = Int64(status.st_ctim.tv_nsec)
        }
    }

    /// The bytes of the regular file at `path`, with the stamp it had when they were read.
    ///
    /// - Throws: `EFBIG` if it has more than `limit` bytes, `EINVAL` if it is not a regular file.
    static func read(_ path: String, atMost limit: Int) throws(StateFileError) -> (bytes: [UInt8], stamp: Stamp) {
        // Nonblocking: opening a FIFO must not hang the agent.
        let file = try StateFileError.check("open", path) { open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) }
        defer { close(file) }
        var status = stat()
        _ = try StateFileError.check("stat", path) { fstat(file, &status) }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw StateFileError("read", path, code: status.st_mode & S_IFMT == S_IFDIR ? EISDIR : EINVAL)
        }
        guard status.st_size <= limit else { throw StateFileError("read", path, code: EFBIG) }
        let bytes = try readAll(file, path, atMost: limit, expecting: Int(status.st_size))
        return (bytes, Stamp(status))
    }

    /// Everything that can be read from an open descriptor, standard input for example.
    ///
    /// - Throws: `EFBIG` if there are more than `limit` bytes.
    static func readAll(
        _ file: CInt, _ path: String, atMost limit: Int, expecting size: Int = 0
    ) throws(StateFileError) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(size)
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = try StateFileError.check("read", path) { Glibc.read(file, &chunk, chunk.count) }
            if count == 0 { return bytes }
            guard bytes.count <= limit - count else { throw StateFileError("read", path, code: EFBIG) }
            bytes.append(contentsOf: chunk[..<count])
        }
    }

    /// A descriptor for reading, or `nil` if the file is not there.
    static func openIfThere(_ path: String) throws(StateFileError) -> CInt? {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        if file >= 0 { return file }
        if errno == ENOENT { return nil }
        throw StateFileError("open", path, code: errno)
    }
}

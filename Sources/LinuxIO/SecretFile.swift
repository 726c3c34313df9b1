// SPDX-License-Identifier: Apache-2.0

import Glibc

/// A file with secrets in it, or with what must be believed, which only its owner may read and write.
public enum SecretFile {
    /// Largest file that is read, in bytes.
    public static let maximumBytes = 1 << 20

    /// Lends the bytes of the file. They are never swapped out, where the kernel allows that, and wiped when `body`
    /// returns.
    ///
    /// - Parameter limit: bytes that are read at most.
    /// - Returns: `nil` if there is no such file.
    /// - Throws: ``SystemError``; EPERM with a hint if others may read or write the file, or it belongs to another user:
    ///   what it says is then no secret, or not ours.
    public static func withBytes<Value>(
        of path: String, atMost limit: Int = maximumBytes, _ body: (UnsafeRawBufferPointer) throws(SystemError) -> Value
    ) throws(SystemError) -> Value? {
        let file: OwnedDescriptor
        // Nonblocking: opening a FIFO must not wait for its other end.
        do { file = try OwnedDescriptor(open: path, flags: O_RDONLY | O_NOFOLLOW | O_NONBLOCK) } catch {
            if error.errnoCode == ENOENT { return nil }
            throw error
        }
        let raw = file.rawValue
        var status = stat()
        try SystemError.check("fstat", path) { fstat(raw, &status) }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw SystemError("read", path, errnoCode: EINVAL, hint: "it is not a regular file")
        }
        guard status.st_uid == geteuid(), status.st_mode & 0o077 == 0 else {
            throw SystemError(
                "read", path, errnoCode: EPERM,
                hint: "it holds secrets or says whom to believe, but others may read or write it; "
                    + "find out who has, then chown and chmod 600")
        }
        guard status.st_size <= limit else {
            throw SystemError("read", path, errnoCode: EFBIG, hint: "larger than \(limit) bytes")
        }
        // One more, to see whether it has grown.
        let size = Int(status.st_size) + 1
        guard let memory = malloc(size) else { throw SystemError("malloc", errnoCode: ENOMEM) }
        let isLocked = mlock(memory, size) == 0
        defer {
            wipe(UnsafeMutableRawBufferPointer(start: memory, count: size))
            if isLocked { munlock(memory, size) }
            free(memory)
        }
        var count = 0
        while count < size {
            let chunk = try SystemError.check("read", path) { read(raw, memory + count, size - count) }
            if chunk == 0 { break }
            count += chunk
        }
        guard count < size else {
            throw SystemError("read", path, errnoCode: EAGAIN, hint: "it changes while it is read")
        }
        return try body(UnsafeRawBufferPointer(start: memory, count: count))
    }

    /// Replaces the file so that after a crash at any moment it is the old one or the new one, and on the disk when this
    /// returns. The directory is made if it is not there.
    ///
    /// - Parameter bytes: The caller wipes them.
    public static func replace(_ path: String, _ bytes: UnsafeRawBufferPointer) throws(SystemError) {
        guard let slash = path.lastIndex(of: "/") else {
            throw SystemError("write", path, errnoCode: EINVAL, hint: "give a path with a directory")
        }
        let directory = String(path[..<slash])
        if mkdir(directory, 0o700) != 0, errno != EEXIST {
            throw SystemError("mkdir", directory, errnoCode: errno)
        }
        let temporary = path + ".tmp"
        // What a crash has left may have other permissions.
        if unlink(temporary) != 0, errno != ENOENT { throw SystemError("unlink", temporary, errnoCode: errno) }
        do {
            try write(temporary, bytes)
            try SystemError.check("rename", path) { rename(temporary, path) }
        } catch {
            _ = unlink(temporary)
            throw error
        }
        let parent = try OwnedDescriptor(open: directory, flags: O_RDONLY | O_DIRECTORY)
        let raw = parent.rawValue
        try SystemError.check("fsync", directory) { fsync(raw) }
    }

    /// Overwrites memory with zeros, which no compiler takes for useless.
    public static func wipe(_ bytes: UnsafeMutableRawBufferPointer) {
        if let start = bytes.baseAddress { explicit_bzero(start, bytes.count) }
    }

    private static func write(_ path: String, _ bytes: UnsafeRawBufferPointer) throws(SystemError) {
        let file = try OwnedDescriptor(open: path, flags: O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o600)
        let raw = file.rawValue
        var count = 0
        while count < bytes.count {
            count += try SystemError.check("write", path) {
                Glibc.write(raw, bytes.baseAddress.map { $0 + count }, bytes.count - count)
            }
        }
        try SystemError.check("fsync", path) { fsync(raw) }
    }
}

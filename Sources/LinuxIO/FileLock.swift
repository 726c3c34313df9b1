// SPDX-License-Identifier: Apache-2.0

import Glibc

/// An flock(2) on a file or a directory: one holder at a time, and it ends with the process, whatever ends that.
public struct FileLock: ~Copyable, Sendable {
    private let file: OwnedDescriptor

    /// - Parameters:
    ///   - path: of a directory that exists, or of a file.
    ///   - makesFile: a file, made if it is not there, which only its owner reads.
    /// - Returns: `nil` if somebody else holds it, see ``holder(of:)``.
    public static func take(_ path: String, makesFile: Bool = false) throws(SystemError) -> FileLock? {
        let flags = makesFile ? O_RDWR | O_CREAT | O_NOFOLLOW : O_RDONLY | O_DIRECTORY
        let file = try OwnedDescriptor(open: path, flags: flags, mode: 0o600)
        guard flock(file.rawValue, LOCK_EX | LOCK_NB) == 0 else {
            let code = errno
            guard code == EWOULDBLOCK else { throw SystemError("flock", path, errnoCode: code) }
            return nil
        }
        return FileLock(file: file)
    }

    private init(file: consuming OwnedDescriptor) { self.file = file }

    /// The process that holds the lock, by `/proc/locks` (proc_locks(5)).
    public static func holder(of path: String) -> Int32? {
        var status = stat()
        guard stat(path, &status) == 0, let text = try? SmallFile.readText("/proc/locks") else { return nil }
        for line in text.split(separator: "\n") {
            // 1: FLOCK  ADVISORY  WRITE 1234 08:01:131 0 EOF
            let fields = line.split(separator: " ")
            guard fields.count >= 6, fields[1] == "FLOCK", let pid = Int32(fields[4]),
                fields[5].split(separator: ":").last.flatMap({ UInt64($0) }) == UInt64(status.st_ino)
            else { continue }
            return pid
        }
        return nil
    }
}

// SPDX-License-Identifier: Apache-2.0
import Glibc
import LinuxIO

/// Held by the agent of a node while it runs, so that there is never a second one over the same state or pins.
///
/// An flock(2) on a directory: it ends with the process, whatever ends that.
struct NodeLock: ~Copyable {
    private let directory: OwnedDescriptor

    /// - Parameters:
    ///   - path: of a directory that exists.
    ///   - flag: by which another one could be chosen.
    /// - Throws: ``SystemError``; EBUSY with a hint that names the process if another agent holds it.
    init(_ path: String, flag: String) throws(SystemError) {
        let directory = try OwnedDescriptor(open: path, flags: O_RDONLY | O_DIRECTORY)
        guard flock(directory.rawValue, LOCK_EX | LOCK_NB) == 0 else {
            let code = errno
            guard code == EWOULDBLOCK else { throw SystemError("flock", path, errnoCode: code) }
            let holder = Self.holder(of: path).map { "the agent with process id \($0)" } ?? "another agent"
            throw SystemError(
                "start on", path, errnoCode: EBUSY, hint: "\(holder) uses it: stop that one, or choose another \(flag)")
        }
        self.directory = directory
    }

    /// The process that holds the lock, by `/proc/locks` (proc_locks(5)).
    private static func holder(of path: String) -> Int32? {
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

// SPDX-License-Identifier: Apache-2.0
import Glibc
import LinuxIO

/// Held by the agent of a node while it runs, so that there is never a second one over the same state or pins.
struct NodeLock: ~Copyable {
    private let lock: FileLock

    /// - Parameters:
    ///   - path: of a directory that exists.
    ///   - flag: by which another one could be chosen.
    /// - Throws: ``SystemError``; EBUSY with a hint that names the process if another agent holds it.
    init(_ path: String, flag: String) throws(SystemError) {
        guard let lock = try FileLock.take(path) else {
            let holder = FileLock.holder(of: path).map { "the agent with process id \($0)" } ?? "another agent"
            throw SystemError(
                "start on", path, errnoCode: EBUSY, hint: "\(holder) uses it: stop that one, or choose another \(flag)")
        }
        self.lock = lock
    }
}

// SPDX-License-Identifier: Apache-2.0

public import LinuxIO

extension LocalAuthority {
    /// Takes the lock of an authority's file, `PATH.lock` beside it: only its holder writes the file and has it in memory.
    ///
    /// The directory is made if it is not there.
    ///
    /// - Throws: ``AuthorityFileError`` that names the process which holds it.
    public static func lock(_ path: String) throws(AuthorityFileError) -> FileLock {
        let file = path + ".lock"
        do throws(SystemError) {
            if let slash = path.lastIndex(of: "/") {
                try Mounts.makeDirectories(String(path[..<slash]), mode: 0o700)
            }
            if let lock = try FileLock.take(file, makesFile: true) { return lock }
        } catch { throw AuthorityFileError(path: path, reason: "it cannot be locked: \(error)", isInUse: true) }
        let holder = FileLock.holder(of: file).map { "process \($0)" } ?? "another process"
        throw AuthorityFileError(path: path, reason: "\(holder) uses this authority", isInUse: true)
    }
}

// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import Glibc
import LinuxIO

/// A directory that others may enter, unlike what mkdtemp makes.
public enum TestDirectory {
    public static func make() throws -> String {
        var template = Array("/tmp/meshadmin-XXXXXX".utf8CString)
        guard let made = mkdtemp(&template) else { throw SystemError("mkdtemp", errnoCode: errno) }
        let path = String(cString: made)
        try SystemError.check("chmod", path) { chmod(path, 0o755) }
        return path
    }

    public static func remove(_ path: String) {
        try? FileManager.default.removeItem(atPath: path)
    }
}

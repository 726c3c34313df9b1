// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxIO

/// Names and removal of pins. A pin is one reference: what it refers to lives on if there are others.
enum PinTree {
    /// Names in `directory`, sorted; empty if there is no such directory.
    static func names(_ directory: String) throws(BPFError) -> [String] {
        guard let stream = opendir(directory) else {
            if errno == ENOENT { return [] }
            throw BPFError(SystemError("opendir", directory, errnoCode: errno))
        }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = String(cTuple: entry.pointee.d_name)
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    static func isDirectory(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }

    /// Removes one pin; absent is fine.
    static func unpin(_ path: String) throws(BPFError) {
        guard unlink(path) == 0 || errno == ENOENT else { throw BPFError(.unpin, path, errnoCode: errno) }
    }

    /// Removes a directory with all that is below it; absent is fine.
    static func removeAll(_ directory: String) throws(BPFError) {
        for path in try everything(below: directory).reversed() + [directory] {
            let status = isDirectory(path) ? rmdir(path) : unlink(path)
            guard status == 0 || errno == ENOENT else { throw BPFError(.unpin, path, errnoCode: errno) }
        }
    }

    /// The paths below `directory`, directories before what is in them.
    static func everything(below directory: String) throws(BPFError) -> [String] {
        var found: [String] = []
        var pending = [directory]
        while let next = pending.popLast() {
            for name in try names(next) {
                let path = "\(next)/\(name)"
                found.append(path)
                if isDirectory(path) { pending.append(path) }
            }
        }
        return found
    }
}

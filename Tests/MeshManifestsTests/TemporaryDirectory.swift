// SPDX-License-Identifier: Apache-2.0

import Glibc

@testable import MeshManifests

/// A directory that is removed when the test ends.
final class TemporaryDirectory {
    let path: String

    init() {
        var template = Array("/tmp/manifests-test-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { fatalError("mkdtemp: errno \(errno)") }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { Self.remove(path) }

    private static func remove(_ path: String) {
        guard unlink(path) != 0, let stream = opendir(path) else { return }
        var names: [String] = []
        while let entry = readdir(stream) {
            names.append(
                withUnsafePointer(to: &entry.pointee.d_name) {
                    $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
                })
        }
        closedir(stream)
        for name in names where name != "." && name != ".." { remove("\(path)/\(name)") }
        rmdir(path)
    }

    func write(_ name: String, _ text: String) {
        let file = open("\(path)/\(name)", O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        precondition(file >= 0, "open \(name): errno \(errno)")
        let bytes = Array(text.utf8)
        precondition(Glibc.write(file, bytes, bytes.count) == bytes.count, "write \(name)")
        close(file)
    }

    func makeDirectory(_ name: String) {
        precondition(mkdir("\(path)/\(name)", 0o700) == 0, "mkdir \(name): errno \(errno)")
    }

    func link(_ name: String, to target: String) {
        unlink("\(path)/\(name)")
        precondition(symlink(target, "\(path)/\(name)") == 0, "symlink \(name): errno \(errno)")
    }

    func remove(_ name: String) {
        precondition(unlink("\(path)/\(name)") == 0, "unlink \(name): errno \(errno)")
    }

    func names(in name: String) -> [String] {
        (try? DurableDirectory(path: "\(path)/\(name)").names()) ?? []
    }

    /// Makes a file look as if it had been written long ago.
    func age(_ name: String) {
        let past = timespec(tv_sec: time(nil) - 30, tv_nsec: 0)
        precondition(utimensat(AT_FDCWD, "\(path)/\(name)", [past, past], 0) == 0, "utimensat: errno \(errno)")
    }
}

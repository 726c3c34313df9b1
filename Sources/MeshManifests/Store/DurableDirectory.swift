// SPDX-License-Identifier: Apache-2.0

import Glibc

/// A directory whose files are replaced so that a crash at any moment leaves each file old or new, never torn.
///
/// A replacement is: write a temporary file beside it, make its bytes durable, rename it over the old one, make the
/// directory durable. A batch does each step for all its files before the next step. A batch is not atomic as a
/// whole; ``AppliedState`` makes it so by writing one file first that says everything.
struct DurableDirectory: Sendable {
    /// A step at which a machine may die. Tests stop the world there.
    enum Step: Hashable, Sendable {
        case makeDirectory, create, write, synchronize, rename, remove, synchronizeDirectory
    }

    let path: String
    /// Called before each step, with the file it is about; throws to make the step fail. `nil` in production.
    var interruption: (@Sendable (Step, String) throws(StateFileError) -> Void)?

    /// Above this many files one `sync`, which on Linux waits for the disk, is cheaper than an `fsync` for each.
    private static let filesPerSynchronization = 16
    /// The ending of files that are not complete yet; left over after a crash and removed by ``removeTemporaries()``.
    static let temporaryEnding = ".tmp"
    /// The ending of files that are complete as long as the machine has power; see ``stage(_:_:)``.
    static let stagedEnding = ".staged"

    /// Creates the directory and those above it, readable by the owner alone, and checks that it can be written.
    func make() throws(StateFileError) {
        try step(.makeDirectory, path)
        if mkdir(path, 0o700) != 0, errno != EEXIST {
            let code = errno
            guard code == ENOENT, let slash = path.lastIndex(of: "/"), slash > path.startIndex else {
                throw StateFileError("make directory", path, code: code)
            }
            try DurableDirectory(path: String(path[..<slash]), interruption: interruption).make()
            if mkdir(path, 0o700) != 0 { throw StateFileError("make directory", path, code: errno) }
        }
        _ = try StateFileError.check("open for writing", path) { access(path, R_OK | W_OK | X_OK) }
    }

    /// Removes what an interrupted write left.
    func removeTemporaries() throws(StateFileError) {
        for name in try names() where name.hasSuffix(Self.temporaryEnding) {
            try remove(name)
        }
    }

    /// The names of the files, without `.` and `..`, sorted.
    func names() throws(StateFileError) -> [String] {
        guard let stream = opendir(path) else { throw StateFileError("read directory", path, code: errno) }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { tuple in
                tuple.withMemoryRebound(to: CChar.self, capacity: Int(entry.pointee.d_reclen)) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    func read(_ name: String) throws(StateFileError) -> [UInt8] {
        try FileBytes.read("\(path)/\(name)", atMost: .max).bytes
    }

    /// Replaces the files `contents` and removes `removals`, durably.
    ///
    /// - Parameter isDurable: false leaves the bytes to the kernel's own time: for files that are also written
    ///   elsewhere. A crash may then leave a torn file.
    func replace(
        _ contents: [(name: String, bytes: [UInt8])], removing removals: [String] = [], isDurable: Bool = true
    ) throws(StateFileError) {
        guard !contents.isEmpty || !removals.isEmpty else { return }
        do {
            for (name, bytes) in contents {
                try write(
                    name + Self.temporaryEnding, bytes,
                    isDurable: isDurable && contents.count <= Self.filesPerSynchronization)
            }
            if isDurable, contents.count > Self.filesPerSynchronization {
                try step(.synchronize, path)
                sync()
            }
            for (name, _) in contents {
                try step(.rename, name)
                let (from, to) = ("\(path)/\(name)\(Self.temporaryEnding)", "\(path)/\(name)")
                _ = try StateFileError.check("rename", to) { Glibc.rename(from, to) }
            }
        } catch {
            // Only the temporary files: what was already renamed is complete, and the caller knows of the failure.
            for (name, _) in contents { try? remove(name + Self.temporaryEnding) }
            throw error
        }
        for name in removals { try remove(name) }
        if isDurable { try synchronize() }
    }

    /// Writes a file beside its place, without waiting for the disk: whoever starts after this process has died finds
    /// it whole, after a failure of power perhaps not.
    func stage(_ name: String, _ bytes: [UInt8]) throws(StateFileError) {
        do {
            try write(name + Self.stagedEnding, bytes, isDurable: false)
        } catch {
            try? remove(name + Self.stagedEnding)
            throw error
        }
    }

    /// Makes a staged file durable and puts it in its place.
    func publish(_ name: String) throws(StateFileError) {
        let (from, to) = ("\(path)/\(name)\(Self.stagedEnding)", "\(path)/\(name)")
        try synchronize(name + Self.stagedEnding)
        try step(.rename, name)
        _ = try StateFileError.check("rename", to) { Glibc.rename(from, to) }
        try synchronize()
    }

    /// Makes the bytes of files durable that were written without it.
    func synchronize(files: [String]) throws(StateFileError) {
        for name in files { try synchronize(name) }
        try synchronize()
    }

    /// Makes the bytes of a file durable; one that is not there has none.
    private func synchronize(_ name: String) throws(StateFileError) {
        guard let file = try FileBytes.openIfThere("\(path)/\(name)") else { return }
        defer { close(file) }
        try step(.synchronize, name)
        _ = try StateFileError.check("fsync", "\(path)/\(name)") { fsync(file) }
    }

    /// Removes a file; one that is not there is no error.
    func remove(_ name: String) throws(StateFileError) {
        try step(.remove, name)
        if unlink("\(path)/\(name)") != 0, errno != ENOENT {
            throw StateFileError("remove", "\(path)/\(name)", code: errno)
        }
    }

    /// Moves a file into another directory of the same file system.
    func move(_ name: String, to directory: DurableDirectory, as newName: String) throws(StateFileError) {
        try step(.rename, name)
        let target = "\(directory.path)/\(newName)"
        _ = try StateFileError.check("rename", target) { Glibc.rename("\(path)/\(name)", target) }
    }

    private func step(_ step: Step, _ name: String) throws(StateFileError) {
        if let interruption { try interruption(step, name) }
    }

    private func write(_ name: String, _ bytes: [UInt8], isDurable: Bool) throws(StateFileError) {
        let path = "\(path)/\(name)"
        try step(.create, name)
        let file = try StateFileError.check("create", path) {
            open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600)
        }
        defer { close(file) }
        try step(.write, name)
        var written = 0
        while written < bytes.count {
            written += try StateFileError.check("write", path) {
                bytes.withUnsafeBytes { Glibc.write(file, $0.baseAddress! + written, $0.count - written) }
            }
        }
        guard isDurable else { return }
        try step(.synchronize, name)
        _ = try StateFileError.check("fsync", path) { fsync(file) }
    }

    private func synchronize() throws(StateFileError) {
        let directory = try StateFileError.check("open", path) {
            open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        }
        defer { close(directory) }
        try step(.synchronizeDirectory, path)
        _ = try StateFileError.check("fsync", path) { fsync(directory) }
    }
}

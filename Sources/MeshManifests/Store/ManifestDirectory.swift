// SPDX-License-Identifier: Apache-2.0

import Glibc

/// A directory of manifests, read again file by file as the files change.
///
/// Files ending in `.yaml`, `.yml` and `.json` are read, in subdirectories too; names that begin with a dot are not.
/// Links are followed, so a mounted ConfigMap works: its files are links into the hidden directory `..data`.
public struct ManifestDirectory: Sendable {
    public let path: String
    /// A file that changed less than this ago may still be being written. Nanoseconds.
    public var settlingTime: Int64 = 100_000_000

    private let decoder: ManifestDecoder
    private var cache: [String: CachedFile] = [:]

    private struct CachedFile: Sendable {
        /// `nil` if the file changed while, or just before, it was read: its stamp would not show the next change.
        let stamp: FileBytes.Stamp?
        let manifest: DecodedManifest
    }

    /// Deeper directories, and loops of links, are refused.
    private static let maximumDepth = 16

    public init(path: String, decoder: ManifestDecoder = ManifestDecoder(unknownKinds: .warn)) {
        self.path = path
        self.decoder = decoder
    }

    /// Reads what is new or has changed since the last call.
    ///
    /// - Parameters:
    ///   - complete: paths known to be whole, because inotify told of their closing or of a rename.
    ///   - acceptsUnsettled: read files even if they changed a moment ago: at start, when there is no older version.
    /// - Throws: ``StateFileError`` if the directory itself cannot be read. A file that cannot be read is a finding.
    public mutating func scan(
        complete: Set<String> = [], acceptsUnsettled: Bool = false
    ) throws(StateFileError) -> DirectorySnapshot {
        var snapshot = DirectorySnapshot()
        var files: [String] = []
        try Self.collect(path, depth: 0, into: &snapshot, files: &files)

        var kept: [String: CachedFile] = [:]
        for file in files.sorted() {
            switch read(file, mayBeUnsettled: acceptsUnsettled || complete.contains(file)) {
            case .unchanged(let cached):
                kept[file] = cached
                snapshot.files.append(.init(path: file, manifest: cached.manifest))
            case .changed(let cached):
                kept[file] = cached
                snapshot.changed.append(file)
                snapshot.files.append(.init(path: file, manifest: cached.manifest))
            case .unsettled:
                snapshot.unsettled.append(file)
                guard let cached = cache[file] else { continue }
                kept[file] = cached
                snapshot.files.append(.init(path: file, manifest: cached.manifest))
            case .gone: break
            }
        }
        snapshot.removed = cache.keys.filter { kept[$0] == nil && !snapshot.unsettled.contains($0) }.sorted()
        cache = kept
        return snapshot
    }

    private enum Reading {
        case unchanged(CachedFile), changed(CachedFile), unsettled, gone
    }

    private func read(_ file: String, mayBeUnsettled: Bool) -> Reading {
        var status = stat()
        if stat(file, &status) == 0 {
            let stamp = FileBytes.Stamp(status)
            if let cached = cache[file], cached.stamp == stamp { return .unchanged(cached) }
            if !mayBeUnsettled, isRecent(stamp) { return .unsettled }
        } else if errno == ENOENT {
            return isDanglingLink(file) ? .changed(failure(StateFileError("open", file, code: ENOENT))) : .gone
        }
        do {
            let (bytes, stamp) = try FileBytes.read(file, atMost: decoder.limits.fileBytes)
            let manifest = decoder.decode(bytes, file: file)
            let isStable = stat(file, &status) == 0 && FileBytes.Stamp(status) == stamp && !isRecent(stamp)
            return .changed(CachedFile(stamp: isStable ? stamp : nil, manifest: manifest))
        } catch {
            return error.code == ENOENT ? .gone : .changed(failure(error))
        }
    }

    private func failure(_ error: StateFileError) -> CachedFile {
        var manifest = DecodedManifest()
        manifest.findings = [ManifestError(file: error.path, reason: error.cause, remedy: error.remedy ?? "")]
        return CachedFile(stamp: nil, manifest: manifest)
    }

    private func isRecent(_ stamp: FileBytes.Stamp) -> Bool {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        let seconds = Int64(now.tv_sec) - stamp.modifiedSeconds
        // A time in the future says nothing about when the file was written.
        guard (0...60).contains(seconds) else { return false }
        return seconds * 1_000_000_000 + Int64(now.tv_nsec) - stamp.modifiedNanoseconds < settlingTime
    }

    private func isDanglingLink(_ file: String) -> Bool {
        var status = stat()
        return lstat(file, &status) == 0
    }

    private static func collect(
        _ directory: String, depth: Int, into snapshot: inout DirectorySnapshot, files: inout [String]
    ) throws(StateFileError) {
        snapshot.directories.append(directory)
        for name in try DurableDirectory(path: directory).names() where !name.hasPrefix(".") {
            let path = "\(directory)/\(name)"
            var status = stat()
            if stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR {
                guard depth < maximumDepth else {
                    snapshot.findings.append(
                        ManifestError(
                            file: path, reason: "more than \(maximumDepth) directories deep",
                            remedy: "check for a link that leads back to a directory above it"))
                    continue
                }
                do {
                    try collect(path, depth: depth + 1, into: &snapshot, files: &files)
                } catch {
                    snapshot.unreadableDirectories.append(path)
                    snapshot.findings.append(
                        ManifestError(file: path, reason: error.cause, remedy: error.remedy ?? ""))
                }
            } else if [".yaml", ".yml", ".json"].contains(where: name.hasSuffix) {
                files.append(path)
            }
        }
    }
}

/// The state of a ``ManifestDirectory`` at one moment.
public struct DirectorySnapshot: Sendable {
    public struct File: Sendable {
        public let path: String
        public let manifest: DecodedManifest

        public init(path: String, manifest: DecodedManifest) {
            self.path = path
            self.manifest = manifest
        }
    }

    /// By path. A file that could not be read has a finding and no objects.
    public var files: [File] = []
    /// Files that were read because they are new or have changed.
    public var changed: [String] = []
    /// Files that were there the last time.
    public var removed: [String] = []
    /// Files that may still be being written; `files` has their older version, if there is one. Scan again soon.
    public var unsettled: [String] = []
    /// Every directory that was read: what inotify must watch.
    public var directories: [String] = []
    public var unreadableDirectories: [String] = []
    /// What is wrong with directories.
    public var findings: [ManifestError] = []

    public init() {}
}

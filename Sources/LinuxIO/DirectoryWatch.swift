// SPDX-License-Identifier: Apache-2.0
import Glibc

/// Watches a directory and all directories below it.
///
/// It answers one question, "may something have changed?"; the owner then reads the tree again. Directories
/// that appear are watched before the answer is given, so that nothing inside them is missed.
public struct DirectoryWatch: ~Copyable {
    /// Answer of ``poll()``.
    public enum Change: Equatable, Sendable {
        case none
        case changed
        /// The root is gone; watch again once it is back.
        case rootGone
    }

    /// Depth below the root at which the watch stops: a symbolic link or a bind mount may lead in a circle.
    private static let maximumDepth = 16

    private let inotify: Inotify
    private let root: String
    private var directories: [CInt: String]

    /// - Throws: ``SystemError`` if the root is no directory or cannot be watched.
    public init(root: String) throws(SystemError) {
        let created = try Inotify()
        let watch = try created.watch(directory: root)
        // Last: a noncopyable value must not throw once it is initialised.
        self.root = root
        inotify = created
        directories = [watch: root]
        addChildren(of: root, depth: 0)
    }

    /// Readable when ``poll()`` has something to say; lent for registration with an event loop.
    public var rawDescriptor: CInt { inotify.rawDescriptor }

    /// What happened since the last call. Never blocks.
    public mutating func poll() throws(SystemError) -> Change {
        var answer = Change.none
        for event in try inotify.events() {
            if answer == .none { answer = .changed }
            if event.watch < 0 {
                addChildren(of: root, depth: 0)
            } else if event.isGone {
                if directories.removeValue(forKey: event.watch) == root { answer = .rootGone }
            } else if event.isNewDirectory, let parent = directories[event.watch] {
                add("\(parent)/\(event.name)", depth: 1)
            }
        }
        return answer
    }

    /// Directories that vanish or are unreadable are left out: their parent's events tell when that changes.
    private mutating func add(_ directory: String, depth: Int) {
        guard depth <= Self.maximumDepth, let watch = try? inotify.watch(directory: directory) else { return }
        directories[watch] = directory
        addChildren(of: directory, depth: depth)
    }

    private mutating func addChildren(of directory: String, depth: Int) {
        guard let stream = opendir(directory) else { return }
        defer { closedir(stream) }
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            guard name != ".", name != "..",
                entry.pointee.d_type == UInt8(DT_DIR) || entry.pointee.d_type == UInt8(DT_LNK)
            else { continue }
            add("\(directory)/\(name)", depth: depth + 1)
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import CLinux
import Glibc

/// An inotify(7) instance: tells that something in watched directories changed.
public struct Inotify: ~Copyable {
    /// What happened to one watch.
    public struct Event: Sendable {
        /// As returned by ``watch(directory:)``; -1 if events were lost (`IN_Q_OVERFLOW`).
        public let watch: CInt
        /// The entry's name in the directory, empty if the directory itself is meant.
        public let name: String
        /// A directory appeared under the watched one.
        public let isNewDirectory: Bool
        /// The kernel has removed the watch: the directory is gone.
        public let isGone: Bool
    }

    private let descriptor: OwnedDescriptor

    /// - Throws: ``SystemError``; `EMFILE` if the user has too many instances (fs.inotify.max_user_instances).
    public init() throws(SystemError) {
        descriptor = OwnedDescriptor(
            adopting: try SystemError.check("inotify_init1") {
                inotify_init1(CInt(IN_NONBLOCK) | CInt(IN_CLOEXEC))
            })
    }

    /// Readable when there are events; lent for registration with an event loop.
    public var rawDescriptor: CInt { descriptor.rawValue }

    /// Reports entries that appear, vanish, are renamed, or are closed after writing.
    ///
    /// - Returns: The number by which events name this watch; the same one for the same directory.
    /// - Throws: ``SystemError``; `ENOENT`, `ENOTDIR`, `ENOSPC` (fs.inotify.max_user_watches).
    public func watch(directory: String) throws(SystemError) -> CInt {
        let mask =
            IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB | IN_DELETE_SELF
            | IN_MOVE_SELF
        return try SystemError.check("inotify_add_watch(\(directory))") {
            inotify_add_watch(descriptor.rawValue, directory, UInt32(mask) | UInt32(IN_ONLYDIR))
        }
    }

    /// Ends a watch; one that is gone already is no error.
    public func remove(watch: CInt) { _ = inotify_rm_watch(descriptor.rawValue, watch) }

    /// The events that have happened since the last call; empty if none. Never blocks.
    public func events() throws(SystemError) -> [Event] {
        var found: [Event] = []
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 16 * 1024, alignment: 8)
        defer { buffer.deallocate() }
        while true {
            let count = read(descriptor.rawValue, buffer.baseAddress, buffer.count)
            if count < 0 {
                if errno == EINTR { continue }
                if errno == EAGAIN { return found }
                throw SystemError("read(inotify)", errnoCode: errno)
            }
            let headerSize = MemoryLayout<inotify_event>.size
            var offset = 0
            while offset + headerSize <= count {
                // The flexible array member makes the C struct itself unreadable in one piece from Swift.
                let watch = buffer.loadUnaligned(fromByteOffset: offset, as: CInt.self)
                let mask = buffer.loadUnaligned(fromByteOffset: offset + 4, as: UInt32.self)
                let length = Int(buffer.loadUnaligned(fromByteOffset: offset + 12, as: UInt32.self))
                let name = buffer[(offset + headerSize)..<min(offset + headerSize + length, count)]
                let createdDirectory = UInt32(IN_CREATE | IN_MOVED_TO)
                found.append(
                    Event(
                        watch: mask & UInt32(IN_Q_OVERFLOW) != 0 ? -1 : watch,
                        name: String(decoding: name.prefix { $0 != 0 }, as: UTF8.self),
                        isNewDirectory: mask & UInt32(IN_ISDIR) != 0 && mask & createdDirectory != 0,
                        isGone: mask & UInt32(IN_IGNORED) != 0))
                offset += headerSize + length
            }
        }
    }
}

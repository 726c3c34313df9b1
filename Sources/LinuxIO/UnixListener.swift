// SPDX-License-Identifier: Apache-2.0

public import Glibc

/// A socket file that this process alone listens on.
///
/// A lock file beside it (`PATH.lock`) is held as long as the listener lives, so that two processes that start at
/// the same moment cannot both replace a stale file. Both files go when the listener does.
public struct UnixListener: ~Copyable {
    private let socket: OwnedDescriptor
    private let lock: OwnedDescriptor
    public let path: String

    /// Lent for watching it.
    public var descriptor: CInt { socket.rawValue }

    /// Listens on `path`, replacing a socket file that a dead process left.
    ///
    /// - Parameters:
    ///   - group: owner group of the file; `nil`: as the directory gives it.
    ///   - mode: permission bits of the file.
    ///   - isForPackets: SOCK_SEQPACKET, for ``acceptPacketSocket()``, and not a stream.
    /// - Throws: ``SystemError`` naming `path`; EADDRINUSE with a hint that names the process if somebody listens, or
    ///   if the file is not a socket.
    public init(path: String, group: UInt32?, mode: mode_t, isForPackets: Bool = false) throws(SystemError) {
        let lock = try Self.lock(path)
        try Self.removeStaleSocket(path)
        let socket = try UnixAddress.makeSocket(
            flags: CInt(SOCK_NONBLOCK.rawValue), type: isForPackets ? SOCK_SEQPACKET : SOCK_STREAM)
        let raw = socket.rawValue
        try UnixAddress.with(path) { (address, size) throws(SystemError) in
            // The file appears with the mode of the descriptor less the umask: nobody may connect before chmod.
            try SystemError.check("fchmod", path) { fchmod(raw, 0o600) }
            try SystemError.check("bind", path) { bind(raw, address, size) }
        }
        if let group { try SystemError.check("chown", path) { chown(path, .max, group) } }
        try SystemError.check("chmod", path) { chmod(path, mode) }
        try SystemError.check("listen", path) { listen(raw, 64) }
        self.path = path
        self.lock = lock
        self.socket = socket
    }

    deinit {
        // Somebody may have removed our files, and another process made its own.
        guard Self.isLocked(Self.lockPath(path), by: lock.rawValue) else { return }
        // Before the lock is released: afterwards the name may be somebody else's.
        unlink(path)
        unlink(Self.lockPath(path))
    }

    /// The next connection, non-blocking; `nil` if none waits.
    ///
    /// - Throws: ``SystemError``; EMFILE if the process may have no more descriptors.
    public func accept() throws(SystemError) -> UnixStream? {
        guard let raw = try acceptRaw() else { return nil }
        return UnixStream(adopting: OwnedDescriptor(adopting: raw))
    }

    /// As ``accept()``, of a listener for packets.
    public func acceptPacketSocket() throws(SystemError) -> PacketSocket? {
        guard let raw = try acceptRaw() else { return nil }
        return try PacketSocket(SharedDescriptor(adopting: raw))
    }

    private func acceptRaw() throws(SystemError) -> CInt? {
        do throws(SystemError) {
            let raw = try SystemError.check("accept", path) { Glibc.accept(socket.rawValue, nil, nil) }
            let accepted = OwnedDescriptor(adopting: raw)
            try SystemError.check("fcntl(O_NONBLOCK)") { fcntl(raw, F_SETFL, O_NONBLOCK) }
            try SystemError.check("fcntl(FD_CLOEXEC)") { fcntl(raw, F_SETFD, FD_CLOEXEC) }
            return accepted.relinquish()
        } catch  where error.errnoCode == EAGAIN || error.errnoCode == ECONNABORTED {
            return nil
        }
    }

    private static func lockPath(_ path: String) -> String { "\(path).lock" }

    private static func lock(_ path: String) throws(SystemError) -> OwnedDescriptor {
        let name = lockPath(path)
        while true {
            let lock = try OwnedDescriptor(open: name, flags: O_RDWR | O_CREAT, mode: 0o600)
            let raw = lock.rawValue
            do throws(SystemError) {
                try SystemError.check("flock", name) { flock(raw, LOCK_EX | LOCK_NB) }
            } catch  where error.errnoCode == EWOULDBLOCK {
                throw inUse(path)
            }
            // The holder before us may have removed the name between our open and our lock.
            if isLocked(name, by: raw) { return lock }
        }
    }

    /// Whether the file that is called `name` now is the one that is open as `descriptor`.
    private static func isLocked(_ name: String, by descriptor: CInt) -> Bool {
        var (ours, current) = (stat(), stat())
        return fstat(descriptor, &ours) == 0 && stat(name, &current) == 0 && current.st_ino == ours.st_ino
            && current.st_dev == ours.st_dev
    }

    private static func removeStaleSocket(_ path: String) throws(SystemError) {
        var status = stat()
        guard lstat(path, &status) == 0 else { return }
        guard status.st_mode & S_IFMT == S_IFSOCK else {
            throw SystemError("bind", path, errnoCode: EADDRINUSE, hint: "the file is not a socket; remove it")
        }
        do throws(SystemError) {
            _ = try UnixStream(connectingTo: path, timeout: .seconds(1))
            throw inUse(path)
        } catch  where error.errnoCode == ECONNREFUSED {
            try SystemError.check("unlink", path) { unlink(path) }
        } catch  where error.errnoCode == EPROTOTYPE {
            // Somebody listens for packets.
            throw inUse(path)
        }
    }

    private static func inUse(_ path: String) -> SystemError {
        var hint = "another process listens"
        if let stream = try? UnixStream(connectingTo: path, timeout: .seconds(1)), let peer = try? stream.peer() {
            hint = "process \(peer.process) listens"
        }
        return SystemError("bind", path, errnoCode: EADDRINUSE, hint: hint)
    }
}

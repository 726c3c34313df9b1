// SPDX-License-Identifier: Apache-2.0

public import Glibc

/// A file descriptor with exactly one owner.
public struct OwnedDescriptor: ~Copyable, Sendable {
    /// Lent for the duration of a call. Do not store it.
    public let rawValue: CInt

    /// Takes ownership of `rawValue`, which must be open.
    public init(adopting rawValue: CInt) {
        precondition(rawValue >= 0, "adopting an invalid descriptor")
        self.rawValue = rawValue
    }

    /// Opens `path`; `O_CLOEXEC` is always added, so that no child process inherits the descriptor.
    ///
    /// - Parameters:
    ///   - flags: as open(2).
    ///   - mode: permission bits of a file that is created.
    /// - Throws: ``SystemError`` naming `path`.
    public init(open path: String, flags: CInt, mode: mode_t = 0) throws(SystemError) {
        let raw = try SystemError.check("open", path) { Glibc.open(path, flags | O_CLOEXEC, mode) }
        self.init(adopting: raw)
    }

    deinit {
        // On Linux the descriptor is gone even when close reports EINTR; a retry
        // could close a descriptor that another thread has just been given.
        // https://man7.org/linux/man-pages/man2/close.2.html
        _ = close(rawValue)
    }

    /// A second descriptor of the same open file, with an owner of its own.
    public func duplicate() throws(SystemError) -> OwnedDescriptor {
        let raw = rawValue
        return OwnedDescriptor(
            adopting: try SystemError.check("fcntl(F_DUPFD_CLOEXEC)") { fcntl(raw, F_DUPFD_CLOEXEC, 0) })
    }

    /// Gives the descriptor up without closing it, for a C API that takes ownership.
    public consuming func relinquish() -> CInt {
        let raw = rawValue
        discard self
        return raw
    }
}

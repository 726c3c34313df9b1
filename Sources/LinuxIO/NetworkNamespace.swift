// SPDX-License-Identifier: Apache-2.0

import CLinux
public import Glibc

/// An open network namespace.
///
/// The namespace lives as long as this value does: hold it for one operation only, and
/// open the path again for the next, or a deleted pod's interfaces never go away.
public struct NetworkNamespace: ~Copyable, Sendable {
    private let descriptor: OwnedDescriptor
    /// Where it was opened, for messages.
    public let path: String

    /// Opens a namespace file: `/proc/PID/ns/net`, `/run/netns/NAME` or any bind mount of one.
    ///
    /// - Throws: ``SystemError``: ENOENT if there is no such file; EINVAL with a hint if the
    ///   file is not a network namespace (also where the mount on it has gone).
    public init(path: String) throws(SystemError) {
        let descriptor = try OwnedDescriptor(open: path, flags: O_RDONLY | O_NONBLOCK)
        let answer = clinux_is_netns(descriptor.rawValue)
        guard answer == 1 else {
            throw SystemError(
                "open", path, errnoCode: EINVAL,
                hint: answer == 0
                    ? "a namespace, but not a network namespace"
                    : "not a namespace; is it still mounted?")
        }
        // Last: a noncopyable value must not throw once it is initialised.
        self.descriptor = descriptor
        self.path = path
    }

    /// Takes a descriptor of a namespace that came from another process.
    ///
    /// - Parameter path: what to call it in messages.
    /// - Throws: ``SystemError`` EINVAL if it is not of a network namespace.
    public init(_ descriptor: SharedDescriptor, path: String) throws(SystemError) {
        guard clinux_is_netns(descriptor.rawValue) == 1 else {
            throw SystemError("setns", path, errnoCode: EINVAL, hint: "the descriptor is not of a network namespace")
        }
        self.descriptor = try descriptor.duplicate()
        self.path = path
    }

    /// Opens the namespace of the process `pid`.
    ///
    /// - Throws: ``SystemError``: ENOENT if there is no such process, EACCES without CAP_SYS_PTRACE over it.
    public init(process pid: pid_t) throws(SystemError) {
        try self.init(path: "/proc/\(pid)/ns/net")
    }

    /// The namespace of the calling thread.
    public static func current() throws(SystemError) -> NetworkNamespace {
        try NetworkNamespace(path: "/proc/thread-self/ns/net")
    }

    /// A new, empty namespace with a loopback device that is down. It dies with the returned value
    /// unless something else refers to it.
    ///
    /// - Throws: ``SystemError``; EPERM without CAP_SYS_ADMIN.
    public static func makeNew() throws(SystemError) -> NetworkNamespace {
        try DisposableThread.run { () throws(SystemError) -> NetworkNamespace in
            try SystemError.check("unshare(CLONE_NEWNET)") { clinux_unshare_net() }
            return try NetworkNamespace.current()
        }
    }

    /// Lent for the duration of a call, for example to attach a program. Do not store it.
    public var rawDescriptor: CInt { descriptor.rawValue }

    /// A descriptor of the namespace, to be given to another process; it keeps the namespace alive.
    public func duplicateDescriptor() throws(SystemError) -> OwnedDescriptor { try descriptor.duplicate() }

    /// The namespace's SO_NETNS_COOKIE: not zero, never used again before the next boot.
    ///
    /// - Throws: ``SystemError``; ENOPROTOOPT before Linux 5.14.
    public func cookie() throws(SystemError) -> UInt64 {
        try run { () throws(SystemError) -> UInt64 in
            try NetworkNamespace.currentCookie()
        }
    }

    /// The cookie of the calling thread's namespace.
    public static func currentCookie() throws(SystemError) -> UInt64 {
        let raw = try SystemError.check("socket(AF_UNIX)") {
            socket(AF_UNIX, CInt(SOCK_DGRAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
        }
        let descriptor = OwnedDescriptor(adopting: raw)
        var cookie: UInt64 = 0
        let code = clinux_netns_cookie(descriptor.rawValue, &cookie)
        guard code == 0 else {
            throw SystemError("getsockopt(SO_NETNS_COOKIE)", errnoCode: errno, hint: "needs Linux 5.14 or newer")
        }
        return cookie
    }

    /// Device and inode of the namespace file: equal for equal namespaces, cheaper than the cookie,
    /// but used again once a namespace has died.
    public func fileIdentity() throws(SystemError) -> FileIdentity {
        var status = stat()
        let raw = descriptor.rawValue
        try SystemError.check("fstat", path) { fstat(raw, &status) }
        return FileIdentity(device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
    }

    /// Runs `body` inside the namespace, on a thread of its own, and waits for it.
    ///
    /// - Throws: ``SystemError``: what `body` threw, or EPERM of setns(2) without CAP_SYS_ADMIN.
    public func run<Value: ~Copyable>(_ body: () throws(SystemError) -> Value) throws(SystemError) -> Value {
        try run(throwing: SystemError.self, body)
    }

    /// As ``run(_:)``, for a body with an error type of its own.
    public func run<Value: ~Copyable, Failure: SystemErrorConvertible>(
        throwing _: Failure.Type, _ body: () throws(Failure) -> Value
    ) throws(Failure) -> Value {
        let raw = descriptor.rawValue
        let path = self.path
        return try DisposableThread.run { () throws(Failure) -> Value in
            do throws(SystemError) {
                try SystemError.check("setns(CLONE_NEWNET)", path) { clinux_setns_net(raw) }
            } catch {
                throw Failure(error)
            }
            return try body()
        }
    }
}

/// What tells one file from another on this machine.
public struct FileIdentity: Hashable, Sendable {
    /// `st_dev`.
    public let device: UInt64
    /// `st_ino`.
    public let inode: UInt64

    /// Memberwise.
    public init(device: UInt64, inode: UInt64) {
        self.device = device
        self.inode = inode
    }
}

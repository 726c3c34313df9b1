// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// Who is at the other end of a Unix socket, as the kernel recorded it when they connected.
public struct PeerCredentials: Hashable, Sendable {
    /// In the PID namespace of the caller; 0 if it is not visible there.
    public var process: Int32
    /// Effective user.
    public var user: UInt32
    /// Effective group.
    public var group: UInt32
    /// Supplementary groups.
    public var groups: [UInt32]

    public init(process: Int32, user: UInt32, group: UInt32, groups: [UInt32]) {
        self.process = process
        self.user = user
        self.group = group
        self.groups = groups
    }

    public func isMember(of group: UInt32) -> Bool { self.group == group || groups.contains(group) }

    /// Asks the kernel about the peer of a connected socket (SO_PEERCRED, SO_PEERGROUPS; unix(7)).
    public init(of descriptor: CInt) throws(SystemError) {
        var (process, user, group): (Int32, UInt32, UInt32) = (0, 0, 0)
        try SystemError.check("getsockopt(SO_PEERCRED)") {
            clinux_peer_credentials(descriptor, &process, &user, &group)
        }
        // Larger than NGROUPS_MAX, which bounds it: credentials(7).
        var groups = [UInt32](repeating: 0, count: 65_536)
        let count = try SystemError.check("getsockopt(SO_PEERGROUPS)") {
            clinux_peer_groups(descriptor, &groups, CInt(groups.count))
        }
        self.init(process: process, user: user, group: group, groups: Array(groups.prefix(Int(count))))
    }
}

/// One end of a Unix stream connection.
public struct UnixStream: ~Copyable {
    /// What a transfer came to.
    public enum Transfer: Equatable, Sendable {
        case bytes(Int)
        /// Nothing now: wait for readiness.
        case wouldBlock
        /// The peer has closed.
        case closed
    }

    private let socket: OwnedDescriptor

    /// Lent for watching it. Do not store it longer than this value lives.
    public var descriptor: CInt { socket.rawValue }

    /// Takes ownership of a connected stream socket.
    public init(adopting socket: consuming OwnedDescriptor) {
        self.socket = socket
    }

    /// Connects to the socket file `path`; blocking.
    ///
    /// - Parameter timeout: of this call, and of each later read and write.
    /// - Throws: ``SystemError`` naming `path`: ENOENT, EACCES, ECONNREFUSED (nobody listens), EAGAIN (the listener's
    ///   queue is full and the time is over).
    public init(connectingTo path: String, timeout: Duration) throws(SystemError) {
        let socket = try UnixAddress.makeSocket(flags: 0)
        let raw = socket.rawValue
        var limit = timeval(
            tv_sec: Int(timeout.components.seconds),
            tv_usec: Int(timeout.components.attoseconds / 1_000_000_000_000))
        for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
            try SystemError.check("setsockopt(SO_RCVTIMEO)") {
                setsockopt(raw, SOL_SOCKET, option, &limit, socklen_t(MemoryLayout<timeval>.size))
            }
        }
        try UnixAddress.with(path) { (address, size) throws(SystemError) in
            // Not through the gate: an interrupted connect(2) on a Unix socket has done nothing and may be repeated.
            while connect(raw, address, size) != 0 {
                let code = errno
                guard code == EINTR else { throw SystemError("connect", path, errnoCode: code) }
            }
        }
        self.socket = socket
    }

    /// Reads what is there into `buffer`.
    public func read(into buffer: UnsafeMutableRawBufferPointer) throws(SystemError) -> Transfer {
        try transfer("recv") { recv(socket.rawValue, buffer.baseAddress, buffer.count, 0) }
    }

    /// Writes the front of `bytes`; never raises SIGPIPE.
    public func write(_ bytes: UnsafeRawBufferPointer) throws(SystemError) -> Transfer {
        guard !bytes.isEmpty else { return .bytes(0) }
        return try transfer("send") {
            send(socket.rawValue, bytes.baseAddress, bytes.count, CInt(MSG_NOSIGNAL))
        }
    }

    /// Blocks until something can be read, the end of the stream included.
    ///
    /// - Parameter limit: `nil`: for ever.
    /// - Returns: whether it can, before the limit.
    public func waitUntilReadable(atMost limit: Duration?) throws(SystemError) -> Bool {
        try pollForInput(socket.rawValue, atMost: limit)
    }

    /// Who is at the other end.
    public func peer() throws(SystemError) -> PeerCredentials {
        try PeerCredentials(of: socket.rawValue)
    }

    private func transfer(_ call: String, _ body: () -> Int) throws(SystemError) -> Transfer {
        do throws(SystemError) {
            let count = try SystemError.check(call) { body() }
            return count == 0 ? .closed : .bytes(count)
        } catch  where error.errnoCode == EAGAIN {
            return .wouldBlock
        } catch  where error.errnoCode == EPIPE || error.errnoCode == ECONNRESET {
            return .closed
        }
    }
}

/// Addresses of Unix sockets.
enum UnixAddress {
    /// A socket that no child process inherits.
    static func makeSocket(
        flags: CInt, type kind: __socket_type = SOCK_STREAM
    ) throws(SystemError) -> OwnedDescriptor {
        let type = CInt(kind.rawValue) | CInt(SOCK_CLOEXEC.rawValue) | flags
        return OwnedDescriptor(adopting: try SystemError.check("socket(AF_UNIX)") { socket(AF_UNIX, type, 0) })
    }

    /// Lends the socket address of the file `path`.
    ///
    /// - Throws: ``SystemError`` ENAMETOOLONG if the path does not fit, or what `body` throws.
    static func with<Value>(
        _ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) throws(SystemError) -> Value
    ) throws(SystemError) -> Value {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        guard bytes.count < MemoryLayout.size(ofValue: address.sun_path), !bytes.contains(0) else {
            throw SystemError("socket address", path, errnoCode: ENAMETOOLONG, hint: "at most 107 bytes")
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let size = socklen_t(MemoryLayout<sockaddr_un>.size)
        return try withUnsafePointer(to: &address) { (pointer) throws(SystemError) in
            try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { (generic) throws(SystemError) in
                try body(generic, size)
            }
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import Glibc

/// Where a server listens: `10.0.0.1`, `fd00::1`, `::ffff:10.0.0.1` or `unix:/path`, and a port.
///
/// A server has several roles on successive ports; of a UNIX path they are `/path.0`, `/path.1`, …
struct Endpoint: Sendable, CustomStringConvertible {
    let description: String
    let isUnix: Bool
    private let storage: sockaddr_storage
    private let length: socklen_t
    private let unixPath: String

    /// - Throws: ``LoadError`` if `address` is neither an IP address nor a UNIX path that fits.
    init(_ address: String, port: Int, offset: Int) throws(LoadError) {
        var storage = sockaddr_storage()
        let number = in_port_t(truncatingIfNeeded: port + offset).bigEndian
        if address.hasPrefix("unix:") {
            let path = address.dropFirst(5) + ".\(offset)"
            guard path.utf8.count < 108 else { throw LoadError("UNIX path '\(path)' is longer than 107 bytes") }
            withUnsafeMutableBytes(of: &storage) { bytes in
                bytes.storeBytes(of: sa_family_t(AF_UNIX), as: sa_family_t.self)
                for (index, byte) in path.utf8.enumerated() { bytes[2 + index] = byte }
            }
            (isUnix, unixPath, description) = (true, String(path), "unix:\(path)")
            length = socklen_t(2 + path.utf8.count + 1)
        } else {
            var v4 = sockaddr_in()
            var v6 = sockaddr_in6()
            if inet_pton(AF_INET, address, &v4.sin_addr) == 1 {
                v4.sin_family = sa_family_t(AF_INET)
                v4.sin_port = number
                withUnsafeMutableBytes(of: &storage) { $0.storeBytes(of: v4, as: sockaddr_in.self) }
                length = socklen_t(MemoryLayout<sockaddr_in>.size)
            } else if inet_pton(AF_INET6, address, &v6.sin6_addr) == 1 {
                v6.sin6_family = sa_family_t(AF_INET6)
                v6.sin6_port = number
                withUnsafeMutableBytes(of: &storage) { $0.storeBytes(of: v6, as: sockaddr_in6.self) }
                length = socklen_t(MemoryLayout<sockaddr_in6>.size)
            } else {
                throw LoadError("'\(address)' is neither an IPv4 or IPv6 address nor unix:/path")
            }
            (isUnix, unixPath, description) = (false, "", "\(address):\(port + offset)")
        }
        self.storage = storage
    }

    /// The port of one role of a ``Server``.
    init(_ address: String, port: Int, role: Role) throws(LoadError) {
        try self.init(address, port: port, offset: role.rawValue)
    }

    /// What each port of a server does.
    enum Role: Int, CaseIterable, Sendable {
        /// Request and response, a thread for each connection.
        case blocking = 0
        /// Request and response, one epoll thread for all connections.
        case epoll = 1
        /// Receives and verifies a stream.
        case sink = 2
        /// One request and response on each connection.
        case oneShot = 3
    }

    /// A connected socket. `options` run before connect(2).
    ///
    /// - Throws: ``LoadError`` with the destination and the error.
    func connect(_ options: (borrowing Socket) throws(LoadError) -> Void = { _ in }) throws(LoadError) -> Socket {
        let socket = try Socket(family: Int32(storage.ss_family))
        try options(socket)
        let status = withAddress { Glibc.connect(socket.descriptor, $0, length) }
        guard status == 0 else { throw LoadError(call: "connect to \(description)") }
        return socket
    }

    /// Like ``connect(_:)`` with the first bytes in the SYN (TCP_FASTOPEN, `sent` says how many of them).
    func connect(fastOpen bytes: UnsafeRawPointer, count: Int, sent: inout Int) throws(LoadError) -> Socket {
        let socket = try Socket(family: Int32(storage.ss_family))
        sent = withAddress {
            sendto(socket.descriptor, bytes, count, Int32(MSG_FASTOPEN | MSG_NOSIGNAL), $0, length)
        }
        guard sent >= 0 else { throw LoadError(call: "sendto with MSG_FASTOPEN to \(description)") }
        return socket
    }

    /// A listening socket. `options` run before listen(2).
    func listen(_ options: (borrowing Socket) throws(LoadError) -> Void = { _ in }) throws(LoadError) -> Socket {
        let socket = try Socket(family: Int32(storage.ss_family))
        if isUnix {
            unlink(unixPath)
        } else {
            try socket.set(SOL_SOCKET, SO_REUSEADDR, 1)
        }
        try options(socket)
        guard withAddress({ bind(socket.descriptor, $0, length) }) == 0 else {
            throw LoadError(call: "bind \(description)")
        }
        guard Glibc.listen(socket.descriptor, 1024) == 0 else { throw LoadError(call: "listen on \(description)") }
        return socket
    }

    private func withAddress<Result>(_ body: (UnsafePointer<sockaddr>) -> Result) -> Result {
        withUnsafePointer(to: storage) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0) }
        }
    }
}

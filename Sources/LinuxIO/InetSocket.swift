// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// TCP sockets of the namespace that the calling thread is in.
public enum InetSocket {
    /// A TCP socket, non-blocking.
    ///
    /// - Throws: ``SystemError``; EAFNOSUPPORT where the kernel has no IPv6, EPERM if a program of the cgroup refuses.
    public static func make(isIPv4: Bool) throws(SystemError) -> SharedDescriptor {
        let type = CInt(SOCK_STREAM.rawValue) | CInt(SOCK_NONBLOCK.rawValue) | CInt(SOCK_CLOEXEC.rawValue)
        return SharedDescriptor(
            adopting: try SystemError.check("socket(\(isIPv4 ? "AF_INET" : "AF_INET6"))") {
                socket(isIPv4 ? AF_INET : AF_INET6, type, 0)
            })
    }

    /// Binds to an address and a port that the kernel chooses: now, or where `addressOnly` is true, when it connects
    /// and the destination is known, so that ports are not used up by sockets that lead elsewhere
    /// (IP_BIND_ADDRESS_NO_PORT, ip(7)).
    ///
    /// - Parameter address: 16 bytes in network order, IPv4 as `::ffff:a.b.c.d`; of the family of the socket. An IPv6
    ///   socket takes IPv6 only afterwards.
    /// - Throws: ``SystemError``; EADDRNOTAVAIL if no device of the namespace has the address.
    public static func bind(
        _ socket: SharedDescriptor, to address: [UInt8], isIPv4: Bool, addressOnly: Bool = false
    ) throws(SystemError) {
        precondition(address.count == 16, "an address of \(address.count) bytes")
        let raw = socket.rawValue
        if addressOnly {
            try SystemError.check("setsockopt(IP_BIND_ADDRESS_NO_PORT)") { clinux_bind_address_only(raw) }
        }
        try SystemError.check("bind") { clinux_inet_bind(raw, address, isIPv4 ? 1 : 0) }
    }

    /// - Parameter backlog: connections that wait to be accepted.
    public static func listen(_ socket: SharedDescriptor, backlog: CInt) throws(SystemError) {
        let raw = socket.rawValue
        try SystemError.check("listen") { Glibc.listen(raw, backlog) }
    }

    /// The port that the socket is bound to.
    public static func port(of socket: SharedDescriptor) throws(SystemError) -> UInt16 {
        let raw = socket.rawValue
        return UInt16(try SystemError.check("getsockname") { clinux_inet_port(raw) })
    }
}

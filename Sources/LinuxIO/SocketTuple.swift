// SPDX-License-Identifier: Apache-2.0

/// Both ends of a socket as its owner sees them.
public struct SocketTuple: Hashable, Sendable {
    /// The 16 bytes of the address, first byte most significant; IPv4 as ::ffff:a.b.c.d.
    public var localAddress: UInt128
    /// Host byte order.
    public var localPort: UInt16
    /// As ``localAddress``; zero for an unconnected socket.
    public var remoteAddress: UInt128
    /// Host byte order.
    public var remotePort: UInt16

    public init(localAddress: UInt128, localPort: UInt16, remoteAddress: UInt128, remotePort: UInt16) {
        self.localAddress = localAddress
        self.localPort = localPort
        self.remoteAddress = remoteAddress
        self.remotePort = remotePort
    }

    /// The same connection, as the other end sees it.
    public var reversed: SocketTuple {
        SocketTuple(
            localAddress: remoteAddress, localPort: remotePort, remoteAddress: localAddress, remotePort: localPort)
    }
}

extension UInt128 {
    /// An IPv4 address in host byte order as ::ffff:a.b.c.d.
    init(mapping address: UInt32) { self = 0xffff_0000_0000 | UInt128(address) }

    /// Whether it is ::ffff:a.b.c.d.
    var isMappedIPv4: Bool { self >> 32 == 0xffff }

    /// From four words that lie in memory in network byte order.
    init(networkWords words: (UInt32, UInt32, UInt32, UInt32)) {
        self =
            UInt128(UInt32(bigEndian: words.0)) << 96 | UInt128(UInt32(bigEndian: words.1)) << 64
            | UInt128(UInt32(bigEndian: words.2)) << 32 | UInt128(UInt32(bigEndian: words.3))
    }

    /// Four words that lie in memory in network byte order.
    var networkWords: (UInt32, UInt32, UInt32, UInt32) {
        (
            UInt32(truncatingIfNeeded: self >> 96).bigEndian, UInt32(truncatingIfNeeded: self >> 64).bigEndian,
            UInt32(truncatingIfNeeded: self >> 32).bigEndian, UInt32(truncatingIfNeeded: self).bigEndian
        )
    }
}

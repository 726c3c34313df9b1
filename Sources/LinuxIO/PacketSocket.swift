// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// One end of a Unix connection of SOCK_SEQPACKET: each packet arrives whole or not at all, with descriptors beside it.
public struct PacketSocket: ~Copyable {
    /// Descriptors that one packet can carry here. The kernel's limit is 253; none of our protocols comes near.
    public static let maximumDescriptors = Int(CLINUX_PACKET_DESCRIPTORS)

    /// What sending came to.
    public enum Sent: Equatable, Sendable {
        case sent
        /// Nothing was sent: wait until the socket is writable.
        case wouldBlock
        /// The peer has closed.
        case closed
    }

    /// What receiving came to.
    public enum Received {
        /// A packet of `count` bytes. ``SharedDescriptor`` closes those that nobody takes.
        case packet(count: Int, descriptors: [SharedDescriptor])
        /// Bytes or descriptors did not fit and are lost; what came of the descriptors is closed.
        case truncated(String)
        /// Nothing now: wait for readiness.
        case wouldBlock
        /// The peer has closed.
        case closed
    }

    private let socket: SharedDescriptor

    /// Lent for watching it. Do not store it longer than this value lives.
    public var descriptor: CInt { socket.rawValue }

    /// Takes a connected socket and makes it non-blocking.
    ///
    /// - Throws: ``SystemError`` EPROTOTYPE if it is not a Unix socket of SOCK_SEQPACKET.
    public init(_ socket: SharedDescriptor) throws(SystemError) {
        let raw = socket.rawValue
        guard try Self.option(raw, SO_TYPE) == CInt(SOCK_SEQPACKET.rawValue),
            try Self.option(raw, SO_DOMAIN) == AF_UNIX
        else {
            throw SystemError(
                "getsockopt(SO_TYPE)", "descriptor \(raw)", errnoCode: EPROTOTYPE,
                hint: "a Unix socket of SOCK_SEQPACKET is needed")
        }
        try SystemError.check("fcntl(O_NONBLOCK)") { fcntl(raw, F_SETFL, O_NONBLOCK) }
        try SystemError.check("fcntl(FD_CLOEXEC)") { fcntl(raw, F_SETFD, FD_CLOEXEC) }
        self.socket = socket
    }

    private static func option(_ descriptor: CInt, _ name: CInt) throws(SystemError) -> CInt {
        var value: CInt = 0
        var size = socklen_t(MemoryLayout<CInt>.size)
        try SystemError.check("getsockopt(SOL_SOCKET)", "descriptor \(descriptor)") {
            getsockopt(descriptor, SOL_SOCKET, name, &value, &size)
        }
        return value
    }

    /// Blocks until it is ready for what `interest` names, or `limit` is over.
    ///
    /// - Returns: what it is ready for; the end of the peer is ``EventLoop/Readiness/hangup``.
    public func wait(
        for interest: EventLoop.Readiness, atMost limit: Duration
    ) throws(SystemError) -> EventLoop.Readiness {
        let bits: [(EventLoop.Readiness, CInt)] = [
            (.readable, POLLIN), (.writable, POLLOUT), (.hangup, POLLHUP), (.error, POLLERR),
        ]
        let events = bits.reduce(Int16(0)) { interest.contains($1.0) ? $0 | Int16($1.1) : $0 }
        let happened = try poll(descriptor, for: events, atMost: limit)
        return EventLoop.Readiness(bits.filter { happened & Int16($0.1) != 0 }.map(\.0))
    }

    /// Connects to the socket file `path`.
    ///
    /// - Throws: ``SystemError`` naming `path`: ENOENT, EACCES, ECONNREFUSED (nobody listens), EPROTOTYPE (the listener is
    ///   of another type), EAGAIN (the listener's queue is full).
    public init(connectingTo path: String) throws(SystemError) {
        let type = CInt(SOCK_SEQPACKET.rawValue) | CInt(SOCK_CLOEXEC.rawValue) | CInt(SOCK_NONBLOCK.rawValue)
        let socket = SharedDescriptor(
            adopting: try SystemError.check("socket(AF_UNIX)") { Glibc.socket(AF_UNIX, type, 0) })
        let raw = socket.rawValue
        try UnixAddress.with(path) { (address, size) throws(SystemError) in
            // An interrupted connect(2) on a Unix socket has done nothing and may be repeated.
            _ = try SystemError.check("connect", path) { connect(raw, address, size) }
        }
        self.socket = socket
    }

    /// Two connected ends: one to be used here, one to be given to another process.
    public static func pair() throws(SystemError) -> (SharedDescriptor, SharedDescriptor) {
        var ends: [CInt] = [-1, -1]
        try SystemError.check("socketpair(SOCK_SEQPACKET)") { clinux_packet_pair(&ends) }
        return (SharedDescriptor(adopting: ends[0]), SharedDescriptor(adopting: ends[1]))
    }

    /// Room for packets that wait, in both directions, in bytes; a packet must be smaller.
    public func setBuffers(_ bytes: CInt) throws(SystemError) {
        let raw = socket.rawValue
        var value = bytes
        for name in [SO_SNDBUF, SO_RCVBUF] {
            try SystemError.check("setsockopt(SO_SNDBUF)") {
                setsockopt(raw, SOL_SOCKET, name, &value, socklen_t(MemoryLayout<CInt>.size))
            }
        }
    }

    /// Sends one packet.
    ///
    /// - Parameter descriptors: at most ``maximumDescriptors``; the peer gets its own.
    /// - Throws: ``SystemError``; EMSGSIZE if the packet is larger than the buffers, ETOOMANYREFS if too many descriptors
    ///   are under way.
    public func send(_ bytes: [UInt8], _ descriptors: [SharedDescriptor] = []) throws(SystemError) -> Sent {
        let raws = descriptors.map(\.rawValue)
        defer { withExtendedLifetime(descriptors) {} }
        do throws(SystemError) {
            try SystemError.check("sendmsg") {
                clinux_packet_send(socket.rawValue, bytes, bytes.count, raws, CInt(raws.count))
            }
            return .sent
        } catch  where error.errnoCode == EAGAIN {
            return .wouldBlock
        } catch  where error.errnoCode == EPIPE || error.errnoCode == ECONNRESET {
            return .closed
        }
    }

    /// Receives one packet into the front of `buffer`.
    public func receive(into buffer: UnsafeMutableRawBufferPointer) throws(SystemError) -> Received {
        var (count, truncated): (CInt, CInt) = (0, 0)
        var raws = [CInt](repeating: -1, count: Self.maximumDescriptors)
        let length: Int
        do throws(SystemError) {
            length = try SystemError.check("recvmsg") {
                clinux_packet_receive(
                    socket.rawValue, buffer.baseAddress, buffer.count, &raws, &count, &truncated)
            }
        } catch  where error.errnoCode == EAGAIN {
            return .wouldBlock
        } catch  where error.errnoCode == ECONNRESET {
            return .closed
        }
        let descriptors = raws.prefix(Int(count)).map { SharedDescriptor(adopting: $0) }
        if truncated & CLINUX_TRUNCATED_CONTROL != 0 { return .truncated("more descriptors than can be received") }
        if truncated & CLINUX_TRUNCATED_DATA != 0 { return .truncated("a packet of more than \(buffer.count) bytes") }
        // An empty packet looks like the end; our protocols have none.
        return length == 0 ? .closed : .packet(count: length, descriptors: descriptors)
    }

    /// Blocks until something can be read, the end included, or until `limit` is over.
    ///
    /// - Returns: whether it can.
    public func waitUntilReadable(atMost limit: Duration?) throws(SystemError) -> Bool {
        try pollForInput(socket.rawValue, atMost: limit)
    }

    /// Who is at the other end.
    public func peer() throws(SystemError) -> PeerCredentials { try PeerCredentials(of: socket.rawValue) }
}

// SPDX-License-Identifier: Apache-2.0

import CLibBPF
import Glibc
import LinuxIO

/// One TCP connection of the self-test, both ends in this process.
///
/// Every call is bounded by the sockets' time limits: a kernel that would hang shows as EAGAIN.
struct TestConnection: ~Copyable {
    let client: OwnedDescriptor
    let server: OwnedDescriptor
    /// Of the client, in host byte order.
    let clientPort: UInt16

    /// How long one send or receive may block. Loopback answers in microseconds.
    static let limit = Duration.milliseconds(150)

    enum Direction { case toServer, toClient }

    /// Sends with MSG_NOSIGNAL.
    ///
    /// - Returns: the number of bytes, or the negated errno.
    func send(_ bytes: [UInt8], _ direction: Direction) -> Int {
        let socket = direction == .toServer ? client.rawValue : server.rawValue
        let count = Glibc.send(socket, bytes, bytes.count, CInt(MSG_NOSIGNAL))
        return count < 0 ? -Int(errno) : count
    }

    /// Sends a text one byte at a time.
    func trickle(_ text: String, _ direction: Direction) -> Bool {
        text.utf8.allSatisfy { send([$0], direction) == 1 }
    }

    /// Receives until `count` bytes are there, the stream ends or the time limit passes.
    func receive(_ count: Int, _ direction: Direction) -> String {
        let socket = direction == .toServer ? server.rawValue : client.rawValue
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: count)
        while bytes.count < count {
            let got = recv(socket, &buffer, count - bytes.count, 0)
            guard got > 0 else { break }
            bytes += buffer.prefix(got)
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Whether the next receive finds the end of the stream.
    func isAtEnd(_ direction: Direction) -> Bool {
        var byte: UInt8 = 0
        return recv(direction == .toServer ? server.rawValue : client.rawValue, &byte, 1, 0) == 0
    }

    func shutdownWriting(_ direction: Direction) {
        _ = shutdown(direction == .toServer ? client.rawValue : server.rawValue, CInt(SHUT_WR))
    }

    /// Bytes that FIONREAD says can be read at the server, -1 if it fails.
    func readableAtServer() -> Int {
        var count: CInt = -1
        return ioctl(server.rawValue, UInt(FIONREAD), &count) == 0 ? Int(count) : -1
    }

    /// Bytes that the kernel charges to the server's receive buffer, -1 if it does not say.
    func chargedAtServer() -> Int {
        // struct sk_meminfo is an array; SK_MEMINFO_RMEM_ALLOC is its first element (linux/sock_diag.h).
        var values = [UInt32](repeating: 0, count: 9)
        var length = socklen_t(values.count * 4)
        return getsockopt(server.rawValue, SOL_SOCKET, SO_MEMINFO, &values, &length) == 0 ? Int(values[0]) : -1
    }

    static func setTimeLimits(_ socket: borrowing OwnedDescriptor) throws(SystemError) {
        let microseconds = limit.components.attoseconds / 1_000_000_000_000
        var value = timeval(tv_sec: Int(limit.components.seconds), tv_usec: Int(microseconds))
        let length = socklen_t(MemoryLayout<timeval>.size)
        let raw = socket.rawValue
        for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
            try SystemError.check("setsockopt(SO_RCVTIMEO)") { setsockopt(raw, SOL_SOCKET, option, &value, length) }
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

import Foundation
import Identity
import TLSEngine
import Testing

struct PeerFailure: Error, CustomStringConvertible {
    let description: String
}

/// A socket that does not block, closed with its owner.
struct TestSocket: ~Copyable {
    let descriptor: CInt

    init(adopting descriptor: CInt) {
        self.descriptor = descriptor
        _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
    }

    init(connectedTo port: UInt16) throws {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = Self.address(port)
        let size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, size) }
        }
        guard result == 0 else { throw PeerFailure(description: "connect: errno \(errno)") }
        self.init(adopting: descriptor)
    }

    deinit { close(descriptor) }

    /// Waits for at most ten seconds.
    static func wait(_ descriptor: CInt, for events: Int32) throws {
        var item = pollfd(fd: descriptor, events: Int16(events), revents: 0)
        guard poll(&item, 1, 10_000) == 1 else { throw PeerFailure(description: "nothing happens for ten seconds") }
    }

    static func address(_ port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        return address
    }
}

/// A listening socket on loopback, at a port of the kernel's choice.
final class TestListener {
    let port: UInt16
    private let descriptor: CInt

    init() throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = TestSocket.address(0)
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let (raw, length) = (descriptor, size)
        let result = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                bind(raw, pointer, length) + listen(raw, 1) + getsockname(raw, pointer, &size)
            }
        }
        guard result == 0 else { throw PeerFailure(description: "listen: errno \(errno)") }
        port = UInt16(bigEndian: address.sin_port)
    }

    deinit { close(descriptor) }

    func accept() throws -> TestSocket {
        try TestSocket.wait(descriptor, for: POLLIN)
        return TestSocket(adopting: Glibc.accept(descriptor, nil, nil))
    }
}

/// A session over a socket, as a worker would drive it: nonblocking steps, waits outside of them.
final class SocketEnd {
    var session: TLSSession
    private var socket: TestSocket?
    private var input: [UInt8] = []
    private var hasEnded = false

    init(_ session: consuming TLSSession, _ socket: consuming TestSocket) {
        self.session = session
        self.socket = consume socket
    }

    private var descriptor: CInt {
        guard let descriptor = socket?.descriptor else { return -1 }
        return descriptor
    }

    /// Makes calls until `body` says that it has what it wants.
    private func drive(_ body: (inout TLSSession, inout TLSWire) throws(TLSError) -> Bool) throws {
        var output = [UInt8](repeating: 0, count: 20_000)
        while true {
            let received = input
            var failure: TLSError?
            var isDone = false
            var produced = 0
            received.withUnsafeBytes { bytes in
                output.withUnsafeMutableBytes { space in
                    var wire = TLSWire(input: bytes, inputHasEnded: hasEnded, output: space)
                    do throws(TLSError) { isDone = try body(&session, &wire) } catch { failure = error }
                    input.removeFirst(wire.consumed)
                    produced = wire.produced
                }
            }
            try push(output[..<produced])
            if let failure { throw failure }
            if isDone { return }
            if produced == 0 { try pull() }
        }
    }

    private func push(_ bytes: ArraySlice<UInt8>) throws {
        var rest = bytes
        while !rest.isEmpty {
            try TestSocket.wait(descriptor, for: POLLOUT)
            let count = rest.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            // The peer may have gone, which the reading side says better.
            guard count > 0 else { return }
            rest.removeFirst(count)
        }
    }

    private func pull() throws {
        try TestSocket.wait(descriptor, for: POLLIN)
        var buffer = [UInt8](repeating: 0, count: 9000)
        let count = recv(descriptor, &buffer, buffer.count, 0)
        if count <= 0 { hasEnded = true } else { input += buffer[..<count] }
    }

    func handshake() throws {
        try drive { session, wire throws(TLSError) in try session.handshake(&wire, now: .now) == .done }
    }

    func send(_ bytes: [UInt8]) throws {
        var sent = 0
        while sent < bytes.count {
            try bytes[sent...].withUnsafeBytes { rest in
                try drive { session, wire throws(TLSError) in
                    guard case .transferred(let count) = try session.write(&wire, rest) else { return false }
                    sent += count
                    return true
                }
            }
        }
    }

    func receive(_ count: Int) throws -> [UInt8] {
        var plain: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 15)
        try buffer.withUnsafeMutableBytes { space in
            try drive { session, wire throws(TLSError) in
                while plain.count < count {
                    guard case .transferred(let read) = try session.read(&wire, into: space) else { return false }
                    plain += space[..<read]
                }
                return true
            }
        }
        return plain
    }

    func close() throws {
        try drive { session, wire throws(TLSError) in try session.close(&wire) == .done }
        shutdown(descriptor, Int32(SHUT_WR))
    }

    func waitForInput() throws { try TestSocket.wait(descriptor, for: POLLIN) }

    func hangUp() { socket = nil }
}

// SPDX-License-Identifier: Apache-2.0
import CLinux
import Glibc

/// A netlink socket in the network namespace of the thread that made it.
///
/// It keeps that namespace alive, so it lives for one operation only and is never stored.
struct NetlinkSocket: ~Copyable {
    private let descriptor: OwnedDescriptor
    private let name: String

    /// - Parameter family: `NETLINK_ROUTE` or `NETLINK_SOCK_DIAG` (netlink(7)).
    init(family: CInt, name: String) throws(SystemError) {
        let opened = OwnedDescriptor(
            adopting: try SystemError.check("socket(\(name))") {
                socket(AF_NETLINK, CInt(SOCK_RAW.rawValue) | CInt(SOCK_CLOEXEC.rawValue), family)
            })
        let raw = opened.rawValue
        // The kernel answers in the context of the request, so an answer that is not there at once is a bug;
        // the time limit turns it into an error instead of a control thread that hangs.
        var limit = timeval(tv_sec: 2, tv_usec: 0)
        try SystemError.check("setsockopt(\(name), SO_RCVTIMEO)") {
            setsockopt(raw, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        }
        // Last: a noncopyable value must not throw once it is initialised.
        self.name = name
        self.descriptor = opened
    }

    /// Sends one request and waits for its acknowledgement.
    ///
    /// - Returns: 0 or the positive errno of the kernel's answer.
    func acknowledge<Request>(_ request: Request) throws(SystemError) -> CInt {
        try send(request)
        var answer: CInt = 0
        try receive(answer: &answer) { _, _ in }
        return answer
    }

    /// Sends a dump request and lends each message of the answer to `body`, with its type.
    ///
    /// - Throws: ``SystemError`` with the errno of the kernel's answer.
    func dump<Request>(
        _ request: Request, _ body: (_ type: UInt16, _ payload: UnsafeRawBufferPointer) -> Void
    ) throws(SystemError) {
        try send(request)
        var answer: CInt = 0
        try receive(answer: &answer, body)
        guard answer == 0 else { throw SystemError("dump(\(name))", errnoCode: answer) }
    }

    private func send<Request>(_ request: Request) throws(SystemError) {
        let status = withUnsafeBytes(of: request) { bytes in
            mesh_netlink_send(descriptor.rawValue, bytes.baseAddress, bytes.count)
        }
        guard status == 0 else { throw SystemError("sendto(\(name))", errnoCode: errno) }
    }

    /// Reads until NLMSG_DONE or an acknowledgement.
    private func receive(
        answer: inout CInt, _ body: (UInt16, UnsafeRawBufferPointer) -> Void
    ) throws(SystemError) {
        // Dumps fill at most 32 KiB at a time (netlink_dump in the kernel).
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 * 1024, alignment: 8)
        defer { buffer.deallocate() }
        while true {
            let count = recv(descriptor.rawValue, buffer.baseAddress, buffer.count, 0)
            if count < 0 {
                if errno == EINTR { continue }
                throw SystemError("recv(\(name))", errnoCode: errno)
            }
            if let end = Self.parse(UnsafeRawBufferPointer(rebasing: buffer[..<count]), body) {
                answer = end
                return
            }
        }
    }

    /// - Returns: `nil` to go on, else the errno that ends the answer (0: none).
    private static func parse(
        _ bytes: UnsafeRawBufferPointer, _ body: (UInt16, UnsafeRawBufferPointer) -> Void
    ) -> CInt? {
        let headerSize = MemoryLayout<nlmsghdr>.size
        var offset = 0
        while offset + headerSize <= bytes.count {
            let header = bytes.loadUnaligned(fromByteOffset: offset, as: nlmsghdr.self)
            let length = Int(header.nlmsg_len)
            guard length >= headerSize, offset + length <= bytes.count else { return EBADMSG }
            let payload = UnsafeRawBufferPointer(rebasing: bytes[(offset + headerSize)..<(offset + length)])
            switch CInt(header.nlmsg_type) {
            case NLMSG_DONE:
                return payload.count >= 4 ? -min(0, payload.loadUnaligned(as: CInt.self)) : 0
            case NLMSG_ERROR:
                return payload.count >= 4 ? -payload.loadUnaligned(as: CInt.self) : EBADMSG
            default:
                body(header.nlmsg_type, payload)
            }
            offset += (length + 3) & ~3
        }
        return nil
    }
}

/// The attributes after a netlink message's fixed part (netlink(7), `struct nlattr`).
struct NetlinkAttributes: Sequence, IteratorProtocol {
    private var rest: UnsafeRawBufferPointer

    init(_ bytes: UnsafeRawBufferPointer) { rest = bytes }

    /// The next attribute's type without its flags, and its value; `nil` at the end or at a malformed one.
    mutating func next() -> (type: Int, value: UnsafeRawBufferPointer)? {
        let headerSize = MemoryLayout<nlattr>.size
        guard rest.count >= headerSize else { return nil }
        let header = rest.loadUnaligned(as: nlattr.self)
        let length = Int(header.nla_len)
        guard length >= headerSize, length <= rest.count else { return nil }
        let value = UnsafeRawBufferPointer(rebasing: rest[headerSize..<length])
        rest = UnsafeRawBufferPointer(rebasing: rest[Swift.min((length + 3) & ~3, rest.count)...])
        return (Int(header.nla_type) & 0x3fff, value)
    }
}

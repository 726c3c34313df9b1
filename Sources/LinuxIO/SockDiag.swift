// SPDX-License-Identifier: Apache-2.0
import CLinux
import Glibc

/// The kernel's list of TCP and UDP sockets of one network namespace, and the way to cut one (sock_diag(7)).
///
/// Works on the namespace of the thread that makes it; use it inside ``NetworkNamespace`` and let it go there.
public struct SockDiag: ~Copyable {
    public enum Transport: UInt8, Sendable { case tcp = 6, udp = 17 }

    /// One socket of the dump.
    public struct Entry: Sendable {
        public let tuple: SocketTuple
        /// `SO_COOKIE`: unique while the machine runs.
        public let cookie: UInt64
        /// `TCP_ESTABLISHED` (1) and so on; UDP has 1 (connected) and 7 (not).
        public let state: UInt8
        /// Index of the device that the socket is bound to, 0 if none.
        public let device: UInt32
        /// Bytes charged for received data that the application has not read (`SK_MEMINFO_RMEM_ALLOC`).
        public let receiveMemory: UInt32
        /// Bytes charged for data that is being sent (`SK_MEMINFO_WMEM_QUEUED`).
        public let sendMemory: UInt32
        /// Inode of the socket file, 0 once no process has it.
        public let inode: UInt32

        public var isConnected: Bool { tuple.remotePort != 0 }
    }

    private let netlink: NetlinkSocket
    private let devices = Devices()

    /// - Throws: ``SystemError``; `EPROTONOSUPPORT` if the kernel has no CONFIG_INET_DIAG.
    public init() throws(SystemError) {
        netlink = try NetlinkSocket(family: NETLINK_SOCK_DIAG, name: "NETLINK_SOCK_DIAG")
    }

    /// Lends every socket of the namespace to `body`, IPv4 and IPv6.
    public func forEach(_ transport: Transport, _ body: (Entry) -> Void) throws(SystemError) {
        for family in [AF_INET, AF_INET6] {
            var request = mesh_diag_request(transport, family: family, flags: NLM_F_REQUEST | NLM_F_DUMP)
            request.diag.idiag_states = .max
            request.diag.idiag_ext = UInt8(MESH_DIAG_EXT_SKMEMINFO)
            try netlink.dump(request) { _, payload in
                if let entry = Entry(payload) { body(entry) }
            }
        }
    }

    /// Ends one socket: its owner's next call fails with ECONNABORTED, and a TCP peer gets RST.
    ///
    /// - Returns: `false` if there is no socket with this tuple and this cookie (any more).
    /// - Throws: ``SystemError``; `EOPNOTSUPP` if the kernel has no CONFIG_INET_DIAG_DESTROY, `EPERM` without
    ///   CAP_NET_ADMIN.
    public func destroy(_ transport: Transport, _ tuple: SocketTuple, cookie: UInt64) throws(SystemError) -> Bool {
        if try destroy(transport, tuple, cookie: cookie, device: 0) { return true }
        // The look-up by tuple does not see a socket that is bound to a device unless the device is named. A dump would
        // tell which one, but walks the kernel's whole table: milliseconds for each socket that has ended by itself,
        // as the other end of every connection that is cut does.
        for device in devices.indexes
        where try destroy(transport, tuple, cookie: cookie, device: device) { return true }
        return false
    }

    private func destroy(
        _ transport: Transport, _ tuple: SocketTuple, cookie: UInt64, device: UInt32
    ) throws(SystemError) -> Bool {
        let isIPv4 = tuple.localAddress.isMappedIPv4 && tuple.remoteAddress.isMappedIPv4
        var request = mesh_diag_request(
            transport, family: isIPv4 ? AF_INET : AF_INET6, flags: NLM_F_REQUEST | NLM_F_ACK)
        request.header.nlmsg_type = UInt16(SOCK_DESTROY)
        request.diag.idiag_states = .max
        request.diag.id.idiag_sport = tuple.localPort.bigEndian
        request.diag.id.idiag_dport = tuple.remotePort.bigEndian
        request.diag.id.idiag_if = device
        request.diag.id.idiag_cookie = (UInt32(truncatingIfNeeded: cookie), UInt32(truncatingIfNeeded: cookie >> 32))
        // An IPv4-mapped socket of an AF_INET6 program is found by its IPv4 address too.
        let local = tuple.localAddress.networkWords
        let remote = tuple.remoteAddress.networkWords
        request.diag.id.idiag_src = isIPv4 ? (local.3, 0, 0, 0) : local
        request.diag.id.idiag_dst = isIPv4 ? (remote.3, 0, 0, 0) : remote
        switch try netlink.acknowledge(request) {
        case 0: return true
        // ESTALE: the tuple now belongs to a socket with another cookie.
        case ENOENT, ESTALE: return false
        case let code: throw SystemError("SOCK_DESTROY", errnoCode: code)
        }
    }
}

/// The network devices of the namespace, listed when first asked for.
private final class Devices {
    lazy var indexes: [UInt32] = {
        guard let list = if_nameindex() else { return [] }
        defer { if_freenameindex(list) }
        return Array(sequence(first: list) { $0 + 1 }.lazy.map(\.pointee.if_index).prefix { $0 != 0 })
    }()
}

extension mesh_diag_request {
    fileprivate init(_ transport: SockDiag.Transport, family: CInt, flags: CInt) {
        self.init()
        header.nlmsg_len = UInt32(MemoryLayout<Self>.size)
        header.nlmsg_type = UInt16(SOCK_DIAG_BY_FAMILY)
        header.nlmsg_flags = UInt16(flags)
        diag.sdiag_family = UInt8(family)
        diag.sdiag_protocol = transport.rawValue
    }
}

extension SockDiag.Entry {
    /// - Returns: `nil` if the message is too short to be `struct inet_diag_msg`.
    fileprivate init?(_ payload: UnsafeRawBufferPointer) {
        let size = MemoryLayout<inet_diag_msg>.size
        guard payload.count >= size else { return nil }
        let message = payload.loadUnaligned(as: inet_diag_msg.self)
        let id = message.id
        func address(_ words: (UInt32, UInt32, UInt32, UInt32)) -> UInt128 {
            CInt(message.idiag_family) == AF_INET
                ? UInt128(mapping: UInt32(bigEndian: words.0)) : UInt128(networkWords: words)
        }
        var memory: (receive: UInt32, send: UInt32) = (message.idiag_rqueue, message.idiag_wqueue)
        for attribute in NetlinkAttributes(UnsafeRawBufferPointer(rebasing: payload[size...]))
        where attribute.type == Int(INET_DIAG_SKMEMINFO) && attribute.value.count >= 24 {
            memory.receive = attribute.value.loadUnaligned(fromByteOffset: 0, as: UInt32.self)
            memory.send = attribute.value.loadUnaligned(
                fromByteOffset: Int(SK_MEMINFO_WMEM_QUEUED) * 4, as: UInt32.self)
        }
        self.init(
            tuple: SocketTuple(
                localAddress: address(id.idiag_src), localPort: UInt16(bigEndian: id.idiag_sport),
                remoteAddress: address(id.idiag_dst), remotePort: UInt16(bigEndian: id.idiag_dport)),
            cookie: UInt64(id.idiag_cookie.1) << 32 | UInt64(id.idiag_cookie.0),
            state: message.idiag_state, device: id.idiag_if,
            receiveMemory: memory.receive, sendMemory: memory.send, inode: message.idiag_inode)
    }
}

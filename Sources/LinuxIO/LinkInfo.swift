// SPDX-License-Identifier: Apache-2.0
import CLinux
import Glibc

/// One address of the calling thread's network namespace, and the link that has it (rtnetlink(7)).
public struct LinkInfo: Hashable, Sendable {
    /// The 16 bytes of the address, first byte most significant; IPv4 as ::ffff:a.b.c.d.
    public let address: UInt128
    /// Name of the interface, for example `eth0`.
    public let name: String
    /// `IFLA_INFO_KIND`: `veth`, `macvlan`, `ipvlan`, `dummy` and so on; empty for hardware and for `lo`.
    public let kind: String
    public let isLoopback: Bool

    /// A veth pair has both of its ends in this kernel, so bytes that skip it have not skipped a wire.
    public var isVeth: Bool { kind == "veth" }

    /// Every configured address of the namespace.
    ///
    /// - Throws: ``SystemError`` if rtnetlink refuses.
    public static func all() throws(SystemError) -> [LinkInfo] {
        let netlink = try NetlinkSocket(family: NETLINK_ROUTE, name: "NETLINK_ROUTE")
        var links: [UInt32: (name: String, kind: String, isLoopback: Bool)] = [:]
        try netlink.dump(mesh_link_request(dump: ())) { type, payload in
            let size = MemoryLayout<ifinfomsg>.size
            guard type == UInt16(RTM_NEWLINK), payload.count >= size else { return }
            let header = payload.loadUnaligned(as: ifinfomsg.self)
            var link = (name: "", kind: "", isLoopback: header.ifi_flags & UInt32(IFF_LOOPBACK) != 0)
            for attribute in NetlinkAttributes(UnsafeRawBufferPointer(rebasing: payload[size...])) {
                if attribute.type == Int(IFLA_IFNAME) { link.name = text(attribute.value) }
                guard attribute.type == Int(IFLA_LINKINFO) else { continue }
                for info in NetlinkAttributes(attribute.value) where info.type == Int(IFLA_INFO_KIND) {
                    link.kind = text(info.value)
                }
            }
            links[UInt32(bitPattern: header.ifi_index)] = link
        }
        var found: [LinkInfo] = []
        try netlink.dump(mesh_address_request(dump: ())) { type, payload in
            let size = MemoryLayout<ifaddrmsg>.size
            guard type == UInt16(RTM_NEWADDR), payload.count >= size else { return }
            let header = payload.loadUnaligned(as: ifaddrmsg.self)
            guard let link = links[header.ifa_index] else { return }
            var address: UInt128?
            for attribute in NetlinkAttributes(UnsafeRawBufferPointer(rebasing: payload[size...])) {
                // IFA_LOCAL is the interface's own address; IFA_ADDRESS is the peer's on point-to-point links.
                if attribute.type == Int(IFA_LOCAL) { address = UInt128(attribute.value) }
                if attribute.type == Int(IFA_ADDRESS), address == nil { address = UInt128(attribute.value) }
            }
            guard let address else { return }
            found.append(LinkInfo(address: address, name: link.name, kind: link.kind, isLoopback: link.isLoopback))
        }
        return found
    }

    private static func text(_ bytes: UnsafeRawBufferPointer) -> String {
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
}

extension UInt128 {
    /// - Returns: `nil` unless there are 4 or 16 bytes.
    fileprivate init?(_ bytes: UnsafeRawBufferPointer) {
        switch bytes.count {
        case 4: self.init(mapping: UInt32(bigEndian: bytes.loadUnaligned(as: UInt32.self)))
        case 16: self = UInt128(bigEndian: bytes.loadUnaligned(as: UInt128.self))
        default: return nil
        }
    }
}

extension mesh_link_request {
    fileprivate init(dump: Void) {
        self.init()
        header.nlmsg_len = UInt32(MemoryLayout<Self>.size)
        header.nlmsg_type = UInt16(RTM_GETLINK)
        header.nlmsg_flags = UInt16(NLM_F_REQUEST | NLM_F_DUMP)
    }
}

extension mesh_address_request {
    fileprivate init(dump: Void) {
        self.init()
        header.nlmsg_len = UInt32(MemoryLayout<Self>.size)
        header.nlmsg_type = UInt16(RTM_GETADDR)
        header.nlmsg_flags = UInt16(NLM_F_REQUEST | NLM_F_DUMP)
    }
}

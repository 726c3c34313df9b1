// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// Sockets in a cgroup and a network namespace that this process is not in.
///
/// Programs of a cgroup follow the cgroup of the process that made the socket, so
/// a socket that they must see has to be made there; it can be used from anywhere.
public enum Sandbox {
    /// - Parameters:
    ///   - domain: `AF_INET` and so on.
    ///   - type: `SOCK_STREAM` and so on, with SOCK_NONBLOCK if wanted; close-on-exec is always set.
    /// - Throws: ``SystemError``: of socket(2) as the process inside met it (EPERM if a program refused),
    ///   of setns(2), or of clone3(2), which needs Linux 5.7.
    public static func makeSocket(
        in cgroup: Cgroup, _ namespace: borrowing NetworkNamespace, domain: CInt, type: CInt, protocol number: CInt = 0
    ) throws(SystemError) -> OwnedDescriptor {
        let directory = try cgroup.open()
        let target = namespace.rawDescriptor
        let raw = try SystemError.check("socket", "in \(cgroup.path)") {
            clinux_socket_in(directory.rawValue, target, domain, type, number)
        }
        return OwnedDescriptor(adopting: raw)
    }

    /// Joins two namespaces by a pair of veth devices, each with one IPv4 address, and sets them up.
    ///
    /// The devices go with the first of the two namespaces that dies.
    ///
    /// - Parameters:
    ///   - device: name of the device in both namespaces, at most 15 bytes.
    ///   - addresses: in host byte order.
    ///   - prefixLength: of both addresses, 1 to 32.
    public static func join(
        _ first: borrowing NetworkNamespace, _ second: borrowing NetworkNamespace, device: String,
        addresses: (first: UInt32, second: UInt32), prefixLength: UInt32
    ) throws(SystemError) {
        let peer = second.rawDescriptor
        try first.run { () throws(SystemError) in
            try SystemError.check("RTM_NEWLINK", "veth \(device)") { clinux_veth_create(device, peer) }
            try setUp(device, addresses.first, prefixLength)
        }
        try second.run { () throws(SystemError) in try setUp(device, addresses.second, prefixLength) }
    }

    private static func setUp(_ device: String, _ address: UInt32, _ prefixLength: UInt32) throws(SystemError) {
        try SystemError.check("ioctl(SIOCSIFADDR, SIOCSIFFLAGS)", device) {
            clinux_device_up(device, address.bigEndian, prefixLength)
        }
    }
}

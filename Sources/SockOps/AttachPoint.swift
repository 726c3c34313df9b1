// SPDX-License-Identifier: Apache-2.0

import CLibBPF

/// Where a program of this project can be attached; the raw value is `enum bpf_attach_type`.
public enum AttachPoint: UInt32, CaseIterable, Sendable {
    case socketCreate = 2
    case sockOps = 3
    case socketMessage = 7
    case connect4 = 10
    case connect6 = 11
    case sendmsg4 = 14
    case sendmsg6 = 15
    case recvmsg4 = 19
    case recvmsg6 = 20
    case getsockopt = 21
    case setsockopt = 22
    case getpeername4 = 29
    case getpeername6 = 30
    case getsockname4 = 31
    case getsockname6 = 32
    case socketLookup = 36

    var kernelType: bpf_attach_type { bpf_attach_type(rawValue: rawValue) }

    /// libbpf's name of the attach type: `cgroup_inet4_connect`.
    public var name: String {
        libbpf_bpf_attach_type_str(kernelType).map { String(cString: $0) } ?? "attach type \(rawValue)"
    }
}

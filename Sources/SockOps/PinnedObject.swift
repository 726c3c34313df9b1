// SPDX-License-Identifier: Apache-2.0

import CLibBPF
import Glibc
import LinuxIO

/// Opens what is pinned at a path and makes sure that it is of the kind that is expected.
enum PinnedObject {
    enum Kind: String {
        case map = "bpf-map"
        case program = "bpf-prog"
        case link = "bpf-link"
    }

    /// - Throws: ``BPFError`` with `.open`: ENOENT if nothing is pinned there, EINVAL if it is of another kind.
    static func open(_ kind: Kind, _ path: String) throws(BPFError) -> OwnedDescriptor {
        let raw = bpf_obj_get(path)
        guard raw >= 0 else { throw BPFError(.open, "pinned \(kind) \(path)", errnoCode: raw) }
        let descriptor = OwnedDescriptor(adopting: raw)
        // BPF_OBJ_GET_INFO_BY_FD answers for every kind with a structure that does not say which one it is.
        // The kernel names the file of the descriptor by its kind (kernel/bpf/syscall.c, anon_inode_getfd).
        var target = [CChar](repeating: 0, count: 64)
        let length = readlink("/proc/self/fd/\(raw)", &target, target.count)
        let name = String(decoding: target.prefix(max(length, 0)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
        // Hyphens in most kernels, an underscore in some.
        guard name == "anon_inode:\(kind.rawValue)" || (kind == .link && name == "anon_inode:bpf_link") else {
            throw BPFError(
                .open, "pinned \(kind) \(path)", errnoCode: EINVAL, detail: "what is pinned there is \(name)")
        }
        return descriptor
    }
}

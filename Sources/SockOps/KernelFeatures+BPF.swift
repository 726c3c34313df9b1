// SPDX-License-Identifier: Apache-2.0

import CLibBPF
import Glibc
import LinuxIO

/// Program types, maps and helpers, each tried by loading the smallest program that needs it.
extension KernelFeatures {
    /// A program of the kind that belongs at `point` can be loaded.
    static func program(_ point: AttachPoint) -> Feature {
        let need = needs(of: point)
        let status = loadTrivial(need.type, at: point)
        return Feature(
            name: "program \(point.name)", isRequired: true, isPresent: status == 0,
            detail: status == 0 ? "can be loaded" : SystemError.message(of: -status), minimumKernel: need.minimum)
    }

    static func queryProgram() -> Feature {
        let status = loadTrivial(BPF_PROG_TYPE_SCHED_CLS, at: nil)
        return Feature(
            name: "program sched_cls", isRequired: true, isPresent: status == 0,
            detail: status == 0 ? "can be loaded" : SystemError.message(of: -status), minimumKernel: "4.1")
    }

    /// Programs that watch kernel functions: wanted for `accelerate: auto`, refused on locked-down kernels.
    static func tracing() -> Feature {
        var log: [String] = []
        let status = LibBPFLog.capture(into: &log) { () -> CInt in
            let function = libbpf_find_vmlinux_btf_id("tcp_splice_read", BPF_TRACE_FENTRY)
            guard function > 0 else { return function }
            var options = bpf_prog_load_opts()
            options.sz = MemoryLayout<bpf_prog_load_opts>.size
            options.expected_attach_type = BPF_TRACE_FENTRY
            options.attach_btf_id = UInt32(function)
            let raw = load(BPF_PROG_TYPE_TRACING, returning: 0, &options)
            guard raw >= 0 else { return raw }
            let program = OwnedDescriptor(adopting: raw)
            // Some kernels load what they then refuse to attach; the link goes with its descriptor.
            let link = bpf_raw_tracepoint_open(nil, program.rawValue)
            guard link >= 0 else { return link }
            _ = OwnedDescriptor(adopting: link)
            return 0
        }
        return Feature(
            name: "tracing programs", isRequired: false, isPresent: status == 0,
            detail: status == 0
                ? "can be attached"
                : "\(SystemError.message(of: -status)): `accelerate: auto` does not accelerate here, `enabled` does",
            minimumKernel: "5.5")
    }

    static func maps() -> [Feature] {
        let needed: [(String, bpf_map_type, String)] = [
            ("hash", BPF_MAP_TYPE_HASH, "3.19"), ("array", BPF_MAP_TYPE_ARRAY, "3.19"),
            ("LRU hash", BPF_MAP_TYPE_LRU_HASH, "4.10"), ("per-CPU array", BPF_MAP_TYPE_PERCPU_ARRAY, "4.6"),
            ("LPM trie", BPF_MAP_TYPE_LPM_TRIE, "4.11"), ("program array", BPF_MAP_TYPE_PROG_ARRAY, "4.2"),
            ("sockhash", BPF_MAP_TYPE_SOCKHASH, "4.18"), ("socket storage", BPF_MAP_TYPE_SK_STORAGE, "5.2"),
            ("ring buffer", BPF_MAP_TYPE_RINGBUF, "5.8"),
        ]
        return needed.map { name, type, minimum in
            feature("map \(name)", libbpf_probe_bpf_map_type(type, nil), minimum)
        }
    }

    static func helpers() -> [Feature] {
        let needed: [(String, bpf_func_id, String, bpf_prog_type, String)] = [
            ("bpf_get_netns_cookie", BPF_FUNC_get_netns_cookie, "connect", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, "5.7"),
            ("bpf_get_netns_cookie", BPF_FUNC_get_netns_cookie, "sockops", BPF_PROG_TYPE_SOCK_OPS, "5.15"),
            ("bpf_set_retval", BPF_FUNC_set_retval, "connect", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, "5.18"),
            ("bpf_set_retval", BPF_FUNC_set_retval, "setsockopt", BPF_PROG_TYPE_CGROUP_SOCKOPT, "5.18"),
            ("bpf_sk_storage_get", BPF_FUNC_sk_storage_get, "connect", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, "5.8"),
            ("bpf_bind", BPF_FUNC_bind, "connect", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, "4.17"),
            ("bpf_sk_assign", BPF_FUNC_sk_assign, "sk_lookup", BPF_PROG_TYPE_SK_LOOKUP, "5.9"),
            ("bpf_sk_storage_get", BPF_FUNC_sk_storage_get, "sock_create", BPF_PROG_TYPE_CGROUP_SOCK, "5.11"),
            ("bpf_sk_storage_get", BPF_FUNC_sk_storage_get, "sk_msg", BPF_PROG_TYPE_SK_MSG, "5.8"),
            ("bpf_skc_to_tcp_sock", BPF_FUNC_skc_to_tcp_sock, "sockops", BPF_PROG_TYPE_SOCK_OPS, "5.10"),
            ("bpf_skc_to_tcp_sock", BPF_FUNC_skc_to_tcp_sock, "sk_msg", BPF_PROG_TYPE_SK_MSG, "5.10"),
            ("bpf_probe_read_kernel", BPF_FUNC_probe_read_kernel, "sk_msg", BPF_PROG_TYPE_SK_MSG, "5.8"),
            ("bpf_sock_hash_update", BPF_FUNC_sock_hash_update, "sockops", BPF_PROG_TYPE_SOCK_OPS, "4.18"),
            ("bpf_msg_redirect_hash", BPF_FUNC_msg_redirect_hash, "sk_msg", BPF_PROG_TYPE_SK_MSG, "4.18"),
            ("bpf_ringbuf_reserve", BPF_FUNC_ringbuf_reserve, "sockops", BPF_PROG_TYPE_SOCK_OPS, "5.8"),
        ]
        return needed.map { name, helper, place, type, minimum in
            feature("helper \(name) in \(place)", libbpf_probe_bpf_helper(type, helper, nil), minimum)
        }
    }

    /// - Parameter answer: of a libbpf probe: 1 yes, 0 no, negative that it could not try.
    private static func feature(_ name: String, _ answer: CInt, _ minimum: String) -> Feature {
        Feature(
            name: name, isRequired: true, isPresent: answer == 1,
            detail: answer == 1 ? "works" : answer == 0 ? "the kernel lacks it" : SystemError.message(of: -answer),
            minimumKernel: minimum)
    }

    private static func needs(of point: AttachPoint) -> (type: bpf_prog_type, minimum: String) {
        switch point {
        case .socketCreate: (BPF_PROG_TYPE_CGROUP_SOCK, "4.10")
        case .sockOps: (BPF_PROG_TYPE_SOCK_OPS, "4.13")
        case .socketMessage: (BPF_PROG_TYPE_SK_MSG, "4.17")
        case .connect4, .connect6: (BPF_PROG_TYPE_CGROUP_SOCK_ADDR, "4.17")
        case .sendmsg4, .sendmsg6: (BPF_PROG_TYPE_CGROUP_SOCK_ADDR, "4.18")
        case .recvmsg4, .recvmsg6: (BPF_PROG_TYPE_CGROUP_SOCK_ADDR, "5.2")
        case .getpeername4, .getpeername6, .getsockname4, .getsockname6: (BPF_PROG_TYPE_CGROUP_SOCK_ADDR, "5.8")
        case .setsockopt, .getsockopt: (BPF_PROG_TYPE_CGROUP_SOCKOPT, "5.3")
        case .socketLookup: (BPF_PROG_TYPE_SK_LOOKUP, "5.9")
        }
    }

    private static func loadTrivial(_ type: bpf_prog_type, at point: AttachPoint?) -> CInt {
        var options = bpf_prog_load_opts()
        options.sz = MemoryLayout<bpf_prog_load_opts>.size
        if let point { options.expected_attach_type = point.kernelType }
        let raw = load(type, returning: 1, &options)
        guard raw >= 0 else { return raw }
        _ = OwnedDescriptor(adopting: raw)
        return 0
    }

    /// Loads a program that only returns a number. Returns its descriptor, or the negated errno.
    private static func load(_ type: bpf_prog_type, returning value: Int32, _ options: inout bpf_prog_load_opts) -> CInt
    {
        var move = bpf_insn()
        move.code = UInt8(BPF_ALU64 | BPF_MOV | BPF_K)
        move.imm = value
        var exit = bpf_insn()
        exit.code = UInt8(BPF_JMP | BPF_EXIT)
        let program = [move, exit]
        return bpf_prog_load(type, "mesh_probe", "Dual BSD/GPL", program, program.count, &options)
    }
}

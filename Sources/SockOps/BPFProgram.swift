// SPDX-License-Identifier: Apache-2.0

import CLibBPF
import Glibc
import LinuxIO

/// A loaded BPF program on a descriptor of its own.
public struct BPFProgram: ~Copyable, Sendable {
    let descriptor: OwnedDescriptor
    /// As the kernel knows it: at most 15 characters.
    public let name: String
    /// The kernel's number of the program; not used again before the next boot.
    public let id: UInt32
    /// The maps that the program uses.
    public let mapIDs: [UInt32]

    init(adopting descriptor: consuming OwnedDescriptor) throws(BPFError) {
        var info = sockops_program_info()
        var mapIDs = [UInt32](repeating: 0, count: 64)
        let status = sockops_program_info(descriptor.rawValue, &info, &mapIDs, UInt32(mapIDs.count))
        guard status == 0 else { throw BPFError(.query, "program", errnoCode: status) }
        mapIDs.removeLast(mapIDs.count - min(mapIDs.count, Int(info.map_count)))
        self.descriptor = descriptor
        self.name = String(cTuple: info.name)
        self.id = info.id
        self.mapIDs = mapIDs
    }

    /// Opens a loaded program by the kernel's number.
    ///
    /// - Throws: ``BPFError`` with `.find`: ENOENT if it has been unloaded, EPERM without CAP_SYS_ADMIN.
    public init(id: UInt32) throws(BPFError) {
        let raw = bpf_prog_get_fd_by_id(id)
        guard raw >= 0 else { throw BPFError(.find, "program \(id)", errnoCode: raw) }
        try self.init(adopting: OwnedDescriptor(adopting: raw))
    }

    /// Pins the program at `path`, which must not exist; the program then outlives the process.
    func pin(_ path: String) throws(BPFError) {
        let status = bpf_obj_pin(descriptor.rawValue, path)
        guard status == 0 else { throw BPFError(.pin, "program \(name) at \(path)", errnoCode: status) }
    }

    /// Runs the program once on a packet that is not sent anywhere (BPF_PROG_TEST_RUN).
    ///
    /// - Parameter packet: at least 14 bytes, an Ethernet header for programs of type SCHED_CLS.
    /// - Returns: the program's return value; `packet` is as the program left it.
    /// - Throws: ``BPFError`` with `.run`; ENOTSUPP for program types that cannot be run so.
    public func testRun(_ packet: inout [UInt8]) throws(BPFError) -> UInt32 {
        var result = packet
        var options = bpf_test_run_opts()
        options.sz = MemoryLayout<bpf_test_run_opts>.size
        options.repeat = 1
        let status = packet.withUnsafeBytes { input in
            result.withUnsafeMutableBytes { output in
                options.data_in = input.baseAddress
                options.data_size_in = UInt32(input.count)
                options.data_out = output.baseAddress
                options.data_size_out = UInt32(output.count)
                return bpf_prog_test_run_opts(descriptor.rawValue, &options)
            }
        }
        guard status == 0 else { throw BPFError(.run, "program \(name)", errnoCode: status) }
        packet = result
        return options.retval
    }

    /// The programs attached to `target` itself, by the kernel's numbers and in the order of their running.
    ///
    /// - Parameters:
    ///   - target: descriptor of a cgroup directory, a network namespace or a sockhash.
    ///   - includingAncestors: for a cgroup, also what its ancestors run for it.
    static func attached(
        to target: CInt, as point: AttachPoint, includingAncestors: Bool = false
    ) throws(BPFError) -> [UInt32] {
        // 64 is the kernel's limit for one cgroup (BPF_CGROUP_MAX_PROGS); ancestors add theirs.
        var ids = [UInt32](repeating: 0, count: 256)
        var count = UInt32(ids.count)
        let flags: UInt32 = includingAncestors ? 1 : 0  // BPF_F_QUERY_EFFECTIVE
        let status = bpf_prog_query(target, point.kernelType, flags, nil, &ids, &count)
        guard status == 0 else {
            throw BPFError(.query, "programs attached as \(point.name)", errnoCode: status)
        }
        return Array(ids.prefix(Int(count)))
    }
}

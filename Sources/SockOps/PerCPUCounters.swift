// SPDX-License-Identifier: Apache-2.0

import CLibBPF
import Glibc
import LinuxIO

/// A per-CPU array of 64-bit counters, read as sums.
public struct PerCPUCounters: ~Copyable, Sendable {
    let handle: MapHandle
    private let cpuCount: Int

    /// - Throws: ``BPFError`` with `.open` if the map is not a per-CPU array of 64-bit values.
    public init(_ handle: consuming MapHandle) throws(BPFError) {
        try handle.require(types: [BPF_MAP_TYPE_PERCPU_ARRAY], keySize: 4, valueSize: 8)
        let count = libbpf_num_possible_cpus()
        guard count > 0 else { throw BPFError(.query, "possible CPUs", errnoCode: count) }
        self.handle = handle
        self.cpuCount = Int(count)
    }

    /// Number of counters.
    public var count: Int { Int(handle.shape.maxEntries) }

    /// The sum over all CPUs of counter `index`. Wraps like the counters themselves.
    public func sum(_ index: UInt32) throws(BPFError) -> UInt64 {
        var perCPU = [UInt64](repeating: 0, count: cpuCount)
        return try sum(index, into: &perCPU)
    }

    /// The sums of all counters, by index.
    public func sums() throws(BPFError) -> [UInt64] {
        var perCPU = [UInt64](repeating: 0, count: cpuCount)
        var all: [UInt64] = []
        all.reserveCapacity(count)
        for index in 0..<handle.shape.maxEntries { all.append(try sum(index, into: &perCPU)) }
        return all
    }

    private func sum(_ index: UInt32, into perCPU: inout [UInt64]) throws(BPFError) -> UInt64 {
        let status = withUnsafePointer(to: index) {
            bpf_map_lookup_elem(handle.descriptor.rawValue, $0, &perCPU)
        }
        guard status == 0 else { throw BPFError(.lookUp, "map \(handle.name)", errnoCode: status) }
        return perCPU.reduce(0, &+)
    }
}

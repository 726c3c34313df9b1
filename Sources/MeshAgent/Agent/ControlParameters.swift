// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import LinuxIO
import SockOps

/// Gates and limits in `mesh_control`, all but the generation. docs/limits.md says what each stops.
struct ControlParameters: Equatable {
    /// `enum mesh_control_flags`.
    var flags: UInt32
    var nodeNetns: UInt64
    /// Bytes that the two buffers of a TCP connection may hold: `tcp_rmem[2] + tcp_wmem[2]`.
    var tcpBuffers: UInt32
    /// Bytes that all redirected directions of the node may hold together.
    var nodeBudget: UInt64
    /// Sockets that are redirected to now.
    var members: UInt64 = 0

    /// Least bytes a direction may hold however many there are: one message of the size that sk_msg makes.
    private static let leastHighWater: UInt64 = 64 * 1024

    /// What TCP could hold, or a fair share of the node's budget if that is less.
    var highWater: UInt32 {
        let share = nodeBudget / max(members, 1)
        return UInt32(clamping: min(UInt64(tcpBuffers), max(share, Self.leastHighWater)))
    }

    /// Values for this machine: buffers from `/proc/sys/net/ipv4`, a budget of one eighth of its memory.
    static func forThisMachine(flags: UInt32, nodeNetns: UInt64) -> ControlParameters {
        func largest(_ name: String) -> UInt32? {
            (try? SmallFile.readText("/proc/sys/net/ipv4/\(name)"))?.split(whereSeparator: \.isWhitespace).last
                .flatMap { UInt32($0) }
        }
        let memory =
            (try? SmallFile.readText("/proc/meminfo"))?.split(separator: "\n")
            .first { $0.hasPrefix("MemTotal:") }?.split(separator: " ").dropFirst().first.flatMap { UInt64($0) }
        return ControlParameters(
            flags: flags, nodeNetns: nodeNetns,
            // The kernel's own defaults where it does not say (net/ipv4/tcp.c, tcp_init).
            tcpBuffers: (largest("tcp_rmem") ?? 6 << 20) + (largest("tcp_wmem") ?? 4 << 20),
            nodeBudget: (memory ?? 4 << 20) * 1024 / 8)
    }

    /// Writes what depends on ``members``, which changes while the programs run.
    func storeHighWater(in control: borrowing MappedValue<mesh_control>) {
        control.store(highWater, to: \.high_water)
    }

    /// Writes them where the programs read them.
    func store(in control: borrowing MappedValue<mesh_control>) {
        control.store(nodeNetns, to: \.node_netns)
        storeHighWater(in: control)
        // 712 bytes of kernel memory each, rounded up to 1 KiB by the allocator (struct sk_msg).
        control.store(512, to: \.message_cap)
        control.store(1024, to: \.small_write)
        // HTTP/2 leaves a small frame or two of each stream unread while its peer waits for a processor, and a hundred streams
        // are common; a stream of small writes comes to more.
        control.store(256, to: \.small_write_run)
        // 3 us a message, where three small ones of four find others unread. At 10 us connections of HTTP/2 with many streams
        // left the fast path too, and cost a fifth more; those of gRPC, whose answers nginx gives in pieces, a fifth less.
        control.store(800_000, to: \.stream_window_ns)
        control.store(UInt32(MESH_MAX_ENDS) / 8, to: \.ends_quota)
        control.store(UInt32(MESH_MAX_UDP_FLOWS) / 8, to: \.udp_quota)
        control.store(200, to: \.events_per_second)
        // As nf_conntrack_udp_timeout_stream: what NAT gateways on the way keep too.
        control.store(UInt64(120_000_000_000), to: \.udp_idle_ns)
        control.store(flags, to: \.flags)
    }
}

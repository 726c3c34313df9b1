// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import Glibc
import LinuxIO
import Logging
import MeshAdmin
import MeshModel
import SockOps

/// Takes flow events out of the ring buffer: reports them, and cuts what must be cut at once.
final class FlowReader {
    private let events: RingBuffer
    private let reconciler: Reconciler
    private let log: FlowLog
    private let cutter: SocketCutter
    private let logger: Logger
    /// Cookies of sockets whose cut the sweep of this generation has reported, with the policy that denies them.
    var reported: Set<UInt64> = []

    /// Events of one turn: other work must have its turn too.
    private static let limit = 4096

    init(_ reconciler: Reconciler, log: FlowLog, cutter: SocketCutter, logger: Logger) throws(BPFError) {
        events = try reconciler.writer.plane.maps.openEvents()
        self.reconciler = reconciler
        self.log = log
        self.cutter = cutter
        self.logger = logger
    }

    /// Readable when a program has woken the agent: for refusals and cuts, not for openings and closings.
    var descriptor: CInt { events.epollDescriptor }

    func drain() {
        var batch: [mesh_event] = []
        do throws(BPFError) {
            try events.consume(limit: Self.limit) { bytes in
                if bytes.count >= MemoryLayout<mesh_event>.size {
                    batch.append(bytes.loadUnaligned(as: mesh_event.self))
                }
            }
        } catch {
            logger.error("flow events not read", metadata: ["error": "\(error)"])
        }
        guard !batch.isEmpty else { return }
        // First what stops bytes.
        let targets = batch.filter { $0.type == UInt8(MESH_EVENT_CUT.rawValue) }.flatMap(targets)
        if !targets.isEmpty { _ = cutter.cut(Array(Set(targets)), in: reconciler) }
        let wallClock = Self.wallClock()
        let names = AgentNames(reconciler)
        for event in batch {
            // The kernel met it as well, on the way to its end.
            if event.type == UInt8(MESH_EVENT_CUT.rawValue), reported.contains(event.cookie) { continue }
            if let event = FlowEvent(event, wallClock: wallClock, names: names) { log.record(event) }
        }
    }

    /// The socket that reports, and the other end if it is a local pod's.
    private func targets(_ event: mesh_event) -> [CutTarget] {
        let source = SocketTuple(
            localAddress: IPAddress(event.source).wide, localPort: event.source_port,
            remoteAddress: IPAddress(event.destination).wide, remotePort: event.destination_port)
        let own = event.direction == UInt8(MESH_EGRESS.rawValue) ? source : source.reversed
        var targets = [CutTarget(netns: event.netns, transport: .tcp, tuple: own, cookie: event.cookie)]
        guard event.peer_netns != 0 else { return targets }
        let peer = own.reversed
        let key = mesh_flow_key(
            local: mesh_ip(IPAddress(wide: peer.localAddress)), remote: mesh_ip(IPAddress(wide: peer.remoteAddress)),
            local_port: peer.localPort, remote_port: peer.remotePort, zero: 0,
            netns: event.peer_netns == event.netns ? event.netns : 0)
        if let end = try? reconciler.writer.plane.maps.ends.get(key) {
            targets.append(ConnectionEnd(key: key, end: end).target)
        }
        return targets
    }

    /// What must be added to CLOCK_MONOTONIC to have the time of day, in nanoseconds.
    private static func wallClock() -> Int64 {
        Timestamp.now.nanoseconds - Int64(monotonicNanoseconds())
    }

    /// CLOCK_MONOTONIC, as the programs use it.
    static func monotonicNanoseconds() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}

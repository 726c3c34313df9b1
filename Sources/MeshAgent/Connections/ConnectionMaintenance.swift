// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import LinuxIO
import Logging
import MeshModel
import SockOps

/// What the agent does to open connections: cuts those that are denied, and clears away what ended unseen.
struct ConnectionMaintenance {
    let cutter: SocketCutter
    let logger: Logger

    /// Cuts the TCP connections that `sweeper` denies, both ends of local ones.
    ///
    /// - Returns: the ends that were denied, and why: `enum mesh_reason`.
    func cutDenied(
        _ maps: borrowing MeshMaps, _ sweeper: ConnectionSweeper, in namespaces: some NamespaceOpening
    ) throws(BPFError) -> [(connection: ConnectionEnd, reason: mesh_reason)] {
        var targets: [CutTarget] = []
        var denied: [(connection: ConnectionEnd, reason: mesh_reason)] = []
        try maps.ends.forEach { key, end in
            let connection = ConnectionEnd(key: key, end: end)
            let reason = sweeper.verdict(on: connection)
            guard reason != MESH_REASON_NONE else { return }
            denied.append((connection, reason))
            targets.append(connection.target)
            // The other end of a connection whose endpoint has gone has no verdict of its own.
            if end.peer_netns != 0 { targets.append(contentsOf: Self.peer(of: connection, maps)) }
        }
        guard !targets.isEmpty else { return [] }
        let destroyed = cutter.cut(Array(Set(targets)), in: namespaces)
        logger.info("connections cut", metadata: ["sockets": "\(destroyed)", "generation": "\(sweeper.generation)"])
        return denied
    }

    private static func peer(of connection: ConnectionEnd, _ maps: borrowing MeshMaps) -> [CutTarget] {
        let key = connection.peerKey
        guard let end = try? maps.ends.get(key) else { return [] }
        return [ConnectionEnd(key: key, end: end).target]
    }

    /// Cuts connected UDP sockets that `sweeper` denies, and what is connected to them in other local pods. Unconnected
    /// ones are never touched: they are decided by datagram, and would lose their port.
    ///
    /// Looks into every namespace, about half a millisecond each: after the TCP connections, which are more.
    ///
    /// - Returns: the sockets that were denied, and why: `enum mesh_reason`.
    func cutDeniedUDP(
        _ maps: borrowing MeshMaps, _ sweeper: ConnectionSweeper, of workloads: some Sequence<NetnsCookie>,
        in namespaces: some NamespaceOpening
    ) throws(BPFError) -> [(socket: ConnectedUDPSocket, reason: mesh_reason)] {
        var denied: [(socket: ConnectedUDPSocket, reason: mesh_reason)] = []
        var allowed: [NetnsCookie: [SocketTuple: ConnectedUDPSocket]] = [:]
        var destroyed = 0
        for netns in workloads {
            var targets: [CutTarget] = []
            for socket in try connectedUDP(maps, netns, in: namespaces) {
                let reason = sweeper.verdict(on: socket)
                if reason == MESH_REASON_NONE {
                    allowed[netns, default: [:]][socket.tuple] = socket
                } else {
                    denied.append((socket, reason))
                    targets.append(socket.target)
                }
            }
            if !targets.isEmpty { destroyed += cutter.cut(targets, in: namespaces) }
        }
        guard !denied.isEmpty else { return [] }
        // A server's socket of this client alone. It has asked for no service, so it has no verdict of its own.
        let others = denied.compactMap { denial in
            sweeper.peer(of: denial.socket).flatMap { allowed[$0]?[denial.socket.tuple.reversed]?.target }
        }
        if !others.isEmpty { destroyed += cutter.cut(others, in: namespaces) }
        logger.info(
            "connected UDP sockets cut",
            metadata: ["sockets": "\(destroyed)", "generation": "\(sweeper.generation)"])
        return denied
    }

    private func connectedUDP(
        _ maps: borrowing MeshMaps, _ netns: NetnsCookie, in namespaces: some NamespaceOpening
    ) throws(BPFError) -> [ConnectedUDPSocket] {
        guard let namespace = namespaces.openNamespace(netns) else { return [] }
        var entries: [SockDiag.Entry] = []
        do throws(SystemError) {
            entries = try namespace.run { () throws(SystemError) -> [SockDiag.Entry] in
                var found: [SockDiag.Entry] = []
                try SockDiag().forEach(.udp) { if $0.isConnected { found.append($0) } }
                return found
            }
        } catch {
            logger.error("connected UDP sockets not listed", metadata: ["netns": "\(netns)", "error": "\(error)"])
        }
        var sockets: [ConnectedUDPSocket] = []
        for entry in entries {
            let service = try Self.service(of: entry, maps)
            sockets.append(
                ConnectedUDPSocket(
                    netns: netns, tuple: entry.tuple, cookie: entry.cookie, service: service,
                    // Who asks a service is never the one who was asked.
                    wasAsked: service == nil ? try Self.wasAsked(entry.tuple, netns, maps) : false))
        }
        return sockets
    }

    private static func service(
        of socket: SockDiag.Entry, _ maps: borrowing MeshMaps
    ) throws(BPFError) -> ServiceKey? {
        var key = mesh_udp_reverse_key()
        key.cookie = socket.cookie
        key.backend = mesh_ip(IPAddress(wide: socket.tuple.remoteAddress))
        key.backend_port = socket.tuple.remotePort
        return try maps.udpReverse.get(key).map {
            ServiceKey(address: IPAddress($0.service_address), port: $0.service_port, transport: .udp)
        }
    }

    private static func wasAsked(
        _ tuple: SocketTuple, _ netns: NetnsCookie, _ maps: borrowing MeshMaps
    ) throws(BPFError) -> Bool {
        var key = mesh_udp_key()
        key.netns = netns
        key.remote = mesh_ip(IPAddress(wide: tuple.remoteAddress))
        key.local_port = tuple.localPort
        key.remote_port = tuple.remotePort
        return try maps.udpAsked.get(key) != nil
    }

    /// Removes UDP flows that have been idle for longer than `mesh_control.udp_idle_ns`.
    func expireUDP(_ plane: borrowing DataPlane, now: UInt64) throws(BPFError) {
        let idle = plane.maps.control.snapshot.udp_idle_ns
        var old: [mesh_udp_key] = []
        try plane.maps.udpFlows.forEach { key, flow in
            if now &- flow.last_ns > idle { old.append(key) }
        }
        for key in old {
            var request = mesh_reap()
            request.udp = key
            _ = try plane.reap(request)
        }
    }

    /// Removes records whose sockets ended unseen: those of namespaces that are gone, and in living ones those
    /// whose socket is no longer listed, for example a child that was never accepted.
    ///
    /// - Parameter minimumAge: younger records are left alone, in nanoseconds: a socket may be in neither list yet.
    func reapEnds(
        _ plane: borrowing DataPlane, _ tables: KernelTables, in namespaces: some NamespaceOpening, now: UInt64,
        minimumAge: UInt64 = 60_000_000_000
    ) throws(BPFError) {
        var byNetns: [NetnsCookie: [ConnectionEnd]] = [:]
        let node = plane.maps.control.snapshot.node_netns
        try plane.maps.ends.forEach { key, end in
            guard end.netns != node, now &- end.opened_ns > minimumAge else { return }
            byNetns[end.netns, default: []].append(ConnectionEnd(key: key, end: end))
        }
        for (netns, ends) in byNetns {
            var alive: Set<UInt64> = []
            if tables.workloads[netns] != nil {
                guard let namespace = namespaces.openNamespace(netns) else { continue }
                do throws(SystemError) {
                    alive = try namespace.run { () throws(SystemError) -> Set<UInt64> in
                        var cookies: Set<UInt64> = []
                        try SockDiag().forEach(.tcp) { cookies.insert($0.cookie) }
                        return cookies
                    }
                } catch {
                    continue  // on its way out; the next round finds it gone
                }
            }
            // A closed end waits for its peer's report; its socket is gone by nature.
            for connection in ends
            where !alive.contains(connection.end.cookie) && !waitsForPeer(connection, plane)
                && (tables.workloads[netns] != nil || !mayLive(connection, plane))
            {
                var request = mesh_reap()
                request.end = connection.key
                request.cookie = connection.end.cookie
                _ = try plane.reap(request)
            }
        }
    }

    /// Whether an end in a namespace that cannot be looked into, of a pod that has left the mesh or has gone, may be
    /// open still: as long as its other end is. Without the record that one would be refused what it sends.
    private func mayLive(_ connection: ConnectionEnd, _ plane: borrowing DataPlane) -> Bool {
        guard let peer = try? plane.maps.ends.get(connection.peerKey) else { return false }
        return !ConnectionEnd(key: connection.peerKey, end: peer).isClosed
    }

    private func waitsForPeer(_ connection: ConnectionEnd, _ plane: borrowing DataPlane) -> Bool {
        guard connection.isClosed else { return false }
        return (try? plane.maps.ends.get(connection.peerKey)) != nil
    }
}

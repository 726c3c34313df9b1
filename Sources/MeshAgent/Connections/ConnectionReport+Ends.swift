// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import MeshAdmin
import MeshModel

/// The open connections of a node, both ends of a local one together.
struct ConnectionList {
    /// Records by the initiator's view of the connection.
    private struct Key: Hashable {
        var source: IPAddress
        var destination: IPAddress
        var sourcePort: UInt16
        var destinationPort: UInt16
        var netns: NetnsCookie
    }

    private struct Ends {
        var client: ConnectionEnd?
        var server: ConnectionEnd?
    }

    private var connections: [Key: Ends] = [:]

    mutating func add(_ end: ConnectionEnd) {
        guard !end.isHost, UInt32(end.end.flags) & MESH_END_ESTABLISHED.rawValue != 0 else { return }
        let flow = end.flow
        let key = Key(
            source: flow.source, destination: flow.destination,
            sourcePort: end.isClient ? end.key.local_port : end.key.remote_port, destinationPort: flow.port,
            netns: end.key.netns)
        if end.isClient {
            connections[key, default: Ends()].client = end
        } else {
            connections[key, default: Ends()].server = end
        }
    }

    /// - Parameter now: CLOCK_MONOTONIC in nanoseconds.
    func reports(now: UInt64, names: some MeshNames) -> [ConnectionReport] {
        connections.map { key, ends in Self.report(key, ends, now: now, names: names) }
            .sorted { ($0.ageSeconds, $0.source.port) > ($1.ageSeconds, $1.source.port) }
    }

    private static func report(_ key: Key, _ ends: Ends, now: UInt64, names: some MeshNames) -> ConnectionReport {
        let client = ends.client?.end
        let server = ends.server?.end
        let known = client ?? server ?? mesh_end()
        let asked = (ends.client ?? ends.server)?.service
        let isCaptured = (ends.client ?? ends.server)?.isCaptured == true
        func path(_ end: mesh_end?) -> PathReport {
            // The far end of a connection that leaves the node: its bytes come by TCP.
            end.map { PathReport($0.path, reason: $0.reason) }
                ?? PathReport(UInt8(MESH_PATH_TCP.rawValue), reason: UInt8(MESH_REASON_PEER_REMOTE.rawValue))
        }
        let sent = client?.tx_redirected ?? 0
        let received = server?.tx_redirected ?? 0
        return ConnectionReport(
            source: names.end(
                key.source, key.sourcePort, netns: client?.netns ?? server?.peer_netns ?? 0,
                identity: client?.identity ?? server?.peer_identity ?? 0),
            destination: names.end(
                key.destination, key.destinationPort,
                // The proxy has accepted a captured one: it is still on its way.
                netns: isCaptured ? 0 : server?.netns ?? client?.peer_netns ?? 0,
                identity: isCaptured ? client?.peer_identity ?? 0 : server?.identity ?? client?.peer_identity ?? 0),
            serviceAddress: names.serviceAddress(
                asked?.address ?? IPAddress(mesh_ip()), asked?.port ?? 0, .tcp),
            sent: path(client), received: server == nil && client?.peer_netns != 0 ? nil : path(server),
            bytesSent: sent + (client?.tx_tcp ?? server?.rx_tcp ?? 0),
            bytesReceived: received + (client?.rx_tcp ?? server?.tx_tcp ?? 0), bytesRedirected: sent + received,
            ageSeconds: Double(now &- known.opened_ns) / 1e9, generation: known.generation)
    }
}

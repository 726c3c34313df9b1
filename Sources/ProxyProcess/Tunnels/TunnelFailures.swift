// SPDX-License-Identifier: Apache-2.0

import L7Proxy
import Synchronization

/// Counts tunnels, and connections between nodes, that did not end in order: by direction and reason, of which there are
/// few. The worker's thread counts, another one reads.
final class TunnelFailures: Sendable {
    enum Subject: Int {
        case tunnel, connection
    }

    private struct Key: Hashable {
        let subject: Subject
        let isInbound: Bool
        let reason: String
    }

    private let counts = Mutex<[Key: UInt64]>([:])

    func add(_ subject: Subject, _ direction: HBONERecord.Direction, _ reason: HBONEReason) {
        add(subject, isInbound: direction == .inbound, reason.name)
    }

    /// A connection that had to go through a tunnel and was reset at once.
    func addUnopened(isInbound: Bool) { add(.tunnel, isInbound: isInbound, "not_opened") }

    private func add(_ subject: Subject, isInbound: Bool, _ reason: StaticString) {
        let key = Key(subject: subject, isInbound: isInbound, reason: reason.description)
        counts.withLock { $0[key, default: 0] += 1 }
    }

    /// For Prometheus.
    func text() -> String {
        let counts = counts.withLock { $0 }
        return page(.tunnel, "sockmesh_proxy_tunnels_failed_total", "Tunnels that did not end in order.", counts)
            + page(
                .connection, "sockmesh_proxy_peer_connections_failed_total",
                "Connections with other nodes that were not made, or did not end in order.", counts)
    }

    private func page(_ subject: Subject, _ name: String, _ help: String, _ counts: [Key: UInt64]) -> String {
        let lines = counts.filter { $0.key.subject == subject }
            .map { key, count in
                "\(name){direction=\"\(key.isInbound ? "inbound" : "outbound")\",reason=\"\(key.reason)\"} \(count)\n"
            }
        return "# HELP \(name) \(help)\n# TYPE \(name) counter\n" + lines.sorted().joined()
    }
}

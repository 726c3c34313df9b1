// SPDX-License-Identifier: Apache-2.0

import L7Proxy
import Synchronization

/// What the worker of tunnels had counted when it was asked. That thread writes, another one reads.
final class TunnelCounts: Sendable {
    private let counters = Mutex(HBONECounters())

    func note(_ new: HBONECounters) { counters.withLock { $0 = new } }

    /// For Prometheus.
    func text() -> String {
        let counters = counters.withLock { $0 }
        let metrics: [(name: String, type: String, help: String, value: UInt64)] = [
            ("tunnels", "gauge", "Tunnels between pods that are open or wait.", counters.openTunnels),
            ("peer_connections", "gauge", "Connections that carry tunnels, or will.", counters.connections),
            ("peer_handshakes_total", "counter", "TLS handshakes of such connections.", counters.handshakes),
        ]
        return metrics.map { metric in
            let name = "sockmesh_proxy_\(metric.name)"
            return "# HELP \(name) \(metric.help)\n# TYPE \(name) \(metric.type)\n\(name) \(metric.value)\n"
        }.joined()
    }
}

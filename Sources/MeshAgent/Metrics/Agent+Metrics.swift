// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import MeshAdmin
import MeshVersion

extension Agent {
    /// Serves the metrics of the node where the operator wants them.
    func startMetrics(at endpoint: StreamEndpoint) throws(AgentError) -> MetricsServer {
        do throws(SystemError) {
            return try MetricsServer(on: loop, at: endpoint) { [weak self] reply in
                guard let self else { return reply([]) }
                askMetrics(reply)
            }
        } catch {
            throw AgentError("--metrics: cannot listen: \(error)")
        }
    }

    /// The page of the node: what the agent counts, and what the proxy that serves does.
    ///
    /// - Parameter reply: called once, from the loop.
    func askMetrics(_ reply: @escaping ([UInt8]) -> Void) {
        let own = Array(ownMetrics.utf8)
        guard let supervisor else { return reply(own) }
        supervisor.askMetrics { page in
            let up = Self.gauge("sockmesh_proxy_up", "Whether the proxy has answered.", page == nil ? 0 : 1)
            reply(own + Array(up.utf8) + (page ?? []))
        }
    }

    private var ownMetrics: String {
        let node = configuration.node
        let name = "sockmesh_agent_info"
        var page =
            "# HELP \(name) The agent of the node.\n# TYPE \(name) gauge\n"
            + "\(name){node=\"\(node)\",version=\"\(SockmeshVersion.current)\"} 1\n"
        page += Self.gauge(
            "sockmesh_agent_generation", "Of the policy that the kernel decides by.",
            UInt64(self.node?.state.reconciler.writer.tables.generation ?? 0))
        if let report = supervisor?.report {
            page += Self.gauge(
                "sockmesh_proxy_generation", "Of the configuration that proxies are to have.", report.generation)
            page += Self.counter(
                "sockmesh_proxy_restarts_total", "Proxies that were started again.", report.proxyRestarts)
        }
        if let report = supervisor?.identities?.keeper.summary {
            page += Self.gauge("sockmesh_identities", "Identities of enrolled pods.", UInt64(report.identities))
            page += Self.gauge(
                "sockmesh_identities_current", "Of these, those with a certificate that is valid.",
                UInt64(report.current))
            page += Self.gauge(
                "sockmesh_identities_alarming",
                "Of these, those whose certificate has expired, or could not be obtained for a minute.",
                UInt64(report.alarming))
            page += Self.gauge(
                "sockmesh_identity_provider_trouble",
                "1 while certificates cannot be had from the provider, or something is wrong with it; else 0.",
                report.trouble == nil ? 0 : 1)
            if let expiry = report.earliestExpiry {
                page += Self.gauge(
                    "sockmesh_identity_expiry_seconds", "When the first of their certificates expires, since 1970.",
                    UInt64(max(0, expiry.nanoseconds / 1_000_000_000)))
            }
        }
        return page
    }

    private static func gauge(_ name: String, _ help: String, _ value: UInt64) -> String {
        "# HELP \(name) \(help)\n# TYPE \(name) gauge\n\(name) \(value)\n"
    }

    private static func counter(_ name: String, _ help: String, _ value: UInt64) -> String {
        "# HELP \(name) \(help)\n# TYPE \(name) counter\n\(name) \(value)\n"
    }
}

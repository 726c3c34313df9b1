// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import Glibc
import LinuxIO
import MeshAdmin
import MeshManifests
import MeshModel
import MeshVersion
import SockOps

/// Makes the answer to `meshctl status`.
struct StatusReporter {
    private let node: Node
    private let configuration: AgentConfiguration
    private let uptime: Duration
    private let supervisor: ProxySupervisor?

    init(_ node: Node, _ configuration: AgentConfiguration, uptime: Duration, _ supervisor: ProxySupervisor?) {
        self.node = node
        self.configuration = configuration
        self.uptime = uptime
        self.supervisor = supervisor
    }

    /// Why configuration and policy are not in force for every pod that asked for them; empty if they are.
    static func notReady(_ node: Node, _ supervisor: ProxySupervisor?) -> [String] {
        let state = node.state
        var reasons = [
            state.directoryProblem, state.lateProblem, state.writer.problem, node.takeoverProblem,
        ].compactMap { $0 }
        if let supervisor, supervisor.isServing != true {
            let needs = ProxyNeeds(state.reconciler.compiler.mesh)
            if let reason = supervisor.health.notReady(needs) { reasons.append(reason) }
        }
        if let rejection = supervisor?.rejection {
            reasons.append(
                "the proxy refuses the configuration, so that new tunnels, and connections under a newer policy, are "
                    + "refused there: \(rejection)")
        }
        for (name, member) in node.state.reconciler.enrolment.members.sorted(by: { $0.key < $1.key }) {
            switch member.state {
            case .enabled: break
            case .pending: reasons.append("pod \(name) is pending")
            case .failed(let reason): reasons.append("pod \(name) failed: \(reason)")
            }
        }
        return reasons
    }

    func report() throws(AdminError) -> StatusReport {
        let notReady = Self.notReady(node, supervisor)
        var counts = WorkloadCountReport(enabled: 0, pending: 0, failed: 0)
        for member in node.state.reconciler.enrolment.members.values {
            switch member.state {
            case .enabled: counts.enabled += 1
            case .pending: counts.pending += 1
            case .failed: counts.failed += 1
            }
        }
        do throws(BPFError) {
            return StatusReport(
                node: configuration.node, version: SockmeshVersion.current, pid: getpid(),
                uptimeSeconds: uptime / .seconds(1), ready: notReady.isEmpty, notReady: notReady,
                generation: node.writer.tables.generation, kernel: Self.kernelRelease(), acceleration: acceleration(),
                workloads: counts, counters: try counters(), maps: try maps(), findings: findings(),
                paths: PathsReport(
                    configDirectory: configuration.configDirectory, stateDirectory: configuration.stateDirectory,
                    cgroup: configuration.cgroup, bpffs: configuration.bpffs, socket: configuration.socket),
                proxy: supervisor?.report, identity: supervisor?.identities?.keeper.summary)
        } catch {
            throw AdminError(.failed, "the kernel's maps cannot be read: \(error)")
        }
    }

    private func acceleration() -> AccelerationReport {
        let report = node.selfTest
        let failed = report.failures.filter { $0.gate == .enabled }.map(\.title)
        return AccelerationReport(
            enabled: report.allowsEnabled,
            reason: report.allowsEnabled ? nil : "self-test failed: \(failed.joined(separator: "; "))",
            selfTest: report.checks.map(CheckItem.init))
    }

    private func counters() throws(BPFError) -> [CounterReport] {
        let sums = try node.writer.plane.maps.stats.sums()
        return ReasonName.counters.compactMap { number, name in
            guard Int(number) < sums.count, sums[Int(number)] > 0 else { return nil }
            return CounterReport(name: name, value: sums[Int(number)], meaning: ReasonMeaning.of(number))
        }
    }

    private func maps() throws(BPFError) -> [MapReport] {
        let tables = node.writer.tables
        var used = (ends: UInt64(0), udp: UInt64(0))
        try node.writer.plane.maps.usage.forEach { _, usage in
            used.ends &+= usage.ends &+ usage.accepted
            used.udp &+= usage.udp_flows
        }
        let exceptions = tables.policySets.values.reduce(0) { $0 + $1.exceptions.count }
        let columns = tables.backendSets.values.reduce(0) { $0 + $1.count }
        let rows: [(String, Int, Int32)] = [
            ("mesh_workloads", tables.workloads.count, MESH_MAX_WORKLOADS),
            ("mesh_addresses", tables.addresses.count, MESH_MAX_ADDRESSES),
            ("mesh_cidrs", tables.cidrs.count, MESH_MAX_CIDRS),
            ("mesh_services", tables.services.count, MESH_MAX_SERVICES),
            ("mesh_backends", columns, MESH_MAX_BACKENDS),
            ("mesh_members", tables.members.count, MESH_MAX_BACKENDS),
            ("mesh_policy_set", tables.policySets.count, MESH_MAX_POLICY_SETS),
            ("mesh_port_maps", tables.portMaps.count, MESH_MAX_PORT_MAPS),
            ("mesh_port_pages", tables.pages.count, MESH_MAX_PORT_PAGES),
            ("mesh_policy", exceptions, MESH_MAX_POLICY_ENTRIES),
            ("mesh_skip_ports", tables.skipPorts.count, MESH_MAX_SKIP_PORTS),
            ("mesh_probes", tables.probePorts.count, MESH_MAX_PROBE_PORTS),
            ("mesh_ends", Int(clamping: used.ends), MESH_MAX_ENDS),
            ("mesh_udp_flows", Int(clamping: used.udp), MESH_MAX_UDP_FLOWS),
        ]
        return rows.map { MapReport(name: $0.0, entries: UInt64($0.1), capacity: UInt64($0.2)) }
    }

    /// Objects that are refused, and what of the others is not enforced here.
    private func findings() -> [MeshAdmin.Finding] {
        let state = node.state
        var findings = [configuration.proxyChoice.finding].compactMap(\.self) + (supervisor?.health.findings ?? [])
        findings += state.store.findings.map { MeshAdmin.Finding($0) }
        for status in state.store.statuses {
            switch status.state {
            case .inForce: break
            case .lastGoodInForce(let errors), .rejected(let errors): findings += errors.map { MeshAdmin.Finding($0) }
            }
        }
        return findings
            + state.reconciler.compiler.findings().map {
                MeshAdmin.Finding($0, origin: state.store.status($0.policy)?.origin)
            }
    }

    static func kernelRelease() -> String {
        var name = utsname()
        uname(&name)
        return withUnsafeBytes(of: name.release) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }
}

// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import MeshModel
import ProxyProtocol
import SockOps

/// Keeps the proxy and the kernel in step: the proxy knows a route before any connection is led to it for that route,
/// and connections are led there no more before it forgets one.
///
/// Belongs to the control thread.
final class ProxyFeed {
    private unowned let node: Node
    private let supervisor: ProxySupervisor
    private let loop: EventLoop
    private let rows: ListenerRows
    private var records = ProxyRecords()
    private var isWaiting = false

    /// - Parameter supervisor: not started yet.
    init(_ node: Node, _ supervisor: ProxySupervisor, loop: EventLoop) {
        self.node = node
        self.supervisor = supervisor
        self.loop = loop
        rows = ListenerRows(node.writer, logger: supervisor.logger)
        supervisor.observeListeners(
            added: { [rows] in rows.add($0, $1) }, removed: { [rows] in rows.remove($0) })
        supervisor.didChange = { [unowned self] in proxyChanged() }
        records.start(node.state.reconciler.compiler)
        setWorkloads()
        rows.removeStrangers(but: Set(supervisor.listeners.workloads.keys))
        supervisor.publish(records.records)
    }

    /// A change of the mesh is in force in the kernel.
    func meshChanged(_ changes: CompiledChanges) {
        let differs = records.update(changes, node.state.reconciler.compiler)
        if setWorkloads() || differs { supervisor.publish(records.records) }
        proxyChanged()
    }

    /// - Returns: whether a record differs.
    @discardableResult
    private func setWorkloads() -> Bool {
        var workloads: [ProxyWorkload] = []
        var described: [WorkloadRecord] = []
        // Pods under policy: before that, nothing of theirs is served.
        for (name, member) in node.state.reconciler.enrolment.members {
            guard member.force == .policy, let namespace = member.namespace else { continue }
            let addresses = member.pod.podIPs
            workloads.append(ProxyWorkload(netns: namespace.cookie, path: namespace.path, addresses: addresses))
            described.append(
                WorkloadRecord(
                    netns: namespace.cookie, pod: name, serviceAccount: member.pod.serviceAccountName,
                    addresses: addresses,
                    labels: member.pod.metadata.labels.filter { MetricLabels.shown.contains($0.key) }))
        }
        for workload in workloads { rows.setAddresses(workload.addresses, of: workload.netns) }
        supervisor.set(workloads)
        rows.keep(Set(workloads.map(\.netns)))
        return records.setWorkloads(described)
    }

    private func proxyChanged() {
        updateLive()
        guard supervisor.isInForce, !isWaiting else { return }
        isWaiting = true
        // Not in the middle of what the supervisor, or a change of the mesh, is doing.
        loop.enqueue { [weak self] in
            guard let self else { return }
            isWaiting = false
            if supervisor.isInForce { node.state.acknowledgeRoutes() }
        }
    }

    /// While a proxy of an earlier agent may still come back, what it serves goes on as it was.
    private func updateLive() {
        guard let isLive = supervisor.isServing, node.writer.plane.isProxyLive != isLive else { return }
        node.writer.plane.isProxyLive = isLive
    }
}

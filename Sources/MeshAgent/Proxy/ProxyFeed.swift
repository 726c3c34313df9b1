// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import MeshModel
import ProxyProtocol
import SockOps

/// Keeps the proxy and the kernel in step: the proxy knows a route before any connection is led to it for that route,
/// and connections are led there no more before it forgets one. Policy is in force there before it is in the kernel.
///
/// Belongs to the control thread.
final class ProxyFeed {
    private unowned let node: Node
    private let supervisor: ProxySupervisor
    private let loop: EventLoop
    private let rows: ListenerRows
    private var records = ProxyRecords()
    private var isWaiting = false
    private var mustLook = false

    /// - Parameter supervisor: not started yet.
    init(_ node: Node, _ supervisor: ProxySupervisor, loop: EventLoop) {
        self.node = node
        self.supervisor = supervisor
        self.loop = loop
        rows = node.listenerRows
        supervisor.observeListeners(
            added: { [unowned self] listener, socket in
                rows.add(listener, socket)
                lookAgain(at: listener.key.netns)
            }, removed: { [rows] in rows.remove($0) })
        supervisor.didChange = { [unowned self] in proxyChanged() }
        let reconciler = node.state.reconciler
        reconciler.willFlip = { [weak self] in self?.policyWillChange($0, $1) }
        var change = records.start(reconciler.compiler)
        change.merge(setWorkloads()) { $1 }
        rows.adopt(Set(supervisor.listeners.workloads.keys))
        supervisor.publish(change, policy: reconciler.writer.tables.generation)
    }

    /// The kernel is about to decide by another generation: it waits for the proxy.
    private func policyWillChange(_ changes: CompiledChanges, _ generation: UInt32) {
        let change = records.updatePolicies(changes, node.state.reconciler.compiler)
        if supervisor.publish(change, policy: generation) { supervisor.settle() }
    }

    /// A change of the mesh is in force in the kernel.
    func meshChanged(_ changes: CompiledChanges) {
        var change = records.update(changes, node.state.reconciler.compiler)
        let forgetsPolicy = !change.isEmpty && change.keys.contains { $0.kind == .destination }
        change.merge(setWorkloads()) { $1 }
        if supervisor.publish(change), forgetsPolicy { supervisor.settle() }
        proxyChanged()
    }

    /// The pods of the node have been looked at.
    func podsLooked() { supervisor.publish(setWorkloads()) }

    /// A pod that was pending for its listeners may have them all.
    private func lookAgain(at netns: NetnsCookie) {
        guard !mustLook, rows.serve(netns) else { return }
        mustLook = true
        loop.enqueue { [weak self] in
            guard let self else { return }
            mustLook = false
            node.perform { [weak self] in self?.node.state.refreshEnrolment() }
        }
    }

    private func setWorkloads() -> ProxyRecords.Change {
        var workloads: [ProxyWorkload] = []
        var described: [WorkloadRecord] = []
        // Pods under policy, and those that are pending for their listeners alone.
        for (name, member) in node.state.reconciler.enrolment.members {
            guard member.force == .policy || member.listenersBy != nil, let namespace = member.namespace else {
                continue
            }
            let addresses = member.pod.podIPs
            workloads.append(ProxyWorkload(netns: namespace.cookie, path: namespace.path, addresses: addresses))
            described.append(
                WorkloadRecord(
                    netns: namespace.cookie, pod: name, serviceAccount: member.pod.serviceAccountName,
                    addresses: addresses,
                    labels: member.pod.metadata.labels.filter { MetricLabels.shown.contains($0.key) }))
        }
        supervisor.identities?.keeper.setPods(
            Dictionary(described.map { ($0.pod, $0.serviceAccount) }, uniquingKeysWith: { $1 }))
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

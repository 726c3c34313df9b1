// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import MeshAdmin
import MeshManifests
import MeshModel
import SockOps

/// Makes the answer to `meshctl workloads`.
struct WorkloadReporter {
    private let node: Node
    private let names: AgentNames

    init(_ node: Node) {
        self.node = node
        names = AgentNames(node.state.reconciler)
    }

    func reports(_ request: WorkloadsRequest) throws(AdminError) -> [WorkloadReport] {
        var usage: [NetnsCookie: mesh_usage] = [:]
        do throws(BPFError) { try node.writer.plane.maps.usage.forEach { usage[$0] = $1 } } catch {
            throw AdminError(.failed, "use of the maps cannot be read: \(error)")
        }
        var pods: [Pod] = []
        for case .pod(let pod) in node.state.store.objects.objects.values {
            guard request.namespace.map({ $0 == pod.metadata.namespace }) ?? true else { continue }
            guard request.all || node.state.reconciler.enrolment.members[pod.namespacedName] != nil else { continue }
            pods.append(pod)
        }
        return pods.sorted { $0.namespacedName < $1.namespacedName }.map { report($0, usage) }
    }

    private func report(_ pod: Pod, _ usage: [NetnsCookie: mesh_usage]) -> WorkloadReport {
        let name = pod.namespacedName
        let reconciler = node.state.reconciler
        let member = reconciler.enrolment.members[name]
        let row = member?.namespace.flatMap { node.writer.tables.workloads[$0.cookie] }
        let used = member?.namespace.flatMap { usage[$0.cookie] } ?? mesh_usage()
        let number =
            pod.podIPs.first.flatMap { row?.identity[node.writer.tables.generation][$0] }
            ?? pod.podIPs.first.flatMap { reconciler.compiler.mesh.addresses[$0]?.identity } ?? .unknown
        return WorkloadReport(
            namespace: name.namespace, name: name.name, serviceAccount: pod.serviceAccountName,
            addresses: pod.podIPs.map(\.description), node: pod.nodeName,
            netns: node.state.isLocal(pod) ? try? PodProbe.path(of: pod) : nil, netnsCookie: member?.namespace?.cookie,
            identity: names.identity(number), redirection: Self.redirection(of: name, reconciler.enrolment),
            acceleration: acceleration(pod, member), policySet: row?.policySet[node.writer.tables.generation] ?? 0,
            policies: reconciler.compiler.policies(selecting: name).map { PolicyReference($0) },
            connections: ConnectionCountReport(
                open: used.ends &+ used.accepted &+ used.udp_flows, opened: used.opened, denied: used.denied,
                closed: used.closed),
            lostEvents: used.events_lost,
            outsideProcesses: (member?.outside ?? []).map {
                ProcessReport(pid: $0.pid, command: $0.command, cgroup: $0.cgroup)
            })
    }

    static func redirection(of name: NamespacedName, _ enrolment: Enrolment) -> RedirectionReport {
        guard let member = enrolment.members[name] else { return RedirectionReport(.disabled) }
        switch member.state {
        case .pending: return RedirectionReport(.pending, reason: "identity and policy are not in force yet")
        case .failed(let reason): return RedirectionReport(.failed, reason: reason)
        case .enabled: return RedirectionReport(.enabled)
        }
    }

    private func acceleration(_ pod: Pod, _ member: Enrolment.Member?) -> WorkloadAccelerationReport {
        let reason: String? =
            switch pod.mesh.acceleration {
            case .disabled: "the pod has accelerate: disabled"
            case .auto: "auto accelerates only where tripwires can watch for calls that redirection cannot honour"
            case .enabled where member?.force != .policy: "the pod is not enrolled"
            case .enabled where member?.namespace?.isOnVeth == false: "the pod has an address that is not on a veth"
            case .enabled where !node.selfTest.allowsEnabled: "the self-test of this node failed (meshctl status)"
            case .enabled: nil
            }
        return WorkloadAccelerationReport(
            requested: pod.mesh.acceleration.rawValue, effective: reason == nil, reason: reason)
    }
}

// SPDX-License-Identifier: Apache-2.0
import MeshModel
import ProxyProtocol

/// What the proxy must know for tunnels: whom they reach, and the policy that the kernel cannot apply inside of them.
extension ProxyRecords {
    /// What a compilation has changed; nothing where there are no tunnels.
    static func tunnels(_ changes: CompiledChanges, _ compiler: MeshCompiler) -> Change {
        guard compiler.configuration.hasTunnels else { return [:] }
        return tunnels(changes.remotePods, changes.policySets, changes.workloads, compiler.mesh)
    }

    /// Everything.
    static func tunnels(_ compiler: MeshCompiler) -> Change {
        guard compiler.configuration.hasTunnels else { return [:] }
        let mesh = compiler.mesh
        return tunnels(Set(mesh.remotePods.keys), Set(mesh.policySets.keys), Set(mesh.workloads.keys), mesh)
    }

    private static func tunnels(
        _ pods: Set<NamespacedName>, _ sets: Set<PolicySetID>, _ workloads: Set<NamespacedName>, _ mesh: CompiledMesh
    ) -> Change {
        var change: Change = [:]
        for name in pods {
            change[RecordKey(.remotePod, "\(name)")] = .some(
                mesh.remotePods[name].map { pod in
                    RemotePodRecord(
                        pod: name, serviceAccount: pod.serviceAccount,
                        labels: pod.labels.filter { MetricLabels.shown.contains($0.key) }, addresses: pod.addresses,
                        identity: pod.identity, proven: pod.proven
                    ).wire
                })
        }
        for id in sets {
            change[RecordKey(.verdicts, String(id.rawValue))] = .some(
                mesh.policySets[id].map {
                    VerdictRecord(set: id.rawValue, egress: $0.egressTCP, ingress: $0.ingressTCP).wire
                })
        }
        for name in workloads {
            change[RecordKey(.verdictUse, "\(name)")] = .some(
                mesh.workloads[name].map { VerdictUseRecord(pod: name, set: $0.policySet.rawValue).wire })
        }
        return change
    }
}

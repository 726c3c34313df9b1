// SPDX-License-Identifier: Apache-2.0

extension MeshCompiler {
    /// Whether a pod is reached through tunnels only: another node's, and it has opted in.
    func takesTunnels(_ name: NamespacedName) -> Bool {
        guard configuration.hasTunnels, !enrolled.contains(name), let pod = pods[name], let node = pod.nodeName else {
            return false
        }
        return node != configuration.nodeName && pod.wantsMesh(in: namespaces[name.namespace])
    }

    /// Follows the enrolled pods of other nodes, after identities are settled.
    mutating func settleRemotePods(_ pending: inout Pending) {
        guard configuration.hasTunnels else { return }
        var names = pending.pods
        // An address may have become another pod's, or nobody's.
        for address in pending.addresses { names.formUnion(pods.claimants(of: address)) }
        for name in names {
            let compiled = compiledRemotePod(name)
            guard mesh.remotePods[name] != compiled else { continue }
            mesh.remotePods[name] = compiled
            pending.changes.remotePods.insert(name)
        }
    }

    private func compiledRemotePod(_ name: NamespacedName) -> CompiledRemotePod? {
        guard let pod = pods[name], let slots = podSlots[name], let proven = provenSlots[name] else { return nil }
        return CompiledRemotePod(
            serviceAccount: pod.serviceAccountName, labels: pod.metadata.labels,
            addresses: pod.podIPs.filter { owner(of: $0) == name },
            identity: slots.map { index.number(at: $0) }, proven: proven.map { index.number(at: $0) })
    }
}

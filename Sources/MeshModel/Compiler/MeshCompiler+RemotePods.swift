// SPDX-License-Identifier: Apache-2.0

extension MeshCompiler {
    /// Whether a pod is reached through tunnels only: another node's, and it has opted in.
    func takesTunnels(_ name: NamespacedName) -> Bool {
        guard configuration.hasTunnels, !enrolled.contains(name), let pod = pods[name], let node = pod.nodeName else {
            return false
        }
        return node != configuration.nodeName && pod.wantsMesh(in: namespaces[name.namespace])
    }

    /// Whether an enrolled pod of this node wants tunnels for what it exchanges with others of this node, too.
    func encrypts(_ name: NamespacedName) -> Bool {
        configuration.hasTunnels && isWorkload(name) && pods[name]?.mesh.encrypts == true
    }

    /// Follows the ends of tunnels, after identities are settled: the enrolled pods of other nodes, and, where one of
    /// this node encrypts, all of this node.
    mutating func settleRemotePods(_ pending: inout Pending) {
        guard configuration.hasTunnels else { return }
        var names = pending.pods
        let wasEncrypting = !encrypting.isEmpty
        for name in names {
            if encrypts(name) { encrypting.insert(name) } else { encrypting.remove(name) }
        }
        if wasEncrypting == encrypting.isEmpty { names.formUnion(enrolled) }
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
        guard let pod = pods[name], let slots = podSlots[name] else { return nil }
        let local = !encrypting.isEmpty && isWorkload(name) ? slots : nil
        guard let proven = provenSlots[name] ?? local else { return nil }
        return CompiledRemotePod(
            serviceAccount: pod.serviceAccountName, labels: pod.metadata.labels,
            addresses: pod.podIPs.filter { owner(of: $0) == name },
            identity: slots.map { index.number(at: $0) }, proven: proven.map { index.number(at: $0) })
    }
}

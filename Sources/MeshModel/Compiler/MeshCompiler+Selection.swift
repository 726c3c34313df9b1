// SPDX-License-Identifier: Apache-2.0

extension MeshCompiler {
    /// The policies that select a pod, dry runs among them, sorted.
    public func policies(selecting pod: NamespacedName) -> [ObjectReference] {
        guard let object = pods[pod] else { return [] }
        return policyObjects.keys.filter {
            policies.lowered($0)?.selects(namespace: pod.namespace, labels: object.metadata.labels) ?? false
        }.sorted()
    }

    /// The enrolled pods that a policy selects, sorted.
    public func workloads(selectedBy policy: ObjectReference) -> [NamespacedName] {
        guard let lowered = policies.lowered(policy) else { return [] }
        return mesh.workloads.keys.filter {
            lowered.selects(namespace: $0.namespace, labels: pods[$0]?.metadata.labels ?? [:])
        }.sorted()
    }
}

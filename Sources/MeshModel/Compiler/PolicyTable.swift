// SPDX-License-Identifier: Apache-2.0

/// All policies, and for each local workload those that select it.
struct PolicyTable: Sendable {
    /// All policy objects, also those that decide nothing.
    private(set) var objects: [ObjectReference: MeshObject] = [:]
    private var ids: [ObjectReference: Int] = [:]
    private var policies: [Int: LoweredPolicy] = [:]
    private var byNamespace: [String: Set<Int>] = [:]
    private var meshWide: Set<Int> = []
    private var lastID = 0

    private struct Selection: Sendable {
        let namespace: String
        let labels: Labels
        /// Ascending by id.
        var policies: [LoweredPolicy]
    }

    private var selections: [NamespacedName: Selection] = [:]
    /// Workloads that each policy selects.
    private var uses: [Int: Int] = [:]

    let rootNamespace: String
    let l7: L7Enforcement
    /// What Services select, where policies may target them.
    private var services: [NamespacedName: Labels] = [:]

    init(rootNamespace: String, l7: L7Enforcement) {
        self.rootNamespace = rootNamespace
        self.l7 = l7
    }

    /// The policies that select a workload, oldest version first.
    func policies(selecting workload: NamespacedName) -> [LoweredPolicy] {
        selections[workload]?.policies ?? []
    }

    func lowered(_ reference: ObjectReference) -> LoweredPolicy? {
        ids[reference].flatMap { policies[$0] }
    }

    /// Replaces or removes a policy.
    ///
    /// - Returns: The workloads that the old or the new version selects.
    mutating func set(
        _ object: MeshObject?, for reference: ObjectReference, projection: inout IdentityProjection
    ) -> Set<NamespacedName> {
        guard objects[reference] != object else { return [] }
        objects[reference] = object
        return replace(object, for: reference, projection: &projection)
    }

    /// Follows a Service, which may be the target of policies.
    ///
    /// - Returns: The workloads that such a policy selects or selected.
    mutating func set(
        _ service: Service?, for name: NamespacedName, projection: inout IdentityProjection
    ) -> Set<NamespacedName> {
        // Without a selector it selects no pod, rather than every one.
        let selector = service?.selector.flatMap { $0.isEmpty ? nil : $0 }
        guard l7 == .enforced, services[name] != selector else { return [] }
        services[name] = selector
        var affected: Set<NamespacedName> = []
        for (reference, object) in objects {
            guard case .authorizationPolicy(let policy) = object, policy.targetedServices.contains(name) else {
                continue
            }
            affected.formUnion(replace(object, for: reference, projection: &projection))
        }
        return affected
    }

    private mutating func replace(
        _ object: MeshObject?, for reference: ObjectReference, projection: inout IdentityProjection
    ) -> Set<NamespacedName> {
        var affected: Set<NamespacedName> = []
        if let id = ids.removeValue(forKey: reference), let old = policies[id] {
            for (name, selection) in selections
            where old.selects(namespace: selection.namespace, labels: selection.labels) {
                affected.insert(name)
                selections[name]?.policies.removeAll { $0.id == id }
                disuse(old, &projection)
            }
            policies[id] = nil
            switch old.scope {
            case .mesh: meshWide.remove(id)
            case .namespace(let namespace):
                byNamespace[namespace]?.remove(id)
                if byNamespace[namespace]?.isEmpty == true { byNamespace[namespace] = nil }
            }
        }
        lastID += 1
        guard let object,
            let policy = LoweredPolicy.lower(
                object, id: lastID, rootNamespace: rootNamespace, l7: l7, services: services)
        else { return affected }
        ids[reference] = policy.id
        policies[policy.id] = policy
        switch policy.scope {
        case .mesh: meshWide.insert(policy.id)
        case .namespace(let namespace): byNamespace[namespace, default: []].insert(policy.id)
        }
        for (name, selection) in selections
        where policy.selects(namespace: selection.namespace, labels: selection.labels) {
            affected.insert(name)
            // Ids ascend in time, so the order is kept.
            selections[name]?.policies.append(policy)
            use(policy, &projection)
        }
        return affected
    }

    /// Makes `pod` a workload, or follows its labels.
    mutating func select(for pod: Pod, projection: inout IdentityProjection) {
        let name = pod.namespacedName
        if let selection = selections[name], selection.labels == pod.metadata.labels { return }
        let candidates = (byNamespace[name.namespace] ?? []).union(meshWide)
        let selected = candidates.sorted().compactMap { policies[$0] }
            .filter { $0.selects(namespace: name.namespace, labels: pod.metadata.labels) }
        for policy in selected { use(policy, &projection) }
        deselectAll(for: name, projection: &projection)
        selections[name] = Selection(
            namespace: name.namespace, labels: pod.metadata.labels, policies: selected)
    }

    /// `workload` is one no more.
    mutating func deselectAll(for workload: NamespacedName, projection: inout IdentityProjection) {
        guard let selection = selections[workload] else { return }
        for policy in selection.policies { disuse(policy, &projection) }
        selections[workload] = nil
    }

    private mutating func use(_ policy: LoweredPolicy, _ projection: inout IdentityProjection) {
        uses[policy.id, default: 0] += 1
        if uses[policy.id] == 1 { projection.add(policy.demand) }
    }

    private mutating func disuse(_ policy: LoweredPolicy, _ projection: inout IdentityProjection) {
        guard let count = uses[policy.id] else { return }
        uses[policy.id] = count == 1 ? nil : count - 1
        if count == 1 { projection.remove(policy.demand) }
    }
}

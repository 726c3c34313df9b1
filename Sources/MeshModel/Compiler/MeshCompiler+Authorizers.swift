// SPDX-License-Identifier: Apache-2.0

extension MeshCompiler {
    /// The AuthorizationPolicy objects that select an enrolled pod, dry runs among them, by their names; `nil`: it is
    /// none, or takes every request.
    public func requestPolicies(of workload: NamespacedName) -> [AuthorizationPolicy]? {
        guard mesh.workloads[workload] != nil else { return nil }
        let selecting = policies.policies(selecting: workload).filter(\.isAuthorization)
        if selecting.isEmpty { return nil }
        return selecting.sorted { $0.reference < $1.reference }.compactMap { lowered in
            if case .authorizationPolicy(let policy) = lowered.object { policy } else { nil }
        }
    }

    /// The zone of the node, if it is known.
    public var nodeZone: String? { nodes[configuration.nodeName]?.zone }

    /// What decides about the requests to each workload that some AuthorizationPolicy selects, dry runs among them.
    ///
    /// Workloads with the same policies share one authorizer, and a policy change makes new ones only for those that it
    /// selects: the others stay the same objects. A workload that is not listed takes every request.
    public mutating func requestAuthorizers() -> [NamespacedName: RequestAuthorizer] {
        var result: [NamespacedName: RequestAuthorizer] = [:]
        var used: [[Int]: RequestAuthorizer] = [:]
        for name in mesh.workloads.keys {
            let selecting = policies.policies(selecting: name).filter(\.isAuthorization)
            if selecting.isEmpty { continue }
            let key = selecting.map(\.id)
            let authorizer =
                used[key] ?? authorizers[key]
                ?? RequestAuthorizer(
                    selecting.sorted { $0.reference < $1.reference }.compactMap { lowered in
                        if case .authorizationPolicy(let policy) = lowered.object { policy } else { nil }
                    })
            used[key] = authorizer
            result[name] = authorizer
        }
        authorizers = used
        return result
    }
}

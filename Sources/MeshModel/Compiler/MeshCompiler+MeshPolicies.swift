// SPDX-License-Identifier: Apache-2.0

extension MeshCompiler {
    mutating func setMeshPolicy(_ policy: MeshPolicy?, _ reference: ObjectReference, _ pending: inout Pending) {
        // Nothing acts on it otherwise.
        guard configuration.hasProxy, meshPolicies[reference] != policy else { return }
        meshPolicies[reference] = policy
        let isMeshWide = reference.namespace == configuration.rootNamespace
        pending.services.formUnion(
            isMeshWide ? services.all : services.all.filter { $0.namespace == reference.namespace })
    }

    /// What policies say about requests to a port of a Service, and which of them.
    ///
    /// - Parameter port: its name; empty if it has none.
    public func meshPolicy(of service: NamespacedName, port: String) -> MeshPolicyResolution {
        let subject = MeshPolicyResolution.Subject(namespace: service.namespace, service: service.name, port: port)
        return MeshPolicyResolution(
            Array(meshPolicies.values), for: subject, rootNamespace: configuration.rootNamespace)
    }

    /// What holds for requests to a port of a Service.
    func settings(of service: Service, _ port: Service.Port) -> MeshPolicySettings {
        let resolution = meshPolicy(of: service.namespacedName, port: port.name)
        var settings = resolution.settings
        // Of one port there is nothing more to choose.
        settings.detect = resolution.detection(ofPort: port.port)?.detection
        settings.protocolOverrides = nil
        // What a policy says is nearer to requests than what the Service says about connections.
        if settings.locality == nil {
            switch service.trafficDistribution {
            case .preferSameNode: settings.locality = .node
            case nil: break
            default: settings.locality = .zone
            }
        }
        return settings
    }

    /// The fields of one policy, or of all, that an older one of the same target has set, and what nothing acts on.
    func meshPolicyFindings(_ policy: MeshPolicy) -> [Finding] {
        var found = MeshObject.meshPolicy(policy).policyFindings(
            configuration.l7, hasTunnels: configuration.hasTunnels)
        var conflicts: Set<MeshPolicyResolution.Conflict> = []
        for name in services.all {
            guard let service = services[name],
                name.namespace == policy.metadata.namespace || policy.metadata.namespace == configuration.rootNamespace
            else { continue }
            for port in service.ports {
                let subject = MeshPolicyResolution.Subject(
                    namespace: name.namespace, service: name.name, port: port.name)
                let resolution = MeshPolicyResolution(
                    Array(meshPolicies.values), for: subject, rootNamespace: configuration.rootNamespace)
                conflicts.formUnion(resolution.conflicts[policy.reference] ?? [])
            }
        }
        for conflict in conflicts {
            found.append(
                Finding(
                    policy: policy.reference, pod: nil, path: "spec.\(conflict.field.rawValue)", reason: .conflicted,
                    message: "loses to \(conflict.winner), which is older and has the same target"))
        }
        return found
    }
}

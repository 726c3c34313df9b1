// SPDX-License-Identifier: Apache-2.0
import MeshModel
import ProxyProtocol

/// What the proxy must know, as records, change by change. The supervisor keeps them.
struct ProxyRecords {
    /// Records that may differ; `nil`: it goes.
    typealias Change = [RecordKey: [UInt8]?]

    /// Ports that each Service has records of.
    private var ports: [NamespacedName: Set<RecordKey>] = [:]
    private var workloads: [RecordKey: WorkloadRecord] = [:]
    /// Pods that each policy decides about, by the name of its record.
    private var policyUses: [String: Set<NamespacedName>] = [:]
    /// By the pods' names, as they were told.
    private var destinations: [NamespacedName: DestinationRecord] = [:]
    /// Pods with a record for addresses that they will not have in the generation of the kernel that follows.
    private var leaving: Set<NamespacedName> = []

    /// What decides about requests in the generation of the kernel that is about to come into force. An address that was
    /// a pod's, and is nobody else's then, stays that pod's until ``update(_:_:)``. Costs as much as has changed.
    ///
    /// - Parameter compiler: after the compilation.
    mutating func updatePolicies(_ changes: CompiledChanges, _ compiler: MeshCompiler) -> Change {
        var change = Self.tunnels(changes, compiler)
        for name in changes.requestPolicies.union(changes.workloads) {
            setDestination(name, compiler, isFlipped: false, &change)
        }
        return change
    }

    /// What a compilation has changed beside policy, now that the kernel has it in force. Costs as much as that.
    ///
    /// - Parameter compiler: after it.
    mutating func update(_ changes: CompiledChanges, _ compiler: MeshCompiler) -> Change {
        var change: Change = [:]
        for name in changes.servicePorts { setService(name, compiler.mesh.servicePorts[name] ?? [], &change) }
        for reference in changes.routes { Self.setRoute(reference, compiler.routeObjects[reference], &change) }
        for name in leaving { setDestination(name, compiler, isFlipped: true, &change) }
        leaving = []
        if changes.hasZoneChange { Self.setNode(compiler, &change) }
        return change
    }

    /// Everything that the compiler has, for the first time.
    mutating func start(_ compiler: MeshCompiler) -> Change {
        var change = Self.tunnels(compiler)
        for (name, ports) in compiler.mesh.servicePorts { setService(name, ports, &change) }
        for (reference, object) in compiler.routeObjects { Self.setRoute(reference, object, &change) }
        for name in compiler.mesh.workloads.keys { setDestination(name, compiler, isFlipped: true, &change) }
        Self.setNode(compiler, &change)
        return change
    }

    /// The enrolled pods of the node.
    mutating func setWorkloads(_ new: [WorkloadRecord]) -> Change {
        let next = Dictionary(new.map { ($0.key, $0) }, uniquingKeysWith: { first, _ in first })
        guard next != workloads else { return [:] }
        var change: Change = [:]
        for key in workloads.keys where next[key] == nil { change[key] = .some(nil) }
        for (key, record) in next where workloads[key] != record { change[key] = record.wire }
        workloads = next
        return change
    }

    private mutating func setService(
        _ name: NamespacedName, _ list: [CompiledServicePort], _ change: inout Change
    ) {
        var keys: Set<RecordKey> = []
        for port in list {
            let record = ServiceRecord(
                service: name, port: port.port, portName: port.name, addresses: port.addresses,
                appProtocol: port.appProtocol,
                endpoints: port.endpoints.map {
                    .init(
                        address: $0.address, port: $0.port, weight: $0.weight, zone: $0.zone, node: $0.node,
                        isTerminating: $0.isTerminating, alternate: $0.alternate)
                }, settings: port.settings)
            keys.insert(record.key)
            change[record.key] = record.wire
        }
        for key in ports[name] ?? [] where !keys.contains(key) { change[key] = .some(nil) }
        ports[name] = keys.isEmpty ? nil : keys
    }

    private static func setNode(_ compiler: MeshCompiler, _ change: inout Change) {
        let configuration = compiler.configuration
        let record = NodeRecord(
            name: configuration.nodeName, zone: compiler.nodeZone, trustDomain: configuration.trustDomain)
        change[record.key] = record.wire
    }

    /// What decides about requests to a pod: its policies, each a record as long as it decides about one.
    ///
    /// - Parameter isFlipped: whether the kernel decides by what was compiled.
    private mutating func setDestination(
        _ pod: NamespacedName, _ compiler: MeshCompiler, isFlipped: Bool, _ change: inout Change
    ) {
        let old = destinations[pod]
        let policies = compiler.requestPolicies(of: pod) ?? []
        var record = DestinationRecord(
            pod: pod, addresses: compiler.mesh.workloads[pod]?.addresses ?? [],
            policies: Set(policies.map(AuthorizationRecord.name)).sorted())
        if !isFlipped, let old {
            let kept = old.addresses.filter { address in
                !record.addresses.contains(address) && compiler.mesh.addresses[address]?.workload ?? pod == pod
            }
            if !kept.isEmpty {
                leaving.insert(pod)
                if policies.isEmpty { return }
                record.addresses += kept
            }
        }
        for policy in policies {
            let record = AuthorizationRecord(policy)
            policyUses[AuthorizationRecord.name(of: policy), default: []].insert(pod)
            change[record.key] = record.wire
        }
        for name in Set(old?.policies ?? []).subtracting(record.policies) {
            policyUses[name]?.remove(pod)
            guard policyUses[name]?.isEmpty == true else { continue }
            policyUses[name] = nil
            change[RecordKey(.authorizationPolicy, name)] = .some(nil)
        }
        destinations[pod] = policies.isEmpty ? nil : record
        change[record.key] = .some(policies.isEmpty ? nil : record.wire)
    }

    private static func setRoute(_ reference: ObjectReference, _ object: RouteObject?, _ change: inout Change) {
        switch object {
        case .route(let route): change[ProxyRecord.route(route).key] = route.wire
        case .referenceGrant(let grant): change[ProxyRecord.referenceGrant(grant).key] = grant.wire
        case nil:
            let key =
                reference.kind == "ReferenceGrant"
                ? RecordKey(.referenceGrant, "\(reference.namespacedName)") : RecordKey(.route, "\(reference)")
            change[key] = .some(nil)
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import MeshModel
import ProxyProtocol

/// What the proxy must know, as records, brought up to date change by change.
struct ProxyRecords {
    private(set) var records: [RecordKey: [UInt8]] = [:]
    /// Ports that each Service has records of.
    private var ports: [NamespacedName: Set<RecordKey>] = [:]
    private var workloads: [RecordKey: WorkloadRecord] = [:]
    /// Pods that each policy decides about, by the name of its record.
    private var policyUses: [String: Set<NamespacedName>] = [:]
    private var policiesOfPods: [NamespacedName: Set<String>] = [:]

    /// Takes over what a compilation has changed.
    ///
    /// - Parameter compiler: after it.
    /// - Returns: whether a record differs.
    mutating func update(_ changes: CompiledChanges, _ compiler: MeshCompiler) -> Bool {
        var differs = false
        for name in changes.servicePorts {
            differs = setService(name, compiler.mesh.servicePorts[name] ?? []) || differs
        }
        for reference in changes.routes { differs = setRoute(reference, compiler.routeObjects[reference]) || differs }
        for name in changes.requestPolicies.union(changes.workloads) {
            differs = setDestination(name, compiler) || differs
        }
        if changes.hasZoneChange { differs = setNode(compiler) || differs }
        return differs
    }

    /// Everything that the compiler has, for the first time.
    mutating func start(_ compiler: MeshCompiler) {
        for (name, ports) in compiler.mesh.servicePorts { _ = setService(name, ports) }
        for (reference, object) in compiler.routeObjects { _ = setRoute(reference, object) }
        for name in compiler.mesh.workloads.keys { _ = setDestination(name, compiler) }
        _ = setNode(compiler)
    }

    /// The enrolled pods of the node.
    ///
    /// - Returns: whether a record differs.
    mutating func setWorkloads(_ new: [WorkloadRecord]) -> Bool {
        let next = Dictionary(new.map { ($0.key, $0) }, uniquingKeysWith: { first, _ in first })
        guard next != workloads else { return false }
        for key in workloads.keys where next[key] == nil { records[key] = nil }
        for (key, record) in next where workloads[key] != record { records[key] = record.wire }
        workloads = next
        return true
    }

    private mutating func setService(_ name: NamespacedName, _ list: [CompiledServicePort]) -> Bool {
        var differs = false
        var keys: Set<RecordKey> = []
        for port in list {
            let record = ServiceRecord(
                service: name, port: port.port, portName: port.name, addresses: port.addresses,
                appProtocol: port.appProtocol,
                endpoints: port.endpoints.map {
                    .init(
                        address: $0.address, port: $0.port, weight: $0.weight, zone: $0.zone, node: $0.node,
                        isTerminating: $0.isTerminating)
                }, settings: port.settings)
            keys.insert(record.key)
            differs = set(record.key, record.wire) || differs
        }
        for key in ports[name] ?? [] where !keys.contains(key) { differs = set(key, nil) || differs }
        ports[name] = keys.isEmpty ? nil : keys
        return differs
    }

    private mutating func setNode(_ compiler: MeshCompiler) -> Bool {
        let configuration = compiler.configuration
        let record = NodeRecord(
            name: configuration.nodeName, zone: compiler.nodeZone, trustDomain: configuration.trustDomain)
        return set(record.key, record.wire)
    }

    /// What decides about requests to a pod: its policies, each a record as long as it decides about one.
    private mutating func setDestination(_ pod: NamespacedName, _ compiler: MeshCompiler) -> Bool {
        let policies = compiler.requestPolicies(of: pod) ?? []
        var differs = false
        for policy in policies {
            let record = AuthorizationRecord(policy)
            policyUses[AuthorizationRecord.name(of: policy), default: []].insert(pod)
            differs = set(record.key, record.wire) || differs
        }
        let names = Set(policies.map(AuthorizationRecord.name))
        for name in policiesOfPods[pod, default: []].subtracting(names) {
            policyUses[name]?.remove(pod)
            guard policyUses[name]?.isEmpty == true else { continue }
            policyUses[name] = nil
            differs = set(RecordKey(.authorizationPolicy, name), nil) || differs
        }
        policiesOfPods[pod] = names.isEmpty ? nil : names
        let record = DestinationRecord(
            pod: pod, addresses: compiler.mesh.workloads[pod]?.addresses ?? [], policies: names.sorted())
        return set(record.key, names.isEmpty ? nil : record.wire) || differs
    }

    private mutating func setRoute(_ reference: ObjectReference, _ object: RouteObject?) -> Bool {
        switch object {
        case .route(let route): return set(ProxyRecord.route(route).key, route.wire)
        case .referenceGrant(let grant): return set(ProxyRecord.referenceGrant(grant).key, grant.wire)
        case nil:
            let key =
                reference.kind == "ReferenceGrant"
                ? RecordKey(.referenceGrant, "\(reference.namespacedName)") : RecordKey(.route, "\(reference)")
            return set(key, nil)
        }
    }

    private mutating func set(_ key: RecordKey, _ value: [UInt8]?) -> Bool {
        guard records[key] != value else { return false }
        records[key] = value
        return true
    }
}

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

    /// What a compilation has changed. Costs as much as that.
    ///
    /// - Parameter compiler: after it.
    mutating func update(_ changes: CompiledChanges, _ compiler: MeshCompiler) -> Change {
        var change: Change = [:]
        for name in changes.servicePorts { setService(name, compiler.mesh.servicePorts[name] ?? [], &change) }
        for reference in changes.routes { Self.setRoute(reference, compiler.routeObjects[reference], &change) }
        return change
    }

    /// Everything that the compiler has, for the first time.
    mutating func start(_ compiler: MeshCompiler) -> Change {
        var change: Change = [:]
        for (name, ports) in compiler.mesh.servicePorts { setService(name, ports, &change) }
        for (reference, object) in compiler.routeObjects { Self.setRoute(reference, object, &change) }
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
                endpoints: port.backends.map { .init(address: $0.address, port: $0.port, weight: $0.weight) })
            keys.insert(record.key)
            change[record.key] = record.wire
        }
        for key in ports[name] ?? [] where !keys.contains(key) { change[key] = .some(nil) }
        ports[name] = keys.isEmpty ? nil : keys
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

// SPDX-License-Identifier: Apache-2.0

import L7Proxy
import MeshModel
import ProxyProtocol

/// Makes what workers route by from the records of the agent, generation after generation.
///
/// Routes are compiled again only where something has changed that concerns them.
struct SnapshotBuilder {
    private struct Objects {
        var services: [NamespacedName: Service] = [:]
        var routes: [ObjectReference: MeshRoute] = [:]
        var grants: [NamespacedName: ReferenceGrant] = [:]
    }

    private var objects = Objects()
    private var table: RouteTable?

    /// - Throws: ``EngineRefusal`` that names the record which cannot be served; the builder stays as it was.
    mutating func build(_ configuration: ProxyConfiguration) throws(EngineRefusal) -> ProxySnapshot {
        for record in configuration.services { try Self.check(record) }
        for record in configuration.workloads where record.netns == 0 {
            throw EngineRefusal("\(record.key): pod \(record.pod) has no network namespace")
        }
        let new = Self.objects(configuration)
        let table: RouteTable
        if let old = self.table {
            let changes = Self.changes(from: objects, to: new)
            table = changes.isEmpty ? old : old.applying(changes)
        } else {
            table = RouteTable(
                RouteObjects(
                    routes: configuration.routes, services: Array(new.services.values), grants: configuration.grants))
        }
        objects = new
        self.table = table
        return ProxySnapshot(
            generation: configuration.generation, services: configuration.services.map(Self.service), routes: table,
            workloads: Dictionary(
                configuration.workloads.map {
                    ($0.netns, ProxyWorkload(name: $0.pod, serviceAccount: $0.serviceAccount))
                }, uniquingKeysWith: { $1 }))
    }

    private static func check(_ record: ServiceRecord) throws(EngineRefusal) {
        guard record.port != 0 else { throw EngineRefusal("\(record.key): a Service has no port 0") }
        if let address = record.addresses.first(where: \.isUnspecified) {
            throw EngineRefusal("\(record.key): \(address) is no address of a Service")
        }
        for endpoint in record.endpoints where endpoint.port == 0 || endpoint.address.isUnspecified {
            let place = SocketEndpoint(endpoint.address, endpoint.port)
            throw EngineRefusal("\(record.key): nobody can be reached at \(place)")
        }
    }

    // MARK: - Endpoints

    private static func service(_ record: ServiceRecord) -> ProxyService {
        ProxyService(
            name: record.service, port: record.port, addresses: record.addresses,
            endpoints: usable(record.endpoints).map {
                ProxyEndpoint(address: $0.address, port: $0.port, weight: $0.weight)
            }, appProtocol: record.appProtocol)
    }

    /// Those that are ready; if there is none, those that end but still serve, as kube-proxy has it (KEP-1669).
    private static func usable(_ endpoints: [ServiceRecord.Endpoint]) -> [ServiceRecord.Endpoint] {
        let ready = endpoints.filter { $0.isReady && $0.weight > 0 }
        let staying = ready.filter { !$0.isTerminating }
        return staying.isEmpty ? ready : staying
    }

    // MARK: - Routes

    private static func objects(_ configuration: ProxyConfiguration) -> Objects {
        var objects = Objects()
        for record in configuration.services {
            let name = record.service
            objects.services[
                name,
                default: Service(metadata: ObjectMetadata(name: name.name, namespace: name.namespace))
            ].ports.append(
                Service.Port(name: record.portName, port: record.port, appProtocol: record.appProtocol))
        }
        for route in configuration.routes { objects.routes[route.reference] = route }
        for grant in configuration.grants { objects.grants[grant.metadata.namespacedName] = grant }
        return objects
    }

    private static func changes(from old: Objects, to new: Objects) -> [RouteChange] {
        difference(old.services, new.services, { .service($0) }, { .removeService($0) })
            + difference(old.routes, new.routes, { .route($0) }, { .removeRoute($0) })
            + difference(old.grants, new.grants, { .grant($0) }, { .removeGrant($0) })
    }

    private static func difference<Key, Value: Equatable>(
        _ old: [Key: Value], _ new: [Key: Value], _ put: (Value) -> RouteChange, _ remove: (Key) -> RouteChange
    ) -> [RouteChange] {
        new.compactMap { old[$0.key] == $0.value ? nil : put($0.value) }
            + old.keys.compactMap { new[$0] == nil ? remove($0) : nil }
    }
}

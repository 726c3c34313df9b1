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
    private var node: NodeRecord?
    /// What each Service record was last made into, so that workers see at a glance what has not changed.
    private var services: [RecordKey: (record: ServiceRecord, service: ProxyService)] = [:]
    /// One for each list of policies, by the records' names.
    private var authorizers: [[String]: (policies: [AuthorizationPolicy], authorizer: RequestAuthorizer)] = [:]

    /// - Throws: ``EngineRefusal`` that names the record which cannot be served; the builder stays as it was.
    mutating func build(_ configuration: ProxyConfiguration) throws(EngineRefusal) -> ProxySnapshot {
        for record in configuration.services { try Self.check(record) }
        for record in configuration.workloads where record.netns == 0 {
            throw EngineRefusal("\(record.key): pod \(record.pod) has no network namespace")
        }
        let destinations = try destinations(configuration)
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
        authorizers = destinations.authorizers
        let services = services(configuration)
        return ProxySnapshot(
            generation: configuration.generation, services: services, routes: table,
            workloads: Dictionary(
                configuration.workloads.map {
                    (
                        $0.netns,
                        ProxyWorkload(
                            name: $0.pod, serviceAccount: $0.serviceAccount, addresses: $0.addresses, labels: $0.labels)
                    )
                }, uniquingKeysWith: { $1 }), remotePods: Self.remotePods(configuration),
            tunnels: TunnelReach(configuration), trustDomain: configuration.node?.trustDomain ?? "cluster.local",
            destinations: destinations.list)
    }

    private static func remotePods(_ configuration: ProxyConfiguration) -> [IPAddress: ProxyWorkload] {
        var pods: [IPAddress: ProxyWorkload] = [:]
        // Those of this node are ends of tunnels for some of their peers only.
        let own = Set(configuration.workloads.map(\.pod))
        for record in configuration.remotePods where !own.contains(record.pod) {
            let pod = ProxyWorkload(
                name: record.pod, serviceAccount: record.serviceAccount, addresses: record.addresses,
                labels: record.labels)
            for address in record.addresses { pods[address] = pod }
        }
        return pods
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

    // MARK: - Services

    private mutating func services(_ configuration: ProxyConfiguration) -> [ProxyService] {
        if node != configuration.node { services = [:] }
        node = configuration.node
        var made: [RecordKey: (record: ServiceRecord, service: ProxyService)] = [:]
        let list = configuration.services.map { record in
            let service: ProxyService
            if let known = services[record.key], known.record == record {
                service = known.service
            } else {
                service = Self.service(record, node)
            }
            made[record.key] = (record, service)
            return service
        }
        services = made
        return list
    }

    private static func service(_ record: ServiceRecord, _ node: NodeRecord?) -> ProxyService {
        ProxyService(
            name: record.service, port: record.port, addresses: record.addresses,
            endpoints: endpoints(record.endpoints),
            policy: ServicePolicy(record.settings, zone: node?.zone, node: node?.name),
            appProtocol: record.appProtocol,
            alternates: Dictionary(
                record.endpoints.compactMap { endpoint in
                    endpoint.alternate.map { (ProxyEndpoint(address: endpoint.address, port: endpoint.port), $0) }
                }, uniquingKeysWith: { first, _ in first }))
    }

    /// Those that end get new requests only if there is no other, as kube-proxy has it (KEP-1669).
    private static func endpoints(_ endpoints: [ServiceRecord.Endpoint]) -> [ClusterEndpoint] {
        let hasStaying = endpoints.contains { $0.isReady && $0.weight > 0 && !$0.isTerminating }
        return endpoints.map {
            let state: ClusterEndpoint.State =
                !$0.isReady ? .unready : $0.isTerminating && hasStaying ? .draining : .ready
            return ClusterEndpoint(
                $0.address, port: $0.port, weight: $0.weight, zone: $0.zone, node: $0.node, state: state)
        }
    }

    // MARK: - Policies

    private struct Destinations {
        var list: [ProxyDestination] = []
        var authorizers: [[String]: (policies: [AuthorizationPolicy], authorizer: RequestAuthorizer)] = [:]
    }

    /// Pods with the same policies share one authorizer, which is compiled again only if one of them has changed.
    private func destinations(_ configuration: ProxyConfiguration) throws(EngineRefusal) -> Destinations {
        var policies: [String: AuthorizationPolicy] = [:]
        for record in configuration.authorizations { policies[record.key.name] = record.policy }
        var result = Destinations()
        for record in configuration.destinations {
            var selecting: [AuthorizationPolicy] = []
            for name in record.policies {
                // Without it requests would be taken that must not be.
                guard let policy = policies[name] else {
                    throw EngineRefusal("\(record.key): there is no policy \(name)")
                }
                selecting.append(policy)
            }
            let known = result.authorizers[record.policies] ?? authorizers[record.policies]
            let authorizer: RequestAuthorizer
            if let known, known.policies == selecting {
                authorizer = known.authorizer
            } else {
                authorizer = RequestAuthorizer(selecting)
            }
            result.authorizers[record.policies] = (selecting, authorizer)
            result.list.append(ProxyDestination(addresses: record.addresses, authorizer: authorizer))
        }
        return result
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

// SPDX-License-Identifier: Apache-2.0
import MeshAdmin
import MeshManifests
import MeshModel

/// Makes the answer to `meshctl services`.
struct ServiceReporter {
    private let node: Node

    init(_ node: Node) { self.node = node }

    func reports(_ request: ServicesRequest) -> [ServiceReport] {
        var frontends: [NamespacedName: [ServiceKey]] = [:]
        let mesh = node.state.reconciler.compiler.mesh
        for (key, service) in mesh.services { frontends[service.service, default: []].append(key) }
        var services: [Service] = []
        for case .service(let service) in node.state.store.objects.objects.values
        where request.namespace.map({ $0 == service.metadata.namespace }) ?? true {
            services.append(service)
        }
        return services.sorted { $0.namespacedName < $1.namespacedName }.map { service in
            let name = service.namespacedName
            return ServiceReport(
                namespace: name.namespace, name: name.name,
                type: service.isHeadless ? "Headless" : service.kind.rawValue,
                affinitySeconds: service.affinitySeconds,
                frontends: (frontends[name] ?? []).sorted().compactMap { key in
                    mesh.services[key].map { frontend(key, $0) }
                })
        }
    }

    private func frontend(_ key: ServiceKey, _ service: CompiledService) -> FrontendReport {
        FrontendReport(
            address: key.address.description, port: key.port, protocol: key.transport.rawValue,
            portName: service.portName.isEmpty ? nil : service.portName,
            backends: service.backends.map { backend in
                let address = node.state.reconciler.compiler.mesh.addresses[backend.address]
                let pod = address?.workload.flatMap(pod)
                return BackendReport(
                    address: backend.address.description, port: backend.port, weight: backend.weight,
                    ready: pod?.ready ?? true, terminating: pod?.isTerminating ?? false,
                    local: pod.map(node.state.isLocal) ?? address?.isNode ?? false,
                    workload: address?.workload?.description)
            })
    }

    private func pod(_ name: NamespacedName) -> Pod? {
        let reference = ObjectReference(apiVersion: "v1", kind: "Pod", namespace: name.namespace, name: name.name)
        guard case .pod(let pod)? = node.state.store.objects[reference] else { return nil }
        return pod
    }
}

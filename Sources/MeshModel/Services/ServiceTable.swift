// SPDX-License-Identifier: Apache-2.0

/// All services and endpoint slices, and what was compiled from them.
struct ServiceTable: Sendable {
    private var services: [NamespacedName: Service] = [:]
    private var slices: [NamespacedName: EndpointSlice] = [:]
    private var slicesByService: [NamespacedName: Set<NamespacedName>] = [:]
    /// Services with a selector by the pair of it that comes first: namespace, label key, value.
    private var bySelector: [String: [String: [String: Set<NamespacedName>]]] = [:]
    private var clusterAddresses: [IPAddress: Int] = [:]
    private(set) var withNodePorts: Set<NamespacedName> = []

    /// What each service compiled to, with the keys of its numbers.
    private var compiled: [NamespacedName: ServiceOutput] = [:]
    private var claimants: [ServiceKey: [NamespacedName]] = [:]

    subscript(name: NamespacedName) -> Service? { services[name] }

    var all: Set<NamespacedName> { Set(services.keys) }

    func isClusterAddress(_ address: IPAddress) -> Bool { clusterAddresses[address] != nil }

    /// The slices that name the service, by name.
    func slices(of service: NamespacedName) -> [EndpointSlice] {
        (slicesByService[service] ?? []).sorted().compactMap { slices[$0] }
    }

    // MARK: Objects

    mutating func set(_ service: Service?, for name: NamespacedName) {
        if let old = services[name] { index(old, isAdded: false) }
        services[name] = service
        if let service { index(service, isAdded: true) }
    }

    private mutating func index(_ service: Service, isAdded: Bool) {
        let name = service.namespacedName
        for address in Set(service.clusterIPs) {
            let count = clusterAddresses[address, default: 0] + (isAdded ? 1 : -1)
            clusterAddresses[address] = count == 0 ? nil : count
        }
        if isAdded, service.ports.contains(where: { $0.nodePort != nil }) {
            withNodePorts.insert(name)
        } else {
            withNodePorts.remove(name)
        }
        guard let pair = service.selector?.min(by: { $0.key < $1.key }) else { return }
        if isAdded {
            bySelector[name.namespace, default: [:]][pair.key, default: [:]][pair.value, default: []].insert(name)
        } else {
            bySelector[name.namespace]?[pair.key]?[pair.value]?.remove(name)
            if bySelector[name.namespace]?[pair.key]?[pair.value]?.isEmpty == true {
                bySelector[name.namespace]?[pair.key]?[pair.value] = nil
            }
        }
    }

    /// - Returns: The services whose endpoints may differ now.
    mutating func set(_ slice: EndpointSlice?, for name: NamespacedName) -> Set<NamespacedName> {
        var affected: Set<NamespacedName> = []
        if let service = slices[name]?.service {
            affected.insert(service)
            slicesByService[service]?.remove(name)
            if slicesByService[service]?.isEmpty == true { slicesByService[service] = nil }
        }
        slices[name] = slice
        if let service = slice?.service {
            affected.insert(service)
            slicesByService[service, default: []].insert(name)
        }
        return affected
    }

    /// Services whose endpoints depend on this pod, by their selector or by its weight.
    func services(dependingOn pod: Pod) -> Set<NamespacedName> {
        var result: Set<NamespacedName> = []
        let namespace = pod.metadata.namespace
        for (key, value) in pod.metadata.labels {
            for name in bySelector[namespace]?[key]?[value] ?? [] {
                guard slicesByService[name] == nil, let selector = services[name]?.selector,
                    selector.allSatisfy({ pod.metadata.labels[$0.key] == $0.value })
                else { continue }
                result.insert(name)
            }
        }
        if pod.mesh.weight != nil {
            result.formUnion(slicesByService.keys.lazy.filter { $0.namespace == namespace })
        }
        return result
    }

    // MARK: Output

    /// Replaces what a service compiled to.
    ///
    /// - Returns: The keys that it has or had, and the number keys that it has no more.
    mutating func set(
        _ output: ServiceOutput?, for name: NamespacedName
    ) -> (touched: Set<ServiceKey>, released: Set<String>) {
        let old = compiled[name]
        compiled[name] = output
        var touched = Set(output?.services.keys.map { $0 } ?? [])
        for key in old?.services.keys.map({ $0 }) ?? [] where !touched.contains(key) {
            claimants[key]?.removeAll { $0 == name }
            if claimants[key]?.isEmpty == true { claimants[key] = nil }
        }
        for key in touched where old?.services[key] == nil { claimants[key, default: []].append(name) }
        touched.formUnion(old?.services.keys.map { $0 } ?? [])
        return (touched, (old?.numberKeys ?? []).subtracting(output?.numberKeys ?? []))
    }

    /// The service that a key leads to: of several that claim it the first by name.
    func service(at key: ServiceKey) -> CompiledService? {
        claimants[key]?.min().flatMap { compiled[$0]?.services[key] }
    }
}

/// What one service compiles to.
struct ServiceOutput: Sendable {
    var services: [ServiceKey: CompiledService] = [:]
    /// For the proxy.
    var ports: [CompiledServicePort] = []
    /// The keys under which its numbers are registered.
    var numberKeys: Set<String> = []
}

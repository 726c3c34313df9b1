// SPDX-License-Identifier: Apache-2.0

/// All pods, with the indexes that compiling needs.
struct PodTable: Sendable {
    private(set) var pods: [NamespacedName: Pod] = [:]
    /// Pods that claim an address: those that have a network of their own and have not ended.
    private var claims: [IPAddress: [NamespacedName]] = [:]
    /// Namespace, label key and value to names of pods.
    private var byLabel: [String: [String: [String: Set<String>]]] = [:]
    private var byPortName: [IdentityIndex.PortName: Set<NamespacedName>] = [:]

    subscript(name: NamespacedName) -> Pod? { pods[name] }

    func claimants(of address: IPAddress) -> [NamespacedName] { claims[address] ?? [] }

    /// - Returns: The pod that was replaced.
    @discardableResult
    mutating func set(_ pod: Pod?, for name: NamespacedName) -> Pod? {
        let old = pods[name]
        pods[name] = pod
        if let old { index(old, isAdded: false) }
        if let pod { index(pod, isAdded: true) }
        return old
    }

    private mutating func index(_ pod: Pod, isAdded: Bool) {
        let name = pod.namespacedName
        if pod.hasIdentity {
            for address in Set(pod.podIPs) {
                claims[address, default: []].removeAll { $0 == name }
                if isAdded { claims[address, default: []].append(name) }
                if claims[address]?.isEmpty == true { claims[address] = nil }
            }
        }
        for container in pod.containers {
            for port in container.ports {
                guard let portName = port.name else { continue }
                let key = IdentityIndex.PortName(name: portName, transport: port.transport)
                if isAdded { byPortName[key, default: []].insert(name) } else { byPortName[key]?.remove(name) }
                if byPortName[key]?.isEmpty == true { byPortName[key] = nil }
            }
        }
        for (key, value) in pod.metadata.labels {
            if isAdded {
                byLabel[name.namespace, default: [:]][key, default: [:]][value, default: []].insert(name.name)
            } else {
                byLabel[name.namespace]?[key]?[value]?.remove(name.name)
                if byLabel[name.namespace]?[key]?[value]?.isEmpty == true {
                    byLabel[name.namespace]?[key]?[value] = nil
                }
            }
        }
    }

    /// Pods whose identity can differ once the attributes matter or no longer do.
    func pods(affectedBy changed: ProjectionDemand) -> Set<NamespacedName> {
        var result: Set<NamespacedName> = []
        for key in changed.labelKeys {
            for (namespace, keys) in byLabel {
                for names in (keys[key] ?? [:]).values {
                    for name in names { result.insert(NamespacedName(namespace: namespace, name: name)) }
                }
            }
        }
        for name in changed.portNames { result.formUnion(byPortName[name] ?? []) }
        guard !changed.cidrs.isEmpty else { return result }
        for (address, names) in claims where changed.cidrs.contains(where: { $0.contains(address) }) {
            result.formUnion(names)
        }
        return result
    }

    /// Whether a container of some pod has a port of that name.
    func hasPort(named name: IdentityIndex.PortName) -> Bool { byPortName[name] != nil }

    /// Pods with all the labels of a service's selector, by name.
    func pods(in namespace: String, with labels: Labels) -> [Pod] {
        // The rarest label leaves the fewest to check.
        let candidates = labels.map { byLabel[namespace]?[$0.key]?[$0.value] ?? [] }.min { $0.count < $1.count }
        return (candidates ?? []).sorted().compactMap { name in
            guard let pod = pods[NamespacedName(namespace: namespace, name: name)],
                labels.allSatisfy({ pod.metadata.labels[$0.key] == $0.value })
            else { return nil }
            return pod
        }
    }
}

extension Pod {
    /// Whether the pod is a peer of its own, and not its node or a thing of the past.
    var hasIdentity: Bool { !hostNetwork && !isFinished }
}

// SPDX-License-Identifier: Apache-2.0

/// Which attributes of peers matter now, because a policy that selects a local workload asks for them.
struct IdentityProjection: Sendable {
    private var labelKeys: [String: Int] = [:]
    private var portNames: [IdentityIndex.PortName: Int] = [:]
    private var cidrs: [CIDR: Int] = [:]
    private(set) var cidrTable = CIDRTable()

    /// Whether each attribute that was touched since ``settle()`` mattered before.
    private var labelKeysBefore: [String: Bool] = [:]
    private var portNamesBefore: [IdentityIndex.PortName: Bool] = [:]
    private var cidrsBefore: [CIDR: Bool] = [:]

    mutating func add(_ demand: ProjectionDemand) { change(demand, by: 1) }
    mutating func remove(_ demand: ProjectionDemand) { change(demand, by: -1) }

    private mutating func change(_ demand: ProjectionDemand, by step: Int) {
        for key in demand.labelKeys { Self.change(&labelKeys, &labelKeysBefore, key, by: step) }
        for name in demand.portNames { Self.change(&portNames, &portNamesBefore, name, by: step) }
        for cidr in demand.cidrs { Self.change(&cidrs, &cidrsBefore, cidr, by: step) }
    }

    private static func change<Key>(
        _ counts: inout [Key: Int], _ before: inout [Key: Bool], _ key: Key, by step: Int
    ) {
        let old = counts[key, default: 0]
        if before[key] == nil { before[key] = old > 0 }
        counts[key] = old + step == 0 ? nil : old + step
    }

    /// The attributes that began or ceased to matter. A policy replaced by one like it changes nothing.
    mutating func settle() -> ProjectionDemand {
        var changed = ProjectionDemand()
        changed.labelKeys = Set(labelKeysBefore.filter { $0.value != (labelKeys[$0.key] != nil) }.keys)
        changed.portNames = Set(portNamesBefore.filter { $0.value != (portNames[$0.key] != nil) }.keys)
        changed.cidrs = Set(cidrsBefore.filter { $0.value != (cidrs[$0.key] != nil) }.keys)
        for cidr in changed.cidrs {
            if cidrs[cidr] != nil { cidrTable.insert(cidr) } else { cidrTable.remove(cidr) }
        }
        (labelKeysBefore, portNamesBefore, cidrsBefore) = ([:], [:], [:])
        return changed
    }

    /// Who a pod is by each of its addresses. A family without an address of the pod is as the other one.
    ///
    /// - Parameter takesTunnels: As ``IdentityKey/takesTunnels``.
    func keys(
        of pod: Pod, trustDomain: String, isAuthenticated: Bool, takesTunnels: Bool = false
    ) -> PerFamily<IdentityKey> {
        let own = PerFamily(ipv4: pod.podIPs.filter(\.isIPv4), ipv6: pod.podIPs.filter { !$0.isIPv4 })
        let key = { (addresses: [IPAddress]) in
            self.key(
                of: pod, by: addresses, trustDomain: trustDomain, isAuthenticated: isAuthenticated,
                takesTunnels: takesTunnels)
        }
        if own.ipv4.isEmpty || own.ipv6.isEmpty { return PerFamily(both: key(own.ipv4 + own.ipv6)) }
        return own.map(key)
    }

    private func key(
        of pod: Pod, by addresses: [IPAddress], trustDomain: String, isAuthenticated: Bool, takesTunnels: Bool
    ) -> IdentityKey {
        var labels: [IdentityKey.Label] = []
        for (key, value) in pod.metadata.labels where labelKeys[key] != nil {
            labels.append(IdentityKey.Label(key: key, value: value))
        }
        var ports: Set<IdentityKey.NamedPort> = []
        if !portNames.isEmpty {
            for container in pod.containers {
                for port in container.ports {
                    guard let name = port.name,
                        portNames[IdentityIndex.PortName(name: name, transport: port.transport)] != nil
                    else { continue }
                    ports.insert(IdentityKey.NamedPort(name: name, transport: port.transport, port: port.port))
                }
            }
        }
        return IdentityKey(
            trustDomain: trustDomain, namespace: pod.metadata.namespace, serviceAccount: pod.serviceAccountName,
            labels: labels.sorted { $0.key < $1.key },
            namedPorts: ports.sorted {
                ($0.name, $0.port, $0.transport.number) < ($1.name, $1.port, $1.transport.number)
            },
            isAuthenticated: isAuthenticated, takesTunnels: takesTunnels, cidrs: cidrs(containing: addresses))
    }

    /// The prefixes that matter and contain one of `addresses`, ascending.
    func cidrs(containing addresses: [IPAddress]) -> [CIDR] {
        guard cidrTable.count > 0, let first = addresses.first else { return [] }
        if addresses.count == 1 { return cidrTable.prefixes(containing: first) }
        return Set(addresses.flatMap { cidrTable.prefixes(containing: $0) }).sorted()
    }
}

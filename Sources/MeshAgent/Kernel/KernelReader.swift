// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import MeshModel
import SockOps

/// Reads back what an earlier agent has written: the start of ``KernelTables`` for one that adopts.
struct KernelReader {
    /// What nothing leads to: left by an agent that was killed in the middle of a change. To be removed.
    struct Litter {
        var policy: [mesh_policy_key] = []
        var backends: [mesh_backend_key] = []

        var isEmpty: Bool { policy.isEmpty && backends.isEmpty }
    }

    private(set) var tables = KernelTables()
    private(set) var litter = Litter()

    /// - Parameter lookups: cookies of the namespaces with an sk_lookup link.
    /// - Throws: ``BPFError`` if a map cannot be read.
    init(_ maps: borrowing MeshMaps, lookups: some Sequence<NetnsCookie>) throws(BPFError) {
        tables.generation = maps.control.load(\.generation)
        tables.lookups = Set(lookups)
        var read = KernelTables()
        try maps.workloads.forEach { read.workloads[$0] = KernelTables.Workload($1) }
        try maps.addresses.forEach { read.addresses[IPAddress($0)] = KernelTables.Address($1) }
        try maps.cidrs.forEach { key, row in
            guard let bits = UInt8(exactly: key.prefix_length), bits <= 128 else { return }
            read.cidrs[CIDR(IPAddress(key.address), bits: bits)] = KernelTables.Address(row)
        }
        try maps.services.forEach { key, row in
            if let key = ServiceKey(key) { read.services[key] = ServiceRow(row) }
        }
        try maps.members.forEach { key, _ in read.members.insert(MemberKey(key)) }
        try maps.skipPorts.forEach { key, _ in read.skipPorts.insert(SkipPortKey(key)) }
        try maps.probes.forEach { key, _ in read.probePorts.insert(SkipPortKey(key)) }
        try maps.routes.forEach { key, _ in read.routes.insert(RouteKey(key)) }
        read.generation = tables.generation
        read.lookups = tables.lookups
        tables = read
        try readBackends(maps)
        try readPolicySets(maps)
    }

    private mutating func readBackends(_ maps: borrowing MeshMaps) throws(BPFError) {
        let named = Set(tables.services.values.lazy.filter { $0.slots > 0 }.map(\.backendSet))
        var sets: [UInt32: [UInt32: BackendColumn]] = [:]
        var litter: [mesh_backend_key] = []
        try maps.backends.forEach { key, column in
            if named.contains(key.backend_set) {
                sets[key.backend_set, default: [:]][key.index] = BackendColumn(column)
            } else {
                litter.append(key)
            }
        }
        tables.backendSets = sets
        self.litter.backends = litter
    }

    /// From the sets that workloads name, in either slot, down to their pages.
    private mutating func readPolicySets(_ maps: borrowing MeshMaps) throws(BPFError) {
        var named: Set<UInt32> = []
        for row in tables.workloads.values {
            named.formUnion([row.policySet.even, row.policySet.odd, row.dryRunSet.even, row.dryRunSet.odd])
        }
        named.remove(0)
        var exceptions: [UInt32: [PolicyException: PolicyVerdict]] = [:]
        var litter: [mesh_policy_key] = []
        try maps.policy.forEach { key, entry in
            if named.contains(key.policy_set) {
                exceptions[key.policy_set, default: [:]][PolicyException(key)] =
                    PolicyVerdict(rawValue: UInt8(truncatingIfNeeded: entry.verdict)) ?? .deny
            } else {
                litter.append(key)
            }
        }
        self.litter.policy = litter
        for number in named {
            guard let set = try maps.policySets.get(number) else { continue }
            tables.policySets[number] = PolicySetRow(portMaps: set.portMaps, exceptions: exceptions[number] ?? [:])
            for portMap in set.portMaps where tables.portMaps[portMap] == nil {
                guard let map = try maps.portMaps.get(portMap).map({ PortMap(pages: $0.pages) }) else { continue }
                tables.portMaps[portMap] = map
                for page in Set(map.pages) where tables.pages[page] == nil {
                    tables.pages[page] = try maps.portPages.get(UInt32(page)).map { PortPage(entries: $0.entries) }
                }
            }
        }
    }
}

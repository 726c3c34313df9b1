// SPDX-License-Identifier: Apache-2.0

extension MeshCompiler {
    /// Brings identities up to date with pods, addresses and what policies ask about them.
    mutating func settleIdentities(_ pending: inout Pending) {
        followProjection(&pending)
        // Slots are given back last, so that an identity which moves from pod to pod keeps its number.
        var released: [Int] = []
        for name in pending.pods.sorted() { settlePod(name, &pending, &released) }
        settleCIDRs(&pending, &released)
        for address in pending.addresses.sorted() { settleAddress(address, &pending, &released) }
        for slot in released { index.release(slot, registry: &identityNumbers) }
        for (number, key) in index.takeChanges() {
            pending.changes.identities.insert(number)
            mesh.identities[number] = key
        }
        // An identity that is unknown for want of a number is no entry.
        mesh.identities[.unknown] = nil
    }

    /// Finds out whose identity may differ because policies began or ceased to ask for an attribute.
    private mutating func followProjection(_ pending: inout Pending) {
        let changed = projection.settle()
        if compiledRevision < 0 { pending.cidrs.formUnion([.allIPv4, .allIPv6]) }
        guard changed != ProjectionDemand() else { return }
        pending.pods.formUnion(pods.pods(affectedBy: changed))
        guard !changed.cidrs.isEmpty else { return }
        for cidr in changed.cidrs {
            pending.cidrs.insert(cidr)
            pending.cidrs.formUnion(projection.cidrTable.prefixes(inside: cidr))
        }
        for address in addressSlots.keys where changed.cidrs.contains(where: { $0.contains(address) }) {
            pending.addresses.insert(address)
        }
        index.setHostCIDRs(projection.cidrs(containing: nodeAddresses.sorted()))
    }

    private mutating func settlePod(_ name: NamespacedName, _ pending: inout Pending, _ released: inout [Int]) {
        let old = podSlots[name]
        func release(_ slots: PerFamily<Int>?, _ released: inout [Int]) {
            if let slots { released += [slots.ipv4, slots.ipv6] }
        }
        let isRemote = takesTunnels(name)
        settleProven(name, isRemote, release, &released)
        guard let pod = pods[name], pod.hasIdentity else {
            release(old, &released)
            podSlots[name] = nil
            return
        }
        let keys = projection.keys(
            of: pod, trustDomain: configuration.trustDomain, isAuthenticated: enrolled.contains(name),
            takesTunnels: isRemote || encrypts(name))
        if let old, index.key(at: old.ipv4) == keys.ipv4, index.key(at: old.ipv6) == keys.ipv6 { return }
        podSlots[name] = PerFamily(
            ipv4: index.retain(keys.ipv4, registry: &identityNumbers),
            ipv6: index.retain(keys.ipv6, registry: &identityNumbers))
        release(old, &released)
        pending.addresses.formUnion(pod.podIPs)
        if enrolled.contains(name) { pending.workloads.insert(name) }
    }

    /// Who an enrolled pod of another node is by its certificate: the same as a pod of this node with its attributes.
    private mutating func settleProven(
        _ name: NamespacedName, _ isRemote: Bool, _ release: (PerFamily<Int>?, inout [Int]) -> Void,
        _ released: inout [Int]
    ) {
        let old = provenSlots[name]
        guard isRemote, let pod = pods[name] else {
            release(old, &released)
            provenSlots[name] = nil
            return
        }
        let keys = projection.keys(of: pod, trustDomain: configuration.trustDomain, isAuthenticated: true)
        if let old, index.key(at: old.ipv4) == keys.ipv4, index.key(at: old.ipv6) == keys.ipv6 { return }
        provenSlots[name] = PerFamily(
            ipv4: index.retain(keys.ipv4, registry: &identityNumbers),
            ipv6: index.retain(keys.ipv6, registry: &identityNumbers))
        release(old, &released)
    }

    private mutating func settleCIDRs(_ pending: inout Pending, _ released: inout [Int]) {
        for cidr in pending.cidrs.sorted() {
            let old = cidrSlots[cidr]
            // The two that hold everything stay, whether or not a policy names them.
            let isNamed = projection.cidrTable.contains(cidr) || cidr == .allIPv4 || cidr == .allIPv6
            let key = IdentityKey(cidrs: projection.cidrTable.prefixes(containing: cidr))
            if isNamed, let old, index.key(at: old) == key { continue }
            cidrSlots[cidr] = isNamed ? index.retain(key, registry: &identityNumbers) : nil
            if let old { released.append(old) }
            let number = cidrSlots[cidr].map { index.number(at: $0) }
            if mesh.cidrs[cidr] != number {
                mesh.cidrs[cidr] = number
                pending.changes.cidrs.insert(cidr)
            }
        }
    }

    private mutating func settleAddress(
        _ address: IPAddress, _ pending: inout Pending, _ released: inout [Int]
    ) {
        let old = addressSlots[address]
        var slot: Int?
        var compiled: CompiledAddress?
        if nodeAddresses.contains(address) {
            compiled = CompiledAddress(identity: .host, isNode: true)
        } else if !pods.claimants(of: address).isEmpty {
            let owner = owner(of: address)
            compiled = CompiledAddress(
                identity: owner.flatMap { podSlots[$0]?[address] }.map { index.number(at: $0) } ?? .unknown,
                workload: owner, isLocal: owner.map(isWorkload) ?? false)
        } else if services.isClusterAddress(address) {
            let key = IdentityKey(cidrs: projection.cidrs(containing: [address]))
            let retained = index.retain(key, registry: &identityNumbers)
            slot = retained
            compiled = CompiledAddress(identity: index.number(at: retained), isService: true)
        }
        addressSlots[address] = slot
        if let old { released.append(old) }
        guard mesh.addresses[address] != compiled else { return }
        mesh.addresses[address] = compiled
        pending.changes.addresses.insert(address)
    }

    /// The pod that an address means, if several claim it.
    ///
    /// A pod that is going has already lost its address to one that is not. Beyond that only an enrolled
    /// pod is proved to have it: the objects alone cannot say, and then nobody does.
    func owner(of address: IPAddress) -> NamespacedName? {
        let claimants = pods.claimants(of: address)
        if claimants.count <= 1 { return claimants.first }
        let staying = claimants.filter { pods[$0]?.isTerminating == false }
        for candidates in [staying.filter(isWorkload), staying, claimants.filter(isWorkload), claimants]
        where !candidates.isEmpty {
            return candidates.count == 1 ? candidates[0] : nil
        }
        return nil
    }

    /// The identity by which the kernel knows an address.
    func slot(of address: IPAddress) -> Int? {
        if nodeAddresses.contains(address) { return IdentityIndex.hostSlot }
        if !pods.claimants(of: address).isEmpty { return owner(of: address).flatMap { podSlots[$0]?[address] } }
        // The longest prefix that contains the address is in the same prefixes as the address.
        return index.slot(of: IdentityKey(cidrs: projection.cidrs(containing: [address])))
    }
}

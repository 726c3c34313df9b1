// SPDX-License-Identifier: Apache-2.0

/// The identities in use, and for each attribute the set of those that have it.
///
/// A selector is answered by combining such sets, so its cost depends on the number of identities
/// (one bit each) and not on the number of pods.
struct IdentityIndex: Sendable {
    struct Principal: Hashable, Sendable {
        let trustDomain: String
        let namespace: String
        let serviceAccount: String
    }

    struct PortName: Hashable, Sendable {
        let name: String
        let transport: TransportProtocol
    }

    private struct Entry: Sendable {
        let key: IdentityKey
        let number: IdentityNumber
        var uses: Int
    }

    static let worldSlot = 0
    static let hostSlot = 1

    private var entries: [Entry?] = []
    private var slots: [IdentityKey: Int] = [:]
    private var freeSlots: [Int] = []

    /// All identities in use.
    private(set) var known = IdentitySet()
    private(set) var authenticated = IdentitySet()
    private(set) var pods = IdentitySet()
    /// Those of pods that are reached through tunnels only.
    private(set) var tunnelled = IdentitySet()
    private(set) var byNamespace: [String: IdentitySet] = [:]
    private var byLabel = LabelIndex()
    private var byNamespaceLabel = LabelIndex()
    /// Of authenticated identities only.
    private(set) var byPrincipal: [Principal: IdentitySet] = [:]
    private var byCIDR: [CIDR: IdentitySet] = [:]
    private var byPortName: [PortName: [UInt16: IdentitySet]] = [:]
    private(set) var namespaceLabels: [String: Labels] = [:]

    /// Identities that came (with their key) or went since ``takeChanges()``, in that order.
    private var changes: [(number: IdentityNumber, key: IdentityKey?)] = []

    /// Slots whose identity changed since ``takeChangedSlots()``; `nil` if the attributes of any may have.
    private var changedSlots: Set<Int>? = []

    /// Grows whenever a selector may answer differently.
    private(set) var revision = 0

    init() {
        adopt(.world, number: .world)
        adopt(IdentityKey(cidrs: [], isHost: true), number: .host)
    }

    // MARK: Identities

    func slot(of key: IdentityKey) -> Int? {
        key.kind == .host ? Self.hostSlot : slots[key]
    }

    func key(at slot: Int) -> IdentityKey? { entries[slot]?.key }

    /// - Precondition: The slot is in use.
    func number(at slot: Int) -> IdentityNumber {
        guard let entry = entries[slot] else { preconditionFailure("identity slot \(slot) is free") }
        return entry.number
    }

    /// Counts one more use of the identity, which gets a number from `registry` if it is new.
    mutating func retain(_ key: IdentityKey, registry: inout NumberRegistry) -> Int {
        if let slot = slot(of: key) {
            entries[slot]?.uses += 1
            return slot
        }
        // Without a number nobody can be told apart from the unknown, whom every policy set denies.
        let number = registry.number(for: key.description).map { IdentityNumber(rawValue: $0) } ?? .unknown
        return adopt(key, number: number)
    }

    /// Undoes one ``retain(_:registry:)``; the last one frees the slot and the number.
    mutating func release(_ slot: Int, registry: inout NumberRegistry) {
        guard var entry = entries[slot] else { preconditionFailure("identity slot \(slot) is free") }
        entry.uses -= 1
        entries[slot] = entry
        guard entry.uses == 0 else { return }
        setBits(of: entry.key, slot: slot, to: false)
        entries[slot] = nil
        slots[entry.key] = nil
        freeSlots.append(slot)
        registry.release(entry.key.description)
        changes.append((entry.number, nil))
        changedSlots?.insert(slot)
        revision += 1
    }

    mutating func takeChanges() -> [(number: IdentityNumber, key: IdentityKey?)] {
        defer { changes = [] }
        return changes
    }

    /// The prefixes that contain the node's addresses have changed.
    mutating func setHostCIDRs(_ cidrs: [CIDR]) {
        guard let entry = entries[Self.hostSlot], entry.key.cidrs != cidrs else { return }
        let key = IdentityKey(cidrs: cidrs, isHost: true)
        setBits(of: entry.key, slot: Self.hostSlot, to: false)
        entries[Self.hostSlot] = Entry(key: key, number: .host, uses: 1)
        setBits(of: key, slot: Self.hostSlot, to: true)
        changes.append((.host, key))
        changedSlots?.insert(Self.hostSlot)
        revision += 1
    }

    mutating func takeChangedSlots() -> Set<Int>? {
        defer { changedSlots = [] }
        return changedSlots
    }

    @discardableResult
    private mutating func adopt(_ key: IdentityKey, number: IdentityNumber) -> Int {
        let slot = freeSlots.popLast() ?? entries.count
        let entry = Entry(key: key, number: number, uses: 1)
        if slot == entries.count { entries.append(entry) } else { entries[slot] = entry }
        if key.kind != .host { slots[key] = slot }
        setBits(of: key, slot: slot, to: true)
        changes.append((number, key))
        changedSlots?.insert(slot)
        revision += 1
        return slot
    }

    private mutating func setBits(of key: IdentityKey, slot: Int, to value: Bool) {
        known.set(slot, to: value)
        for cidr in key.cidrs { byCIDR.set(cidr, slot, to: value) }
        guard key.kind == .pod else { return }
        pods.set(slot, to: value)
        if key.takesTunnels { tunnelled.set(slot, to: value) }
        byNamespace.set(key.namespace, slot, to: value)
        for (key, label) in labels(ofNamespace: key.namespace) { byNamespaceLabel.set(key, label, slot, to: value) }
        for label in key.labels { byLabel.set(label.key, label.value, slot, to: value) }
        for port in key.namedPorts {
            byPortName[PortName(name: port.name, transport: port.transport), default: [:]]
                .set(port.port, slot, to: value)
        }
        guard key.isAuthenticated else { return }
        authenticated.set(slot, to: value)
        let principal = Principal(
            trustDomain: key.trustDomain, namespace: key.namespace, serviceAccount: key.serviceAccount)
        byPrincipal.set(principal, slot, to: value)
    }

    // MARK: Selection

    mutating func setLabels(_ labels: Labels?, ofNamespace name: String) {
        let old = self.labels(ofNamespace: name)
        namespaceLabels[name] = labels.map { Namespace.selectableLabels(of: name, labels: $0) }
        let new = self.labels(ofNamespace: name)
        guard old != new, let pods = byNamespace[name] else { return }
        for slot in pods.slots {
            for (key, value) in old { byNamespaceLabel.set(key, value, slot, to: false) }
            for (key, value) in new { byNamespaceLabel.set(key, value, slot, to: true) }
        }
        changedSlots = nil
        revision += 1
    }

    private func labels(ofNamespace name: String) -> Labels {
        namespaceLabels[name] ?? Namespace.selectableLabels(of: name)
    }

    /// Pods whose namespace `selector` selects.
    func pods(inNamespaces selector: LabelSelector) -> IdentitySet {
        byNamespaceLabel.select(selector, from: pods)
    }

    /// The members of `candidates` whose labels `selector` selects; its keys must be in the projection.
    func select(_ selector: LabelSelector, from candidates: IdentitySet) -> IdentitySet {
        byLabel.select(selector, from: candidates)
    }

    /// Identities with an address in one of `cidrs`, each of which must be named.
    func inside(_ cidrs: [CIDR]) -> IdentitySet {
        cidrs.reduce(into: IdentitySet()) { result, cidr in
            if let set = byCIDR[cidr] { result.formUnion(set) }
        }
    }

    /// What the containers of each identity mean by the port's name.
    func ports(named name: PortName) -> [UInt16: IdentitySet] {
        byPortName[name] ?? [:]
    }
}

extension Dictionary where Value == IdentitySet {
    /// Attributes that no identity has any more are forgotten.
    mutating func set(_ key: Key, _ slot: Int, to value: Bool) {
        self[key, default: IdentitySet()].set(slot, to: value)
        if !value, self[key]?.isEmpty == true { self[key] = nil }
    }
}

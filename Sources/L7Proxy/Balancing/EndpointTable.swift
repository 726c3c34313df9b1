// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// The endpoints of a cluster in one piece of memory. An endpoint keeps its slot, and so its counts, as long as the
/// configuration has it or something uses it.
struct EndpointTable: ~Copyable {
    /// Endpoints at most, those that are only still in use included. Bounds a cluster's memory to some megabytes.
    static let maximumEndpoints = 65_535

    private(set) var loads: UnsafeMutablePointer<EndpointLoad>
    /// Slots that are in use or free; those beyond have never been used.
    private(set) var count = 0
    private var capacity = 8
    private var free: [UInt32] = []

    init() { loads = .allocate(capacity: capacity) }

    deinit { loads.deallocate() }

    @inline(__always)
    subscript(slot: Int) -> EndpointLoad {
        get { loads[slot] }
        _modify { yield &loads[slot] }
    }

    /// The slot of a handle.
    ///
    /// - Precondition: What the handle was kept for has not ended.
    @inline(__always)
    func slot(of handle: EndpointHandle) -> Int {
        let slot = Int(handle.slot)
        precondition(slot < count && loads[slot].generation == handle.generation, "a handle outlived its endpoint")
        return slot
    }

    @inline(__always)
    func handle(_ slot: Int) -> EndpointHandle {
        EndpointHandle(slot: UInt32(truncatingIfNeeded: slot), generation: loads[slot].generation)
    }

    /// Makes the table have exactly `endpoints`, and those that are still in use. Of several with one identity the last
    /// counts.
    ///
    /// - Returns: How many there was no room for: those that come last.
    mutating func update(_ endpoints: [ClusterEndpoint], _ origin: ClusterOrigin) -> Int {
        var known: [ClusterEndpoint.Identity: Int] = [:]
        for slot in 0..<count where loads[slot].isConfigured || loads[slot].isInUse {
            known[loads[slot].identity] = slot
            loads[slot].isConfigured = false
        }
        var refused: Set<ClusterEndpoint.Identity> = []
        for endpoint in endpoints {
            let slot: Int
            if let same = known[endpoint.identity] {
                slot = same
            } else if let new = takeSlot() {
                loads[new] = EndpointLoad(
                    address: endpoint.identity.address, port: endpoint.identity.port, state: endpoint.state,
                    tier: .anywhere, weight: 0, generation: loads[new].generation &+ 1)
                known[endpoint.identity] = new
                slot = new
            } else {
                refused.insert(endpoint.identity)
                continue
            }
            loads[slot].isConfigured = true
            loads[slot].state = endpoint.state
            loads[slot].weight = endpoint.weight
            loads[slot].tier = origin.tier(of: endpoint)
        }
        for slot in known.values { releaseIfUnused(slot) }
        return refused.count
    }

    /// Forgets an endpoint that is neither configured nor in use.
    @inline(__always)
    mutating func releaseIfUnused(_ slot: Int) {
        guard !loads[slot].isConfigured, !loads[slot].isInUse else { return }
        loads[slot].generation &+= 1
        free.append(UInt32(slot))
    }

    private mutating func takeSlot() -> Int? {
        if let slot = free.popLast() { return Int(slot) }
        if count == Self.maximumEndpoints { return nil }
        if count == capacity {
            let larger = UnsafeMutablePointer<EndpointLoad>.allocate(capacity: 2 * capacity)
            larger.moveInitialize(from: loads, count: count)
            loads.deallocate()
            loads = larger
            capacity *= 2
            free.reserveCapacity(capacity)
        }
        let slot = count
        loads.advanced(by: slot).initialize(
            to: EndpointLoad(
                address: IPAddress(v4: 0), port: 0, state: .unready, tier: .anywhere, weight: 0, generation: 0,
                isConfigured: false))
        count += 1
        return slot
    }
}

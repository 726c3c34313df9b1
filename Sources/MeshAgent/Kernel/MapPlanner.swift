// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import MeshModel

/// Collects the operations of a ``MapPlan``.
struct MapPlanner {
    private let tables: KernelTables
    private let image: KernelImage
    private let keys: ImageKeys
    private let next: UInt32
    private var plan = MapPlan()
    /// Some address or workload is judged otherwise than in the generation in force.
    private var verdictsDiffer = false
    /// Rows of pods that leave the mesh: the last that goes, because their addresses name them.
    private var leaving: [MapOperation] = []
    /// Rows of pods that were refused everything and have a policy from the next generation on.
    private var becomingReady: [MapOperation] = []
    /// Operations of `prepare` that only fill the inactive slot.
    private var slotWrites: Set<Int> = []
    private lazy var oldCovers = PrefixIndex(tables.cidrs.lazy.map { ($0.key, $0.value) })
    private lazy var newCovers = PrefixIndex(image.cidrs.lazy.map { ($0.key, $0.value) })

    init(tables: KernelTables, image: KernelImage, keys: ImageKeys) {
        self.tables = tables
        self.image = image
        self.keys = keys
        next = tables.generation &+ 1
    }

    mutating func make() -> MapPlan {
        planContent()
        planNewRoutes()
        planWorkloads()
        for cidr in keys.cidrs { planPrefix(cidr) }
        planAddresses()
        planServices()
        planOldRoutes()
        if !becomingReady.isEmpty { plan.settle += [.gracePeriod] + becomingReady }
        planGarbage()
        if verdictsDiffer {
            plan.flip = next
        } else {
            // Without a flip the inactive slots may stay as they are: the next flip fills them.
            plan.prepare = plan.prepare.indices.filter { !slotWrites.contains($0) }.map { plan.prepare[$0] }
        }
        return plan
    }

    private mutating func fillSlot(_ operation: MapOperation) {
        slotWrites.insert(plan.prepare.count)
        plan.prepare.append(operation)
    }

    /// What is named by number and never changes: from the leaves up, so that every name leads somewhere.
    private mutating func planContent() {
        for number in keys.pages {
            if let page = image.pages[number], tables.pages[number] == nil { plan.prepare.append(.page(number, page)) }
        }
        for number in keys.portMaps {
            guard let map = image.portMaps[number], tables.portMaps[number] == nil else { continue }
            plan.prepare.append(.portMap(number, map))
        }
        for number in keys.policySets {
            guard let row = image.policySets[number], tables.policySets[number] == nil else { continue }
            plan.prepare.append(.policySet(number, row))
        }
        for set in keys.backendSets {
            guard let columns = image.backendSets[set], tables.backendSets[set] == nil else { continue }
            for (index, column) in columns.enumerated() {
                plan.prepare.append(.backend(set: set, index: UInt32(index), column))
            }
        }
        for key in keys.members where image.members.contains(key) && !tables.members.contains(key) {
            plan.prepare.append(.member(key, true))
        }
        for key in keys.skipPorts {
            switch (tables.skipPorts.contains(key), image.skipPorts.contains(key)) {
            case (false, true): plan.prepare.append(.skipPort(key, true))
            case (true, false): plan.settle.append(.skipPort(key, false))
            default: break
            }
        }
        for key in keys.probePorts {
            switch (tables.probePorts.contains(key), image.probePorts.contains(key)) {
            case (false, true): plan.prepare.append(.probePort(key, true))
            case (true, false): plan.settle.append(.probePort(key, false))
            default: break
            }
        }
    }

    // MARK: - Routes

    /// Classes before the services that ask for them.
    private mutating func planNewRoutes() {
        for key in keys.routes where image.routes.contains(key) && !tables.routes.contains(key) {
            plan.prepare.append(.route(key, true))
        }
    }

    /// At once, when no service asks for them: what is led to the proxy must be known there.
    private mutating func planOldRoutes() {
        for key in keys.routes where !image.routes.contains(key) && tables.routes.contains(key) {
            plan.settle.append(.route(key, false))
        }
    }

    // MARK: - Workloads

    private mutating func planWorkloads() {
        var enrolled: [MapOperation] = []
        for cookie in keys.workloads.sorted() {
            switch (tables.workloads[cookie], image.workloads[cookie]) {
            case (let row?, let desired?): planChange(of: cookie, row, desired)
            case (let row?, nil): planRemoval(of: cookie, row)
            case (nil, let desired?): enrolled.append(.workload(cookie, enrolledRow(desired)))
            case (nil, nil): break
            }
        }
        guard !enrolled.isEmpty else { return }
        verdictsDiffer = true
        // Every connect() that began without a record has sent its SYN before records are demanded.
        plan.prepare += enrolled + [.gracePeriod]
    }

    private mutating func planChange(
        of cookie: NetnsCookie, _ row: KernelTables.Workload, _ desired: KernelImage.Workload
    ) {
        var changed = row
        changed.identity[next] = desired.identity
        changed.policySet[next] = desired.policySet
        changed.dryRunSet[next] = desired.dryRunSet
        let now = tables.generation
        if row.flags & MESH_WL_READY.rawValue == 0, desired.isReady {
            // The generation in force has no policy for it: it stays refused until nobody reads that any more.
            verdictsDiffer = true
            fillSlot(.workload(cookie, changed))
            changed.flags = desired.flags
            changed.routeClass = desired.routeClass
            becomingReady.append(.workload(cookie, changed))
            return
        }
        if row.identity[now] != desired.identity || row.policySet[now] != desired.policySet
            || row.dryRunSet[now] != desired.dryRunSet
        {
            verdictsDiffer = true
        }
        if row.flags != desired.flags || row.routeClass != desired.routeClass {
            changed.flags = desired.flags
            changed.routeClass = desired.routeClass
            plan.prepare.append(.workload(cookie, changed))
        } else if changed != row {
            fillSlot(.workload(cookie, changed))
        }
    }

    private mutating func planRemoval(of cookie: NetnsCookie, _ row: KernelTables.Workload) {
        verdictsDiffer = true
        // Not enrolled in the new generation: nothing of it is refused, and it is what its addresses are.
        var changed = row
        let addresses = keys.addresses.filter { tables.pod(at: $0) == cookie }.sorted()
        changed.identity[next] = Self.identity(of: addresses) { image.addresses[$0]?.identity ?? newCover($0) }
        changed.policySet[next] = 0
        changed.dryRunSet[next] = 0
        if changed != row { fillSlot(.workload(cookie, changed)) }
        leaving.append(.workload(cookie, nil))
    }

    /// The generation in force does not know the pod: its policy there is that of a pod outside the mesh, and it is
    /// what its addresses are.
    private mutating func enrolledRow(_ desired: KernelImage.Workload) -> KernelTables.Workload {
        let before = Self.identity(of: desired.addresses) {
            tables.addresses[$0]?.identity[tables.generation] ?? oldCover($0)
        }
        return KernelTables.Workload(
            identity: Slots(generation: next, active: desired.identity, other: before),
            policySet: Slots(generation: next, active: desired.policySet, other: 0),
            dryRunSet: Slots(generation: next, active: desired.dryRunSet, other: 0), flags: desired.flags,
            routeClass: desired.routeClass)
    }

    /// By the first address of each family; a family without one is as the other.
    private static func identity(
        of addresses: [IPAddress], _ identity: (IPAddress) -> IdentityNumber
    ) -> PerFamily<IdentityNumber> {
        let ipv4 = addresses.first { $0.isIPv4 }.map(identity)
        let ipv6 = addresses.first { !$0.isIPv4 }.map(identity)
        return PerFamily(ipv4: ipv4 ?? ipv6 ?? .world, ipv6: ipv6 ?? ipv4 ?? .world)
    }

    // MARK: - Prefixes and addresses

    private mutating func oldCover(_ address: IPAddress, shorterThan bits: UInt8 = 129) -> IdentityNumber {
        oldCovers.cover(of: address, shorterThan: bits)?.identity[tables.generation] ?? .world
    }

    private mutating func newCover(_ address: IPAddress, shorterThan bits: UInt8 = 129) -> IdentityNumber {
        newCovers.cover(of: address, shorterThan: bits)?.identity ?? .world
    }

    private mutating func planPrefix(_ cidr: CIDR) {
        let old = tables.cidrs[cidr]
        guard let desired = image.cidrs[cidr] else {
            guard let old else { return }
            let cover = newCover(cidr.network, shorterThan: cidr.bits)
            if old.identity[tables.generation] != cover { verdictsDiffer = true }
            var row = old
            row.identity[next] = cover
            if row != old { fillSlot(.cidr(cidr, row)) }
            plan.garbage.append(.cidr(cidr, nil))
            return
        }
        let row = slotted(old, desired, coveredBy: old == nil ? oldCover(cidr.network, shorterThan: cidr.bits) : .world)
        guard row != old else { return }
        if old != nil { fillSlot(.cidr(cidr, row)) } else { plan.prepare.append(.cidr(cidr, row)) }
    }

    /// Writes for the addresses of a pod that is new to the mesh.
    private struct Enrolling {
        /// The generation to come names the pod, the one in force does not.
        var known: [MapOperation] = []
        /// Both do.
        var inForce: [MapOperation] = []
    }

    private mutating func planAddresses() {
        // Without its link a pod that leaves is open to all, as it shall be; its addresses and its row go after it.
        for cookie in keys.workloads.sorted() where image.workloads[cookie] == nil && tables.lookups.contains(cookie) {
            plan.garbage.append(.detachLookup(cookie))
        }
        var enrolling: [NetnsCookie: Enrolling] = [:]
        for address in keys.addresses {
            guard let desired = image.addresses[address] else {
                if let old = tables.addresses[address] { planRemoval(of: address, old) }
                continue
            }
            planAddress(address, desired, &enrolling)
        }
        // The link finds the pod by the inactive slot (bpf/sockmap/lookup.h) before connect() does by the active one: nobody
        // on the way meets a link that does not know the address, or an address whose link is not there.
        for cookie in keys.workloads.sorted()
        where image.workloads[cookie]?.takesLookup == true && !tables.lookups.contains(cookie) {
            let rows = enrolling.removeValue(forKey: cookie) ?? Enrolling()
            plan.prepare += rows.known + [.attachLookup(cookie)] + rows.inForce
        }
        for cookie in enrolling.keys.sorted() { plan.prepare += enrolling[cookie]?.inForce ?? [] }
        plan.garbage += leaving
    }

    private mutating func planAddress(
        _ address: IPAddress, _ desired: KernelImage.Address, _ enrolling: inout [NetnsCookie: Enrolling]
    ) {
        let old = tables.addresses[address]
        let pod = old?.netns[tables.generation] ?? 0
        var row = slotted(old, desired, coveredBy: old == nil ? oldCover(address) : .world)
        // A pod that is new to the mesh has no policy in the generation in force, so its address may name it at once,
        // beside the sk_lookup link that needs the name.
        let isEnrolling = pod == 0 && desired.netns != 0 && tables.workloads[desired.netns] == nil
        row.flags |= old?.flags ?? 0
        if isEnrolling {
            enrolling[desired.netns, default: Enrolling()].known.append(.address(address, row))
            row.netns[tables.generation] = desired.netns
            enrolling[desired.netns]?.inForce.append(.address(address, row))
        } else if row != old {
            if row.flags == old?.flags {
                fillSlot(.address(address, row))
            } else {
                plan.prepare.append(.address(address, row))
            }
        }
        var last = row
        last.flags = desired.flags
        if let old, old.netns != Slots(even: 0, odd: 0), desired.netns == 0 {
            // Connections on their way to the pod still find it by the other slot (bpf/sockmap/lookup.h).
            last.netns = Slots(even: 0, odd: 0)
            plan.garbage.append(.address(address, last))
        } else if last.flags != row.flags {
            plan.settle.append(.address(address, last))
        }
    }

    private mutating func planRemoval(of address: IPAddress, _ old: KernelTables.Address) {
        let row = slotted(old, KernelImage.Address(identity: newCover(address)), coveredBy: .world)
        if row.identity != old.identity || row.netns != old.netns {
            var named = row
            named.flags = old.flags
            fillSlot(.address(address, named))
        }
        if old.flags != 0, row.netns[tables.generation] == 0 { plan.settle.append(.address(address, row)) }
        plan.garbage.append(.address(address, nil))
    }

    /// The row that says `desired` in the next generation and in this one what it says now.
    private mutating func slotted(
        _ old: KernelTables.Address?, _ desired: KernelImage.Address, coveredBy cover: IdentityNumber
    ) -> KernelTables.Address {
        let now = old?.identity[tables.generation] ?? cover
        let pod = old?.netns[tables.generation] ?? 0
        if now != desired.identity || pod != desired.netns { verdictsDiffer = true }
        return KernelTables.Address(
            identity: Slots(generation: next, active: desired.identity, other: now), flags: desired.flags,
            netns: Slots(generation: next, active: desired.netns, other: pod))
    }

    // MARK: - Services and garbage

    /// A service that is new cannot have been used, so a full map is found out before the flip; one that changes
    /// does so after it, when its new endpoints have their identities.
    private mutating func planServices() {
        for key in keys.services {
            let row = image.services[key]
            guard tables.services[key] != row else { continue }
            if tables.services[key] == nil {
                plan.prepare.append(.service(key, row))
            } else {
                plan.settle.append(.service(key, row))
            }
        }
    }

    private mutating func planGarbage() {
        for key in keys.members where !image.members.contains(key) && tables.members.contains(key) {
            plan.garbage.append(.member(key, false))
        }
        for set in keys.backendSets where image.backendSets[set] == nil {
            for index in tables.backendSets[set, default: [:]].keys {
                plan.garbage.append(.backend(set: set, index: index, nil))
            }
        }
        for number in keys.policySets where image.policySets[number] == nil && tables.policySets[number] != nil {
            plan.garbage.append(.policySet(number, nil))
        }
        for number in keys.portMaps where image.portMaps[number] == nil && tables.portMaps[number] != nil {
            plan.garbage.append(.portMap(number, nil))
        }
        for number in keys.pages where image.pages[number] == nil && tables.pages[number] != nil {
            plan.garbage.append(.page(number, nil))
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import MeshModel

/// What the maps shall say in one generation: every key once, without slots.
///
/// ``KernelTables`` is what they do say; ``MapPlan`` leads from there to here.
struct KernelImage: Equatable, Sendable {
    /// `struct mesh_address` in one generation.
    struct Address: Hashable, Sendable {
        var identity: IdentityNumber
        /// `enum mesh_address_flags`.
        var flags: UInt32 = 0
        /// Of a local enrolled pod, else 0.
        var netns: NetnsCookie = 0
    }

    /// `struct mesh_workload` in one generation.
    struct Workload: Hashable, Sendable {
        var identity: PerFamily<IdentityNumber>
        /// 0: everything is allowed.
        var policySet: UInt32
        /// 0: none.
        var dryRunSet: UInt32
        /// `enum mesh_workload_flags`.
        var flags: UInt32
        /// 0: none.
        var routeClass: UInt32 = 0
        /// The primary address first; no part of the row.
        var addresses: [IPAddress] = []
        /// Its namespace shall have an sk_lookup link; no part of the row.
        var takesLookup = true

        var isReady: Bool { flags & MESH_WL_READY.rawValue != 0 }
    }

    var pages: [UInt16: PortPage] = [:]
    var portMaps: [UInt32: PortMap] = [:]
    var policySets: [UInt32: PolicySetRow] = [:]
    var workloads: [NetnsCookie: Workload] = [:]
    var addresses: [IPAddress: Address] = [:]
    var cidrs: [CIDR: Address] = [:]
    var services: [ServiceKey: ServiceRow] = [:]
    var backendSets: [UInt32: [BackendColumn]] = [:]
    var members: Set<MemberKey> = []
    var skipPorts: Set<SkipPortKey> = []
    var probePorts: Set<SkipPortKey> = []
    var routes: Set<RouteKey> = []
}

/// Keys of an image or of tables; for example those where two images may differ.
struct ImageKeys: Equatable, Sendable {
    var pages: Set<UInt16> = []
    var portMaps: Set<UInt32> = []
    var policySets: Set<UInt32> = []
    var workloads: Set<NetnsCookie> = []
    var addresses: Set<IPAddress> = []
    var cidrs: Set<CIDR> = []
    var services: Set<ServiceKey> = []
    var backendSets: Set<UInt32> = []
    var members: Set<MemberKey> = []
    var skipPorts: Set<SkipPortKey> = []
    var probePorts: Set<SkipPortKey> = []
    var routes: Set<RouteKey> = []

    init() {}

    /// All keys of both.
    init(_ tables: KernelTables, _ image: KernelImage) {
        pages = Set(tables.pages.keys).union(image.pages.keys)
        portMaps = Set(tables.portMaps.keys).union(image.portMaps.keys)
        policySets = Set(tables.policySets.keys).union(image.policySets.keys)
        workloads = Set(tables.workloads.keys).union(image.workloads.keys).union(tables.lookups)
        addresses = Set(tables.addresses.keys).union(image.addresses.keys)
        cidrs = Set(tables.cidrs.keys).union(image.cidrs.keys)
        services = Set(tables.services.keys).union(image.services.keys)
        backendSets = Set(tables.backendSets.keys).union(image.backendSets.keys)
        members = tables.members.union(image.members)
        skipPorts = tables.skipPorts.union(image.skipPorts)
        probePorts = tables.probePorts.union(image.probePorts)
        routes = tables.routes.union(image.routes)
    }

    func union(_ other: ImageKeys) -> ImageKeys {
        var keys = self
        keys.formUnion(other)
        return keys
    }

    mutating func formUnion(_ other: ImageKeys) {
        pages.formUnion(other.pages)
        portMaps.formUnion(other.portMaps)
        policySets.formUnion(other.policySets)
        workloads.formUnion(other.workloads)
        addresses.formUnion(other.addresses)
        cidrs.formUnion(other.cidrs)
        services.formUnion(other.services)
        backendSets.formUnion(other.backendSets)
        members.formUnion(other.members)
        skipPorts.formUnion(other.skipPorts)
        probePorts.formUnion(other.probePorts)
        routes.formUnion(other.routes)
    }
}

/// Finds the longest prefix of a set that covers an address, as an LPM trie does: by bits, whatever the family.
struct PrefixIndex<Value> {
    private var byLength: [(bits: UInt8, networks: [IPAddress: Value])] = []

    init(_ prefixes: some Sequence<(key: CIDR, value: Value)>) {
        var lengths: [UInt8: [IPAddress: Value]] = [:]
        for (cidr, value) in prefixes { lengths[cidr.bits, default: [:]][cidr.network] = value }
        byLength = lengths.map { ($0.key, $0.value) }.sorted { $0.bits > $1.bits }
    }

    /// - Parameter bits: only prefixes shorter than this.
    func cover(of address: IPAddress, shorterThan bits: UInt8 = 129) -> Value? {
        for (length, networks) in byLength where length < bits {
            if let value = networks[address.masked(to: length)] { return value }
        }
        return nil
    }
}

// SPDX-License-Identifier: Apache-2.0
import MeshModel

/// A value for even and one for odd generations: a "slot array" of mesh_abi.h.
struct Slots<Value: Hashable & Sendable>: Hashable, Sendable {
    var even: Value
    var odd: Value

    init(even: Value, odd: Value) { (self.even, self.odd) = (even, odd) }

    /// - Parameters:
    ///   - active: the value of `generation`.
    ///   - other: that of the generations before and after it.
    init(generation: UInt32, active: Value, other: Value) {
        (even, odd) = generation & 1 == 0 ? (active, other) : (other, active)
    }

    subscript(generation: UInt32) -> Value {
        get { generation & 1 == 0 ? even : odd }
        set { if generation & 1 == 0 { even = newValue } else { odd = newValue } }
    }
}

/// A copy of everything the agent has written to the maps, slots and all.
///
/// The agent is the only writer of these maps, so the copy stays true; a restarted agent reads it back from the
/// pinned maps once. In tests it stands for the kernel.
struct KernelTables: Equatable, Sendable {
    /// `struct mesh_address`.
    struct Address: Hashable, Sendable {
        var identity: Slots<IdentityNumber>
        var flags: UInt32
        /// Of the enrolled pod of this node that has the address, else 0.
        var netns: Slots<NetnsCookie>
    }

    /// `struct mesh_workload`.
    struct Workload: Hashable, Sendable {
        var identity: Slots<PerFamily<IdentityNumber>>
        var policySet: Slots<UInt32>
        var dryRunSet: Slots<UInt32>
        var flags: UInt32
        var routeClass: UInt32 = 0
    }

    /// `mesh_control.generation`; 0: no policy has ever been in force.
    var generation: UInt32 = 0
    var pages: [UInt16: PortPage] = [:]
    var portMaps: [UInt32: PortMap] = [:]
    var policySets: [UInt32: PolicySetRow] = [:]
    var workloads: [NetnsCookie: Workload] = [:]
    var addresses: [IPAddress: Address] = [:]
    var cidrs: [CIDR: Address] = [:]
    var services: [ServiceKey: ServiceRow] = [:]
    var backendSets: [UInt32: [UInt32: BackendColumn]] = [:]
    var members: Set<MemberKey> = []
    var skipPorts: Set<SkipPortKey> = []
    /// Ports that the node's probes ask, all of direction ingress.
    var probePorts: Set<SkipPortKey> = []
    var routes: Set<RouteKey> = []
    /// Namespaces with an sk_lookup link.
    var lookups: Set<NetnsCookie> = []

    /// Does to the copy what `operation` does to the kernel.
    mutating func apply(_ operation: MapOperation) {
        switch operation {
        case .page(let number, let page): pages[number] = page
        case .portMap(let number, let map): portMaps[number] = map
        case .policySet(let number, let row): policySets[number] = row
        case .workload(let cookie, let row): workloads[cookie] = row
        case .address(let address, let row): addresses[address] = row
        case .cidr(let cidr, let row): cidrs[cidr] = row
        case .service(let key, let row): services[key] = row
        case .backend(let set, let index, let column):
            backendSets[set, default: [:]][index] = column
            if backendSets[set]?.isEmpty == true { backendSets[set] = nil }
        case .member(let key, let isMember): if isMember { members.insert(key) } else { members.remove(key) }
        case .skipPort(let key, let isSkipped): if isSkipped { skipPorts.insert(key) } else { skipPorts.remove(key) }
        case .probePort(let key, let isAsked): if isAsked { probePorts.insert(key) } else { probePorts.remove(key) }
        case .route(let key, let isRouted): if isRouted { routes.insert(key) } else { routes.remove(key) }
        case .attachLookup(let cookie): lookups.insert(cookie)
        case .detachLookup(let cookie): lookups.remove(cookie)
        case .gracePeriod: break
        case .flip(let generation): self.generation = generation
        }
    }

    /// What undoes `operation` if it is applied to these tables; `nil` if nothing has to be undone.
    func inverse(of operation: MapOperation) -> MapOperation? {
        switch operation {
        case .page(let number, _): .page(number, pages[number])
        case .portMap(let number, _): .portMap(number, portMaps[number])
        case .policySet(let number, _): .policySet(number, policySets[number])
        case .workload(let cookie, _): .workload(cookie, workloads[cookie])
        case .address(let address, _): .address(address, addresses[address])
        case .cidr(let cidr, _): .cidr(cidr, cidrs[cidr])
        case .service(let key, _): .service(key, services[key])
        case .backend(let set, let index, _): .backend(set: set, index: index, backendSets[set]?[index])
        case .member(let key, _): .member(key, members.contains(key))
        case .skipPort(let key, _): .skipPort(key, skipPorts.contains(key))
        case .probePort(let key, _): .probePort(key, probePorts.contains(key))
        case .route(let key, _): .route(key, routes.contains(key))
        case .attachLookup(let cookie): lookups.contains(cookie) ? nil : .detachLookup(cookie)
        case .detachLookup(let cookie): lookups.contains(cookie) ? .attachLookup(cookie) : nil
        case .gracePeriod: nil
        case .flip: nil
        }
    }
}

/// One write to one map, or one of the few other steps of a change.
enum MapOperation: Equatable, Sendable {
    /// `nil` here and below: the element is removed. Elements of arrays are only forgotten: nothing names them.
    case page(UInt16, PortPage?)
    case portMap(UInt32, PortMap?)
    /// The set and all its exceptions; they are in the maps before anything names the set.
    case policySet(UInt32, PolicySetRow?)
    case workload(NetnsCookie, KernelTables.Workload?)
    case address(IPAddress, KernelTables.Address?)
    case cidr(CIDR, KernelTables.Address?)
    case service(ServiceKey, ServiceRow?)
    case backend(set: UInt32, index: UInt32, BackendColumn?)
    case member(MemberKey, Bool)
    case skipPort(SkipPortKey, Bool)
    case probePort(SkipPortKey, Bool)
    case route(RouteKey, Bool)
    /// Puts the sk_lookup program in force in a pod's namespace.
    case attachLookup(NetnsCookie)
    case detachLookup(NetnsCookie)
    /// Waits until no program runs any more that began before.
    case gracePeriod
    /// Raises the generation: the one write by which a change takes effect.
    case flip(UInt32)
}

extension MapOperation {
    /// Whether both are writes to one map, which can be done with one system call.
    func batches(with other: MapOperation) -> Bool {
        switch (self, other) {
        case (.page, .page), (.portMap, .portMap), (.policySet, .policySet), (.workload, .workload),
            (.address, .address), (.cidr, .cidr), (.service, .service), (.backend, .backend), (.member, .member),
            (.skipPort, .skipPort), (.probePort, .probePort), (.route, .route):
            true
        default: false
        }
    }
}

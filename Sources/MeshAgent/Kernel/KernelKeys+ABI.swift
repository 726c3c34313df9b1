// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import MeshModel

// The values of this module in the layout of mesh_abi.h, and back.

extension mesh_ip {
    init(_ address: IPAddress) {
        let words = address.networkWords
        self.init(word: (words.0, words.1, words.2, words.3))
    }
}

extension IPAddress {
    init(_ ip: mesh_ip) { self.init(networkWords: ip.word) }
}

extension mesh_cidr_key {
    init(_ cidr: CIDR) { self.init(prefix_length: UInt32(cidr.bits), address: mesh_ip(cidr.network)) }
}

extension mesh_address {
    init(_ row: KernelTables.Address) {
        self.init(
            identity: (row.identity.even.rawValue, row.identity.odd.rawValue), flags: row.flags, reserved: 0,
            netns: (row.netns.even, row.netns.odd))
    }
}

extension KernelTables.Address {
    init(_ row: mesh_address) {
        self.init(
            identity: Slots(row.identity), flags: row.flags, netns: Slots(even: row.netns.0, odd: row.netns.1))
    }
}

extension mesh_fill {
    init(_ netns: NetnsCookie, _ row: KernelTables.Workload) {
        self.init()
        self.netns = netns
        workload = mesh_workload(row)
        kind = MESH_FILL_WORKLOAD.rawValue
    }

    init(_ address: IPAddress, _ row: KernelTables.Address) {
        self.init()
        self.address = mesh_address(row)
        cidr.address = mesh_ip(address)
        kind = MESH_FILL_ADDRESS.rawValue
    }

    init(_ cidr: CIDR, _ row: KernelTables.Address) {
        self.init()
        self.cidr = mesh_cidr_key(cidr)
        address = mesh_address(row)
        kind = MESH_FILL_CIDR.rawValue
    }

    init(_ key: ServiceKey, _ row: ServiceRow) {
        self.init()
        service = mesh_service(row)
        service_key = mesh_service_key(key)
        kind = MESH_FILL_SERVICE.rawValue
    }
}

extension mesh_workload {
    init(_ row: KernelTables.Workload) {
        self.init(
            identity: (row.identity.even.pair, row.identity.odd.pair),
            policy_set: (row.policySet.even, row.policySet.odd), dry_run_set: (row.dryRunSet.even, row.dryRunSet.odd),
            flags: row.flags, route_class: row.routeClass)
    }
}

extension KernelTables.Workload {
    init(_ row: mesh_workload) {
        self.init(
            identity: Slots(even: PerFamily(row.identity.0), odd: PerFamily(row.identity.1)),
            policySet: Slots(even: row.policy_set.0, odd: row.policy_set.1),
            dryRunSet: Slots(even: row.dry_run_set.0, odd: row.dry_run_set.1), flags: row.flags,
            routeClass: row.route_class)
    }
}

extension Slots<IdentityNumber> {
    fileprivate init(_ pair: (UInt32, UInt32)) {
        self.init(even: IdentityNumber(rawValue: pair.0), odd: IdentityNumber(rawValue: pair.1))
    }
}

extension PerFamily<IdentityNumber> {
    /// As `mesh_workload.identity` has them: IPv4 first.
    fileprivate var pair: (UInt32, UInt32) { (ipv4.rawValue, ipv6.rawValue) }

    fileprivate init(_ pair: (UInt32, UInt32)) {
        self.init(ipv4: IdentityNumber(rawValue: pair.0), ipv6: IdentityNumber(rawValue: pair.1))
    }
}

extension mesh_service_key {
    init(_ key: ServiceKey) {
        self.init(address: mesh_ip(key.address), port: key.port, protocol: key.transport.number, zero: 0)
    }
}

extension ServiceKey {
    /// - Returns: `nil` for a protocol that no object can name.
    init?(_ key: mesh_service_key) {
        guard let transport = TransportProtocol(number: key.protocol) else { return nil }
        self.init(address: IPAddress(key.address), port: key.port, transport: transport)
    }
}

extension mesh_service {
    init(_ row: ServiceRow) {
        self.init(
            backends: UInt64(row.slots) << 32 | UInt64(row.backendSet), service: row.service,
            affinity_seconds: row.affinitySeconds, flags: row.flags, zero: 0)
    }
}

extension ServiceRow {
    init(_ row: mesh_service) {
        self.init(
            service: row.service, backendSet: UInt32(truncatingIfNeeded: row.backends),
            slots: UInt32(row.backends >> 32), affinitySeconds: row.affinity_seconds, flags: row.flags)
    }
}

extension mesh_route_key {
    init(_ key: RouteKey) { self.init(service: key.service, route_class: key.routeClass) }
}

extension RouteKey {
    init(_ key: mesh_route_key) { self.init(service: key.service, routeClass: key.route_class) }
}

extension mesh_backend {
    init(_ column: BackendColumn) {
        self.init(
            address: mesh_ip(column.address), port: column.port, reserved: 0, threshold: column.threshold,
            alias: column.alias)
    }
}

extension BackendColumn {
    init(_ column: mesh_backend) {
        self.init(
            address: IPAddress(column.address), port: column.port, threshold: column.threshold, alias: column.alias)
    }
}

extension mesh_member_key {
    init(_ key: MemberKey) {
        self.init(service: key.service, port: key.port, zero: 0, address: mesh_ip(key.address))
    }
}

extension MemberKey {
    init(_ key: mesh_member_key) {
        self.init(service: key.service, address: IPAddress(key.address), port: key.port)
    }
}

extension mesh_skip_key {
    init(_ key: SkipPortKey) {
        self.init(netns: key.netns, port: key.port, direction: key.direction.rawValue, zero: 0, zero2: 0)
    }
}

extension SkipPortKey {
    init(_ key: mesh_skip_key) {
        self.init(
            netns: key.netns, port: key.port, direction: key.direction == 0 ? .egress : .ingress)
    }
}

extension mesh_policy_key {
    init(set: UInt32, _ exception: PolicyException) {
        self.init(
            policy_set: set, identity: exception.identity.rawValue, port_class: exception.portClass,
            direction: exception.direction.rawValue, protocol: exception.transport.rawValue)
    }
}

extension PolicyException {
    init(_ key: mesh_policy_key) {
        self.init(
            identity: IdentityNumber(rawValue: key.identity), portClass: key.port_class,
            direction: key.direction == 0 ? .egress : .ingress, transport: key.protocol == 0 ? .tcp : .udp)
    }
}

extension mesh_policy_set {
    init(_ row: PolicySetRow) {
        self.init(port_map: ((row.portMaps[0], row.portMaps[1]), (row.portMaps[2], row.portMaps[3])))
    }

    var portMaps: [UInt32] { [port_map.0.0, port_map.0.1, port_map.1.0, port_map.1.1] }
}

extension mesh_port_map {
    init(_ map: PortMap) {
        self.init()
        withUnsafeMutableBytes(of: &page) { $0.copyBytes(from: map.pages.withUnsafeBytes(Array.init)) }
    }

    var pages: [UInt16] { withUnsafeBytes(of: page) { Array($0.bindMemory(to: UInt16.self)) } }
}

extension mesh_port_page {
    init(_ page: PortPage) {
        self.init()
        withUnsafeMutableBytes(of: &entry) { $0.copyBytes(from: page.entries.withUnsafeBytes(Array.init)) }
    }

    var entries: [UInt16] { withUnsafeBytes(of: entry) { Array($0.bindMemory(to: UInt16.self)) } }
}

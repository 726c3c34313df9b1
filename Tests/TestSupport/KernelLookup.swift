// SPDX-License-Identifier: Apache-2.0

public import MeshModel

/// The kernel's look-ups, done on the encoded form of a compiled mesh.
///
/// It knows only what the maps hold: numbers, pages and entries.
public struct KernelLookup: Sendable {
    private struct EntryKey: Hashable {
        let set: UInt32
        let identity: UInt32
        let portClass: UInt16
        let direction: UInt8
        let transport: UInt8
    }

    private struct PortMap {
        let pages: [[UInt16]]
        let indexes: [UInt8]
    }

    private struct MapKey: Hashable {
        let set: UInt32
        let direction: UInt8
        let transport: UInt8
    }

    private var entries: [EntryKey: UInt8] = [:]
    private var portMaps: [MapKey: PortMap] = [:]
    private let mesh: CompiledMesh

    public init(_ mesh: CompiledMesh) {
        self.mesh = mesh
        for (id, set) in mesh.policySets {
            for direction in PolicyDirection.allCases {
                for transport in [TransportProtocol.tcp, .udp] {
                    let bit: UInt8 = transport == .udp ? 1 : 0
                    let table = set.table(direction, transport)
                    let encoded = table.encoded()
                    precondition(encoded.pageIndexes.count == 256, "a port map has 256 pages")
                    precondition(encoded.pages.allSatisfy { $0.count == 256 }, "a page has 256 entries")
                    portMaps[MapKey(set: id.rawValue, direction: direction.rawValue, transport: bit)] = PortMap(
                        pages: encoded.pages, indexes: encoded.pageIndexes)
                    for (portClass, exceptions) in table.exceptions.enumerated() {
                        for exception in exceptions {
                            let key = EntryKey(
                                set: id.rawValue, identity: exception.identity.rawValue, portClass: UInt16(portClass),
                                direction: direction.rawValue, transport: bit)
                            entries[key] = exception.verdict.rawValue
                        }
                    }
                }
            }
        }
    }

    /// By exact address, else by longest prefix.
    public func identity(of address: IPAddress) -> UInt32 {
        if let exact = mesh.addresses[address] { return exact.identity.rawValue }
        var best: (bits: Int, identity: UInt32) = (-1, 0)
        for (cidr, identity) in mesh.cidrs where Int(cidr.bits) > best.bits && Self.covers(cidr, address) {
            best = (Int(cidr.bits), identity.rawValue)
        }
        return best.identity
    }

    /// As an LPM trie compares: bits, without a notion of families.
    private static func covers(_ cidr: CIDR, _ address: IPAddress) -> Bool {
        zip(cidr.network.bytes, address.bytes).enumerated().allSatisfy { index, pair in
            let bits = min(8, max(0, Int(cidr.bits) - 8 * index))
            let mask = UInt8(truncatingIfNeeded: 0xff00 >> bits)
            return pair.0 & mask == pair.1 & mask
        }
    }

    public func verdict(
        set: UInt32, _ direction: PolicyDirection, identity: UInt32, port: UInt16, _ transport: TransportProtocol
    ) -> UInt8 {
        if set == 0 { return 1 }
        if identity == 0 { return 0 }
        let bit: UInt8 = transport == .udp ? 1 : 0
        guard let map = portMaps[MapKey(set: set, direction: direction.rawValue, transport: bit)] else { return 0 }
        let entry = map.pages[Int(map.indexes[Int(port >> 8)])][Int(port & 255)]
        let key = EntryKey(
            set: set, identity: identity, portClass: entry >> 2, direction: direction.rawValue, transport: bit)
        return entries[key] ?? UInt8(entry & 3)
    }

    /// Whether the two ends together allow a connection.
    public func allows(
        from source: IPAddress, to destination: IPAddress, port: UInt16, transport: TransportProtocol,
        withDryRun: Bool = false
    ) -> Bool {
        let client = mesh.addresses[source]?.workload
        let server = mesh.addresses[destination]?.workload
        if let client, client == server { return true }
        let set = { (workload: CompiledWorkload) in
            withDryRun && workload.dryRunSet != .none ? workload.dryRunSet.rawValue : workload.policySet.rawValue
        }
        if let workload = client.flatMap({ mesh.workloads[$0] }) {
            let peer = identity(of: destination)
            guard verdict(set: set(workload), .egress, identity: peer, port: port, transport) == 1 else { return false }
        }
        if let workload = server.flatMap({ mesh.workloads[$0] }) {
            let peer = client.flatMap { mesh.workloads[$0] }?.identity[source].rawValue ?? identity(of: source)
            guard verdict(set: set(workload), .ingress, identity: peer, port: port, transport) == 1 else {
                return false
            }
        }
        return true
    }
}

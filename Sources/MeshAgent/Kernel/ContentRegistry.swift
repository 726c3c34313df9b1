// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import MeshModel

/// Numbers of what the maps name by number: pages, port maps, policy sets and backend sets, by content.
///
/// Equal content has one number, so workloads with equal policies share a set, and a restarted agent that
/// compiles what is in force already finds it under the numbers it has. A number is given again only after its
/// content has left the kernel.
struct ContentRegistry: Sendable {
    /// A map that has no more numbers to give.
    struct Full: Error, Equatable, CustomStringConvertible {
        let map: String
        let capacity: Int

        var description: String {
            "\(map) is full: all \(capacity) entries are in use; the change was refused and the policy in force stays "
                + "(use fewer different policies on this node, see docs/limits.md)"
        }
    }

    /// A policy set with everything that it is made of.
    struct EncodedSet {
        var number: UInt32
        var row: PolicySetRow
        var portMaps: [UInt32: PortMap] = [:]
        var pages: [UInt16: PortPage] = [:]
    }

    private var pages: ContentNumbers<PortPage>
    private var portMaps: ContentNumbers<PortMap>
    private var policySets: ContentNumbers<PolicySetRow>
    private var backendSets: ContentNumbers<[BackendColumn]>

    /// Knows what is in the kernel.
    init(adopting tables: KernelTables) {
        pages = ContentNumbers(
            map: "mesh_port_pages", capacity: Int(MESH_MAX_PORT_PAGES),
            adopting: tables.pages.map { (UInt32($0.key), $0.value) })
        portMaps = ContentNumbers(
            map: "mesh_port_maps", capacity: Int(MESH_MAX_PORT_MAPS),
            adopting: tables.portMaps.map { ($0.key, $0.value) })
        policySets = ContentNumbers(
            map: "mesh_policy_set", capacity: Int(MESH_MAX_POLICY_SETS),
            adopting: tables.policySets.map { ($0.key, $0.value) })
        backendSets = ContentNumbers(
            map: "mesh_backends", capacity: Int(UInt32.max),
            adopting: tables.backendSets.map { set, columns in
                (set, columns.keys.sorted().compactMap { columns[$0] })
            })
    }

    mutating func encode(_ set: PolicySet) throws(Full) -> EncodedSet {
        var portMapNumbers: [UInt32] = []
        var exceptions: [PolicyException: PolicyVerdict] = [:]
        exceptions.reserveCapacity(set.exceptionCount)
        var encoded = EncodedSet(number: 0, row: .empty)
        for direction in PolicyDirection.allCases {
            for transport in PolicyProtocol.allCases {
                let table = set.table(direction, transport == .tcp ? .tcp : .udp)
                portMapNumbers.append(try encode(table.encoded(), into: &encoded))
                for (portClass, entries) in table.exceptions.enumerated() {
                    for entry in entries {
                        exceptions[
                            PolicyException(
                                identity: entry.identity, portClass: UInt16(portClass), direction: direction,
                                transport: transport)] = entry.verdict
                    }
                }
            }
        }
        encoded.row = PolicySetRow(portMaps: portMapNumbers, exceptions: exceptions)
        encoded.number = try policySets.number(of: encoded.row)
        return encoded
    }

    private mutating func encode(_ table: PortTable.Encoded, into encoded: inout EncodedSet) throws(Full) -> UInt32 {
        var numbers: [UInt16] = []
        for entries in table.pages {
            let page = PortPage(entries: entries)
            let number = UInt16(try pages.number(of: page))
            encoded.pages[number] = page
            numbers.append(number)
        }
        let map = PortMap(pages: table.pageIndexes.map { numbers[Int($0)] })
        let number = try portMaps.number(of: map)
        encoded.portMaps[number] = map
        return number
    }

    /// - Parameter columns: of an alias table, not empty.
    mutating func number(of columns: [BackendColumn]) throws(Full) -> UInt32 {
        try backendSets.number(of: columns)
    }

    /// Forgets the numbers whose content has left the kernel.
    mutating func release(_ garbage: [MapOperation]) {
        for operation in garbage {
            switch operation {
            case .page(let number, nil): pages.release(UInt32(number))
            case .portMap(let number, nil): portMaps.release(number)
            case .policySet(let number, nil): policySets.release(number)
            case .backend(let set, _, nil): backendSets.release(set)
            default: break
            }
        }
    }
}

/// Numbers of one kind of content. 0 stays free, because it is what an element that was never written says.
struct ContentNumbers<Content: Hashable & Sendable>: Sendable {
    private let map: String
    private let capacity: Int
    private var numbers: [Content: UInt32] = [:]
    private var contents: [UInt32: Content] = [:]
    private var next: UInt32 = 1

    init(map: String, capacity: Int, adopting contents: some Sequence<(number: UInt32, content: Content)>) {
        self.map = map
        self.capacity = capacity
        for (number, content) in contents {
            numbers[content] = number
            self.contents[number] = content
        }
    }

    mutating func number(of content: Content) throws(ContentRegistry.Full) -> UInt32 {
        if let number = numbers[content] { return number }
        guard contents.count + 1 < capacity else {
            throw ContentRegistry.Full(map: map, capacity: capacity - 1)
        }
        while contents[next] != nil || next == 0 { next = Int(next) + 1 < capacity ? next + 1 : 1 }
        numbers[content] = next
        contents[next] = content
        return next
    }

    mutating func release(_ number: UInt32) {
        guard let content = contents.removeValue(forKey: number) else { return }
        // After a crash two numbers may have equal content.
        if numbers[content] == number { numbers[content] = nil }
    }
}

/// How often each key is used.
struct UseCounts<Key: Hashable & Sendable>: Sendable {
    private var counts: [Key: Int] = [:]

    /// - Returns: whether this is the first use.
    mutating func retain(_ key: Key) -> Bool {
        counts[key, default: 0] += 1
        return counts[key] == 1
    }

    /// - Returns: whether this was the last use.
    mutating func release(_ key: Key) -> Bool {
        guard let count = counts[key] else { return false }
        counts[key] = count == 1 ? nil : count - 1
        return count == 1
    }
}

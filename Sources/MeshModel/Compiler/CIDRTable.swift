// SPDX-License-Identifier: Apache-2.0

/// A set of prefixes that answers which of them contain an address.
struct CIDRTable: Sendable {
    /// By significant bits, separately for the families: 96 and more bits occur in both.
    private var networks: [Set<IPAddress>] = Array(repeating: [], count: 2 * 129)
    /// The indexes of `networks` that are not empty, ascending.
    private var used: [Int] = []
    private(set) var count = 0

    private static func index(_ cidr: CIDR) -> Int {
        (cidr.isIPv4 ? 129 : 0) + Int(cidr.bits)
    }

    mutating func insert(_ cidr: CIDR) {
        let index = Self.index(cidr)
        guard networks[index].insert(cidr.network).inserted else { return }
        count += 1
        if networks[index].count == 1 { used = networks.indices.filter { !networks[$0].isEmpty } }
    }

    mutating func remove(_ cidr: CIDR) {
        let index = Self.index(cidr)
        guard networks[index].remove(cidr.network) != nil else { return }
        count -= 1
        if networks[index].isEmpty { used = networks.indices.filter { !networks[$0].isEmpty } }
    }

    func contains(_ cidr: CIDR) -> Bool {
        networks[Self.index(cidr)].contains(cidr.network)
    }

    /// All prefixes that contain `cidr`, itself included, ascending.
    func prefixes(containing cidr: CIDR) -> [CIDR] {
        let family = cidr.isIPv4 ? 129 : 0
        var result: [CIDR] = []
        for index in used where index >= family && index <= family + Int(cidr.bits) {
            let bits = UInt8(index - family)
            let network = cidr.network.masked(to: bits)
            if networks[index].contains(network) { result.append(CIDR(network, bits: bits)) }
        }
        return result.sorted()
    }

    func prefixes(containing address: IPAddress) -> [CIDR] {
        prefixes(containing: CIDR(host: address))
    }

    /// All prefixes inside `cidr`, itself included.
    func prefixes(inside cidr: CIDR) -> [CIDR] {
        let family = cidr.isIPv4 ? 129 : 0
        var result: [CIDR] = []
        for index in used where index >= family + Int(cidr.bits) && index < family + 129 {
            for network in networks[index] where cidr.contains(network) {
                result.append(CIDR(network, bits: UInt8(index - family)))
            }
        }
        return result
    }
}

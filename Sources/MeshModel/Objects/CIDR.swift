// SPDX-License-Identifier: Apache-2.0

/// A prefix of addresses of one family.
///
/// An IPv6 prefix never contains an IPv4 address, although IPv4 is embedded in the same 128 bits: `::/0`
/// in a policy means every IPv6 address.
public struct CIDR: Hashable, Sendable {
    /// The first address; bits after the prefix are zero.
    public let network: IPAddress
    /// Significant bits of 128: 96 + n for an IPv4 prefix of length n, as in `struct mesh_cidr_key`.
    public let bits: UInt8

    /// The prefix of `bits` of 128 bits that contains `address`.
    ///
    /// - Precondition: `bits` is at most 128.
    public init(_ address: IPAddress, bits: UInt8) {
        precondition(bits <= 128, "a prefix has at most 128 bits")
        self.network = address.masked(to: bits)
        self.bits = bits
    }

    /// The prefix that contains `address` alone.
    public init(host address: IPAddress) {
        self.init(address, bits: 128)
    }

    /// Every IPv4 address: `0.0.0.0/0`.
    public static let allIPv4 = CIDR(IPAddress(v4: 0), bits: 96)
    /// Every IPv6 address: `::/0`.
    public static let allIPv6 = CIDR(IPAddress(high: 0, low: 0), bits: 0)

    public var isIPv4: Bool { bits >= 96 && network.isIPv4 }

    /// The length as it is written, of 32 for IPv4 and of 128 for IPv6.
    public var length: UInt8 { isIPv4 ? bits - 96 : bits }

    public func contains(_ address: IPAddress) -> Bool {
        address.isIPv4 == isIPv4 && address.masked(to: bits) == network
    }

    /// Whether every address of `other` is in this prefix.
    public func contains(_ other: CIDR) -> Bool {
        other.bits >= bits && contains(other.network) && isIPv4 == other.isIPv4
    }
}

extension CIDR: Comparable {
    /// Orders by network, then shorter prefixes first, so that a prefix precedes those inside it.
    public static func < (left: Self, right: Self) -> Bool {
        left.network == right.network ? left.bits < right.bits : left.network < right.network
    }
}

extension CIDR: LosslessStringConvertible {
    /// Parses `address/length`. Bits after the prefix are dropped, as Kubernetes does.
    ///
    /// A validator that wants to refuse such bits compares ``description`` with the text.
    public init?(_ text: String) {
        guard let slash = text.utf8.lastIndex(of: UInt8(ascii: "/")),
            let address = IPAddress(String(text[..<slash]))
        else { return nil }
        let digits = text[text.utf8.index(after: slash)...].utf8
        guard (1...3).contains(digits.count), digits.count == 1 || digits.first != UInt8(ascii: "0"),
            digits.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) })
        else { return nil }
        let length = digits.reduce(0) { $0 * 10 + Int($1 - UInt8(ascii: "0")) }
        // The text decides the family: ::ffff:0:0/96 is an IPv6 text, and the same prefix as 0.0.0.0/0.
        let written = text[..<slash].utf8.contains(UInt8(ascii: ":")) ? 0 : 96
        guard length + written <= 128 else { return nil }
        self.init(address, bits: UInt8(length + written))
    }

    /// Parses `address/length`, or an address alone as the prefix that holds only it.
    public init?(addressOrPrefix text: String) {
        if let cidr = CIDR(text) {
            self = cidr
        } else if let address = IPAddress(text) {
            self.init(host: address)
        } else {
            return nil
        }
    }

    /// The canonical text, as `10.0.0.0/8` or `fd00::/8`.
    public var description: String { "\(network)/\(length)" }
}

extension IPAddress {
    /// The address with all but its first `bits` bits cleared.
    package func masked(to bits: UInt8) -> IPAddress {
        // Shifting by the width yields 0 in Swift, so 0, 64 and 128 need no special case.
        let high = high & ~(bits >= 64 ? 0 : UInt64.max >> UInt64(bits))
        let low = low & ~(bits <= 64 ? UInt64.max : UInt64.max >> UInt64(bits - 64))
        return IPAddress(high: high, low: low)
    }
}

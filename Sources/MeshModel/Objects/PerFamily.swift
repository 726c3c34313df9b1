// SPDX-License-Identifier: Apache-2.0

/// A value for each address family: by IPv4 a dual-stack pod may lie in other prefixes than by IPv6.
public struct PerFamily<Value: Hashable & Sendable>: Hashable, Sendable {
    public var ipv4: Value
    public var ipv6: Value

    public init(ipv4: Value, ipv6: Value) {
        self.ipv4 = ipv4
        self.ipv6 = ipv6
    }

    public init(both value: Value) { self.init(ipv4: value, ipv6: value) }

    /// The value of the family that `address` belongs to; IPv4-mapped addresses are IPv4.
    public subscript(address: IPAddress) -> Value {
        get { address.isIPv4 ? ipv4 : ipv6 }
        set { if address.isIPv4 { ipv4 = newValue } else { ipv6 = newValue } }
    }

    public func map<Other>(_ transform: (Value) -> Other) -> PerFamily<Other> {
        PerFamily<Other>(ipv4: transform(ipv4), ipv6: transform(ipv6))
    }
}

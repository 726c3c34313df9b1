// SPDX-License-Identifier: Apache-2.0

/// Who somebody is to policy.
public struct IdentityReport: Hashable, Codable, Sendable {
    /// The number in the kernel's maps; 0 unknown, 1 world, 2 host, pods and named address ranges from 256.
    public var number: UInt32
    /// `spiffe://cluster.local/ns/shop/sa/web`, `world`, `host`, `unknown`, or the named address ranges.
    public var name: String

    public init(number: UInt32, name: String) {
        self.number = number
        self.name = name
    }
}

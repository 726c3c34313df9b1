// SPDX-License-Identifier: Apache-2.0

/// What a policy set answers. Raw values are those of `enum mesh_verdict`.
public enum PolicyVerdict: UInt8, Hashable, Sendable {
    case deny = 0
    case allow = 1
    /// Only a node proxy can tell; refused without one.
    case needsProxy = 2
}

/// Which end's policy is asked. Raw values are those of `enum mesh_direction`.
public enum PolicyDirection: UInt8, Hashable, Sendable, CaseIterable {
    case egress = 0
    case ingress = 1
}

/// The number by which the kernel knows a peer. Numbers below ``first`` are reserved (`enum mesh_identity`).
public struct IdentityNumber: RawRepresentable, Hashable, Sendable {
    public let rawValue: UInt32

    public init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    /// Of an address about which the objects disagree; no policy set allows it.
    public static let unknown = IdentityNumber(rawValue: 0)
    /// An address that nothing names.
    public static let world = IdentityNumber(rawValue: 1)
    /// The node itself.
    public static let host = IdentityNumber(rawValue: 2)
    public static let first = IdentityNumber(rawValue: 256)
}

extension IdentityNumber: Comparable, CustomStringConvertible {
    public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }

    public var description: String {
        switch self {
        case .unknown: "unknown"
        case .world: "world"
        case .host: "host"
        default: String(rawValue)
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

/// What a listener inside a pod is for. Of each pod there is one of each.
public struct ListenerKey: Hashable, Sendable {
    public enum Direction: UInt8, Hashable, Sendable, CaseIterable {
        /// For the connections that the pod makes.
        case outbound = 0
        /// For those that are made to it.
        case inbound = 1
    }

    public enum Family: UInt8, Hashable, Sendable, CaseIterable {
        case ipv4 = 4
        case ipv6 = 6
    }

    /// Cookie of the pod's network namespace.
    public let netns: UInt64
    public let direction: Direction
    public let family: Family

    public init(netns: UInt64, direction: Direction, family: Family) {
        self.netns = netns
        self.direction = direction
        self.family = family
    }

    /// All that a pod has.
    public static func all(of netns: UInt64) -> [ListenerKey] {
        Direction.allCases.flatMap { direction in
            Family.allCases.map { ListenerKey(netns: netns, direction: direction, family: $0) }
        }
    }
}

extension ListenerKey: CustomStringConvertible {
    public var description: String {
        "\(direction) \(family == .ipv4 ? "IPv4" : "IPv6") listener of namespace \(netns)"
    }
}

extension ListenerKey: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(netns, direction.rawValue, family.rawValue) }
    public init(from reader: inout ByteReader) throws(WireError) {
        let netns: UInt64 = try reader.read()
        guard let direction = Direction(rawValue: try reader.read()) else { throw reader.failure("no direction") }
        guard let family = Family(rawValue: try reader.read()) else { throw reader.failure("no address family") }
        self.init(netns: netns, direction: direction, family: family)
    }
}

/// A listening socket on a loopback address of a pod; its descriptor travels beside it.
public struct Listener: Hashable, Sendable {
    public let key: ListenerKey
    /// Which the kernel chose.
    public let port: UInt16

    public init(_ key: ListenerKey, port: UInt16) {
        self.key = key
        self.port = port
    }
}

extension Listener: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(key, port) }
    public init(from reader: inout ByteReader) throws(WireError) {
        self.init(try reader.read(), port: try reader.read())
    }
}

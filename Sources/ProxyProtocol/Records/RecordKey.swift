// SPDX-License-Identifier: Apache-2.0

/// What a record of the configuration is. The numbers never change their meaning.
public struct RecordKind: RawRepresentable, Hashable, Sendable {
    public let rawValue: UInt16

    public init(rawValue: UInt16) { self.rawValue = rawValue }

    /// ``ServiceRecord``.
    public static let service = RecordKind(rawValue: 1)
    /// ``WorkloadRecord``.
    public static let workload = RecordKind(rawValue: 2)
    /// `MeshRoute`.
    public static let route = RecordKind(rawValue: 3)
    /// `ReferenceGrant`.
    public static let referenceGrant = RecordKind(rawValue: 4)
    /// ``AuthorizationRecord``.
    public static let authorizationPolicy = RecordKind(rawValue: 5)
    /// ``DestinationRecord``.
    public static let destination = RecordKind(rawValue: 6)
    /// ``NodeRecord``.
    public static let node = RecordKind(rawValue: 7)
    /// ``RemotePodRecord``.
    public static let remotePod = RecordKind(rawValue: 8)
    /// ``VerdictRecord``.
    public static let verdicts = RecordKind(rawValue: 9)
    /// ``VerdictUseRecord``.
    public static let verdictUse = RecordKind(rawValue: 10)
}

extension RecordKind: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(rawValue) }
    public init(from reader: inout ByteReader) throws(WireError) { self.init(rawValue: try reader.read()) }
}

extension RecordKind: CustomStringConvertible {
    public var description: String {
        switch self {
        case .service: "service"
        case .workload: "workload"
        case .route: "route"
        case .referenceGrant: "reference grant"
        case .authorizationPolicy: "authorization policy"
        case .destination: "destination"
        case .node: "node"
        case .remotePod: "remote pod"
        case .verdicts: "verdicts"
        case .verdictUse: "use of verdicts"
        default: "kind \(rawValue)"
        }
    }
}

/// Names a record among all others.
public struct RecordKey: Hashable, Sendable {
    public let kind: RecordKind
    /// For people too: `shop/web:80`.
    public let name: String

    public init(_ kind: RecordKind, _ name: String) {
        self.kind = kind
        self.name = name
    }
}

extension RecordKey: Comparable, CustomStringConvertible {
    /// By kind, then by the bytes of the name.
    public static func < (left: Self, right: Self) -> Bool {
        left.kind == right.kind
            ? left.name.utf8.lexicographicallyPrecedes(right.name.utf8) : left.kind.rawValue < right.kind.rawValue
    }

    public var description: String { "\(kind) \(name)" }
}

extension RecordKey: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(kind, name) }
    public init(from reader: inout ByteReader) throws(WireError) { self.init(try reader.read(), try reader.read()) }
}

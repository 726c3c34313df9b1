// SPDX-License-Identifier: Apache-2.0

public import MeshModel

/// A record of the proxy's configuration, read.
public enum ProxyRecord: Hashable, Sendable {
    case service(ServiceRecord)
    case workload(WorkloadRecord)
    case route(MeshRoute)
    case referenceGrant(ReferenceGrant)
    case authorizationPolicy(AuthorizationRecord)
    case destination(DestinationRecord)
    case node(NodeRecord)
    case remotePod(RemotePodRecord)
    case verdicts(VerdictRecord)
    case verdictUse(VerdictUseRecord)

    public var key: RecordKey {
        switch self {
        case .service(let record): record.key
        case .workload(let record): record.key
        case .authorizationPolicy(let record): record.key
        case .destination(let record): record.key
        case .node(let record): record.key
        case .remotePod(let record): record.key
        case .verdicts(let record): record.key
        case .verdictUse(let record): record.key
        case .route(let route): RecordKey(.route, "\(route.reference)")
        case .referenceGrant(let grant): RecordKey(.referenceGrant, "\(grant.metadata.namespacedName)")
        }
    }

    /// Without the key.
    public var wire: [UInt8] {
        switch self {
        case .service(let record): record.wire
        case .workload(let record): record.wire
        case .authorizationPolicy(let record): record.wire
        case .destination(let record): record.wire
        case .node(let record): record.wire
        case .remotePod(let record): record.wire
        case .verdicts(let record): record.wire
        case .verdictUse(let record): record.wire
        case .route(let route): route.wire
        case .referenceGrant(let grant): grant.wire
        }
    }

    /// - Throws: ``WireError`` for malformed bytes, a kind that this version does not know (what it means could not be
    ///   kept), and a key that is not that of the record.
    public init(_ key: RecordKey, _ value: [UInt8]) throws(WireError) {
        switch key.kind {
        case .service: self = .service(try ServiceRecord(wire: value))
        case .workload: self = .workload(try WorkloadRecord(wire: value))
        case .route: self = .route(try MeshRoute(wire: value))
        case .referenceGrant: self = .referenceGrant(try ReferenceGrant(wire: value))
        case .authorizationPolicy: self = .authorizationPolicy(try AuthorizationRecord(wire: value))
        case .destination: self = .destination(try DestinationRecord(wire: value))
        case .node: self = .node(try NodeRecord(wire: value))
        case .remotePod: self = .remotePod(try RemotePodRecord(wire: value))
        case .verdicts: self = .verdicts(try VerdictRecord(wire: value))
        case .verdictUse: self = .verdictUse(try VerdictUseRecord(wire: value))
        default: throw WireError(offset: 0, "records of \(key.kind) are not known to this version")
        }
        guard self.key == key else { throw WireError(offset: 0, "the record is \(self.key)") }
    }
}

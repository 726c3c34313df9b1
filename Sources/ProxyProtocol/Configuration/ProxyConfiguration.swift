// SPDX-License-Identifier: Apache-2.0

public import MeshModel

/// A generation of the configuration with its records read: what an engine builds its tables from.
public struct ProxyConfiguration: Hashable, Sendable {
    public var generation: UInt64
    /// By Service and port.
    public var services: [ServiceRecord] = []
    public var workloads: [WorkloadRecord] = []
    public var routes: [MeshRoute] = []
    public var grants: [ReferenceGrant] = []
    public var authorizations: [AuthorizationRecord] = []
    public var destinations: [DestinationRecord] = []
    public var node: NodeRecord?
    public var remotePods: [RemotePodRecord] = []
    public var verdicts: [VerdictRecord] = []
    public var verdictUses: [VerdictUseRecord] = []

    /// Nothing: the state before an agent has sent anything.
    public static let empty = ProxyConfiguration(generation: 0)

    private init(generation: UInt64) { self.generation = generation }

    /// - Throws: ``RecordError`` for the first record, by its key, that cannot be read. Not one is passed over: without
    ///   a route or a policy, requests would go where they must not.
    public init(_ state: ConfigurationState) throws(RecordError) {
        self.init(generation: state.generation)
        for (key, value) in state.records.sorted(by: { $0.key < $1.key }) {
            do throws(WireError) {
                switch try ProxyRecord(key, value) {
                case .service(let record): services.append(record)
                case .workload(let record): workloads.append(record)
                case .route(let route): routes.append(route)
                case .referenceGrant(let grant): grants.append(grant)
                case .authorizationPolicy(let record): authorizations.append(record)
                case .destination(let record): destinations.append(record)
                case .node(let record): node = record
                case .remotePod(let record): remotePods.append(record)
                case .verdicts(let record): verdicts.append(record)
                case .verdictUse(let record): verdictUses.append(record)
                }
            } catch {
                throw RecordError(key: key, cause: error)
            }
        }
    }
}

/// A record that cannot be read.
public struct RecordError: Error, Hashable, Sendable, CustomStringConvertible {
    public let key: RecordKey
    public let cause: WireError

    public var description: String { "\(key): \(cause)" }
}

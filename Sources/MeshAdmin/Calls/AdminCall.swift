// SPDX-License-Identifier: Apache-2.0

/// What a caller must be allowed to do.
public enum AdminAccess: String, Sendable {
    /// Sees the state of the node: root, the admin group and the write group.
    case read
    /// Changes it: root and the write group.
    case write
}

/// One method of the admin protocol, as a value: its arguments, its name and the type of what comes back.
///
/// The encoded form of the arguments and of the items is public API: `meshctl -o json` prints the items as they
/// are. Fields may be added; a field's name and meaning never change within a protocol version.
public protocol AdminCall: Codable, Equatable, Sendable {
    /// The type of each item of the answer.
    associatedtype Item: Codable & Equatable & Sendable
    /// The name on the wire.
    static var method: String { get }
    /// What the caller must be allowed to do.
    static var access: AdminAccess { get }
}

/// A call as the server decodes it.
public enum AdminRequest: Equatable, Sendable {
    case status(StatusRequest)
    case generations(GenerationsRequest)
    case workloads(WorkloadsRequest)
    case services(ServicesRequest)
    case routes(RoutesRequest)
    case identities(IdentitiesRequest)
    case renewIdentities(RenewIdentitiesRequest)
    case authority(AuthorityRequest)
    case rotateAuthority(RotateAuthorityRequest)
    case connections(ConnectionsRequest)
    case flows(FlowsRequest)
    case policies(PoliciesRequest)
    case applyPolicies(ApplyPoliciesRequest)
    case deletePolicy(DeletePolicyRequest)
    case diffPolicies(DiffPoliciesRequest)
    case rollbackPolicies(RollbackPoliciesRequest)
    case explain(ExplainRequest)
    case prepareRun(PrepareRunRequest)
    case uninstall(UninstallRequest)
    case metrics(MetricsRequest)

    /// What the caller must be allowed to do.
    public var access: AdminAccess {
        switch self {
        case .status: StatusRequest.access
        case .generations: GenerationsRequest.access
        case .workloads: WorkloadsRequest.access
        case .services: ServicesRequest.access
        case .routes: RoutesRequest.access
        case .identities: IdentitiesRequest.access
        case .renewIdentities: RenewIdentitiesRequest.access
        case .authority: AuthorityRequest.access
        case .rotateAuthority: RotateAuthorityRequest.access
        case .connections: ConnectionsRequest.access
        case .flows: FlowsRequest.access
        case .policies: PoliciesRequest.access
        case .applyPolicies: ApplyPoliciesRequest.access
        case .deletePolicy: DeletePolicyRequest.access
        case .diffPolicies: DiffPoliciesRequest.access
        case .rollbackPolicies: RollbackPoliciesRequest.access
        case .explain: ExplainRequest.access
        case .prepareRun: PrepareRunRequest.access
        case .uninstall: UninstallRequest.access
        case .metrics: MetricsRequest.access
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

public import LinuxIO

/// Who makes a call.
public struct AdminCaller: Hashable, Sendable, CustomStringConvertible {
    public var credentials: PeerCredentials

    public init(credentials: PeerCredentials) {
        self.credentials = credentials
    }

    /// `root (uid 0)`, for logs and histories.
    public var description: String {
        let number = "uid \(credentials.user)"
        return Accounts.nameFromFile(.users, number: credentials.user).map { "\($0) (\(number))" } ?? number
    }
}

/// What an agent answers to the calls of the admin protocol.
///
/// Every method runs on the thread of the server's event loop, so it must not block. Rights are already checked.
/// Lists are pulled item by item as the client reads them, also after the method has returned: a sequence that
/// computes its items must not depend on state that may change meanwhile.
public protocol AdminHandler: AnyObject {
    /// Why the node is not ready; empty when it is. Cheap: asked often while a client waits.
    func notReady() -> [String]
    func status() throws(AdminError) -> StatusReport
    /// Newest first.
    func generations(_ request: GenerationsRequest) throws(AdminError) -> any Sequence<GenerationReport>
    func workloads(_ request: WorkloadsRequest) throws(AdminError) -> any Sequence<WorkloadReport>
    func services(_ request: ServicesRequest) throws(AdminError) -> any Sequence<ServiceReport>
    /// - Throws: ``AdminError`` `conflict` where no proxy runs.
    func routes(_ request: RoutesRequest) throws(AdminError) -> any Sequence<RouteReport>
    /// - Throws: ``AdminError`` `conflict` where pods have no certificates.
    func identities(_ request: IdentitiesRequest) throws(AdminError) -> any Sequence<CertificateReport>
    func renewIdentities(
        _ request: RenewIdentitiesRequest, by caller: AdminCaller
    ) throws(AdminError) -> any Sequence<CertificateReport>
    /// - Throws: ``AdminError`` `conflict` where there is no authority.
    func authority() throws(AdminError) -> AuthorityReport
    /// - Throws: the same; also if the step cannot be taken now.
    func rotateAuthority(
        _ request: RotateAuthorityRequest, by caller: AdminCaller
    ) throws(AdminError) -> AuthorityReport
    func connections(_ request: ConnectionsRequest) throws(AdminError) -> any Sequence<ConnectionReport>
    /// Returns the remembered events that `request` selects, oldest first.
    ///
    /// - Parameter follower: with `follow`, takes the events to come until it is cancelled.
    func flows(
        _ request: FlowsRequest, follower: Responder<FlowEvent>?
    ) throws(AdminError) -> any Sequence<FlowEvent>
    /// - Throws: ``AdminError`` `notFound` if a policy is named that does not exist.
    func policies(_ request: PoliciesRequest) throws(AdminError) -> any Sequence<PolicyReport>
    func diffPolicies(_ request: DiffPoliciesRequest) throws(AdminError) -> PolicyDiff
    func explain(_ request: ExplainRequest) throws(AdminError) -> ExplainReport
    /// The following answer when the kernel enforces the change.
    func applyPolicies(
        _ request: ApplyPoliciesRequest, by caller: AdminCaller, _ responder: Responder<PolicyChangeResult>)
    func deletePolicy(
        _ request: DeletePolicyRequest, by caller: AdminCaller, _ responder: Responder<PolicyChangeResult>)
    func rollbackPolicies(
        _ request: RollbackPoliciesRequest, by caller: AdminCaller, _ responder: Responder<PolicyChangeResult>)
    /// The parts of the page, once the proxy has said its own.
    func metrics(_ request: MetricsRequest, _ responder: Responder<MetricsPart>)
    func prepareRun(_ request: PrepareRunRequest, by caller: AdminCaller) throws(AdminError) -> RunTarget
    /// Sends one item per step. The agent stops when the last was sent: ``Responder/finish(whenSent:)``.
    func uninstall(_ request: UninstallRequest, by caller: AdminCaller, _ responder: Responder<UninstallStep>)
}

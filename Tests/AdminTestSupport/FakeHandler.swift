// SPDX-License-Identifier: Apache-2.0

import LinuxIO
public import MeshAdmin

/// A handler with fixed answers, which a test steers through what it asks for.
public final class FakeHandler: AdminHandler {
    let loop: EventLoop
    var reasons: [String] = []
    var run = Samples.run
    var asked = 0
    /// Followers that the client has left.
    var cancelled = 0

    init(loop: EventLoop) {
        self.loop = loop
    }

    public func notReady() -> [String] {
        asked += 1
        if asked == 3, reasons == ["starting"] { reasons = ["pod shop/web is pending"] }
        if asked == 5, reasons != ["never"] { reasons = [] }
        return reasons
    }

    public func status() throws(AdminError) -> StatusReport {
        Samples.status(notReady: reasons)
    }

    public func generations(_ request: GenerationsRequest) throws(AdminError) -> any Sequence<GenerationReport> {
        [Samples.generation]
    }

    /// As many as the namespace says, each of about 1 KB.
    public func workloads(_ request: WorkloadsRequest) throws(AdminError) -> any Sequence<WorkloadReport> {
        let count = request.namespace.flatMap { Int($0) } ?? 1
        return (0..<count).lazy.map { Samples.workload(number: $0) }
    }

    /// One item that is larger than the limit of a message, if the namespace is `huge`.
    public func services(_ request: ServicesRequest) throws(AdminError) -> any Sequence<ServiceReport> {
        guard request.namespace == "huge" else { return [Samples.service] }
        var service = Samples.service
        service.name = String(repeating: "x", count: 2 << 20)
        return [Samples.service, service]
    }

    public func routes(_ request: RoutesRequest) throws(AdminError) -> any Sequence<RouteReport> { [Samples.route] }

    public func identities(_ request: IdentitiesRequest) throws(AdminError) -> any Sequence<CertificateReport> {
        [Samples.certificate]
    }

    public func renewIdentities(
        _ request: RenewIdentitiesRequest, by caller: AdminCaller
    ) throws(AdminError) -> any Sequence<CertificateReport> { [Samples.certificate] }

    public func authority() throws(AdminError) -> AuthorityReport { Samples.authority }

    public func rotateAuthority(
        _ request: RotateAuthorityRequest, by caller: AdminCaller
    ) throws(AdminError) -> AuthorityReport { Samples.authority }

    public func connections(_ request: ConnectionsRequest) throws(AdminError) -> any Sequence<ConnectionReport> {
        throw AdminError(.failed, "the map is gone", hint: "restart the agent")
    }

    /// Remembers two events; a follower gets as many more as `last` says, all at once.
    public func flows(
        _ request: FlowsRequest, follower: Responder<FlowEvent>?
    ) throws(AdminError) -> any Sequence<FlowEvent> {
        if let follower {
            follower.onCancel = { [self] in
                cancelled += 1
                loop.stop()
            }
            for number in 0..<(request.last ?? 0) { follower.send(Samples.flow(number: UInt32(2 + number))) }
        }
        return [Samples.flow(number: 0), Samples.flow(number: 1)]
    }

    public func policies(_ request: PoliciesRequest) throws(AdminError) -> any Sequence<PolicyReport> {
        guard let name = request.name else { return [] }
        throw AdminError(.notFound, "there is no policy \(name)")
    }

    public func diffPolicies(_ request: DiffPoliciesRequest) throws(AdminError) -> PolicyDiff {
        PolicyDiff(entries: [], findings: [])
    }

    public func explain(_ request: ExplainRequest) throws(AdminError) -> ExplainReport { Samples.explain }

    /// Answers later, so that the client waits for what happens outside the call.
    public func applyPolicies(
        _ request: ApplyPoliciesRequest, by caller: AdminCaller, _ responder: Responder<PolicyChangeResult>
    ) {
        responder.progress("\(caller) sent \(request.files.map(\.content.utf8.count).reduce(0, +)) bytes")
        loop.schedule(after: .milliseconds(5)) {
            guard request.files.contains(where: { $0.content == "bad" }) else {
                return responder.succeed(Samples.change)
            }
            responder.fail(
                AdminError(
                    .invalidInput, "1 of 1 documents is refused",
                    findings: [Finding(.error, "not a policy", file: "a.yaml", line: 1)]))
            responder.succeed(Samples.change)
        }
    }

    public func deletePolicy(
        _ request: DeletePolicyRequest, by caller: AdminCaller, _ responder: Responder<PolicyChangeResult>
    ) { responder.succeed(Samples.change) }

    public func rollbackPolicies(
        _ request: RollbackPoliciesRequest, by caller: AdminCaller, _ responder: Responder<PolicyChangeResult>
    ) { responder.succeed(Samples.change) }

    public func prepareRun(_ request: PrepareRunRequest, by caller: AdminCaller) throws(AdminError) -> RunTarget {
        run
    }

    /// Answers later, in parts that are more than a client is kept for.
    public func metrics(_ request: MetricsRequest, _ responder: Responder<MetricsPart>) {
        loop.schedule(after: .milliseconds(5)) {
            responder.list((0..<64).map { MetricsPart(text: Samples.metrics(number: $0)) })
        }
    }

    /// The agent ends with the last step.
    public func uninstall(_ request: UninstallRequest, by caller: AdminCaller, _ responder: Responder<UninstallStep>) {
        for number in 0..<100 { responder.send(UninstallStep("step \(number)", .removed)) }
        responder.finish { [self] in loop.stop() }
    }
}

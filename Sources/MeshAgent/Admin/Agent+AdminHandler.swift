// SPDX-License-Identifier: Apache-2.0
import Glibc
import Identity
import IdentityProviders
import LinuxIO
import Logging
public import MeshAdmin
import MeshManifests
import MeshModel
import SockOps

/// The calls of the admin protocol; each is a few lines here and a report in a file of its own.
extension Agent: AdminHandler {
    /// The running node.
    ///
    /// - Throws: ``AdminError`` `busy` once it is uninstalled.
    func running() throws(AdminError) -> Node {
        guard let node else { throw AdminError(.busy, "the node is being uninstalled") }
        return node
    }

    public func notReady() -> [String] {
        guard let node else { return ["the node is being uninstalled"] }
        return StatusReporter.notReady(node, supervisor)
    }

    public func status() throws(AdminError) -> StatusReport {
        try StatusReporter(
            running(), configuration, uptime: started.duration(to: .now), supervisor
        ).report()
    }

    public func generations(_ request: GenerationsRequest) throws(AdminError) -> any Sequence<GenerationReport> {
        let state = try running().state
        let current = state.reconciler.writer.tables.generation
        let oldest = state.writer.applied.generations.first.map { $0.number - 1 } ?? state.writer.applied.generation
        let reports = state.numbers.generations.reversed().map { record in
            GenerationReport(
                generation: record.generation, time: record.time, cause: record.cause, changes: record.changes,
                current: record.generation == current, restorable: record.applied >= oldest)
        }
        return Array(reports.prefix(request.limit ?? .max))
    }

    public func workloads(_ request: WorkloadsRequest) throws(AdminError) -> any Sequence<WorkloadReport> {
        try WorkloadReporter(running()).reports(request)
    }

    public func services(_ request: ServicesRequest) throws(AdminError) -> any Sequence<ServiceReport> {
        try ServiceReporter(running()).reports(request)
    }

    public func routes(_ request: RoutesRequest) throws(AdminError) -> any Sequence<RouteReport> {
        try RouteReporter(running()).reports(request)
    }

    public func identities(_ request: IdentitiesRequest) throws(AdminError) -> any Sequence<CertificateReport> {
        try keeper().reports(request)
    }

    public func renewIdentities(
        _ request: RenewIdentitiesRequest, by caller: AdminCaller
    ) throws(AdminError) -> any Sequence<CertificateReport> {
        let keeper = try self.keeper()
        logger.notice("certificates are renewed", metadata: ["caller": "\(caller)"])
        let which = IdentitiesRequest(namespace: request.namespace)
        keeper.renew(which)
        return keeper.reports(which)
    }

    public func authority() throws(AdminError) -> AuthorityReport { AuthorityReport(try localAuthority().description) }

    public func rotateAuthority(
        _ request: RotateAuthorityRequest, by caller: AdminCaller
    ) throws(AdminError) -> AuthorityReport {
        let authority = try localAuthority()
        logger.notice(
            "what signs is changed", metadata: ["step": "\(request.step.rawValue)", "caller": "\(caller)"])
        try authority.rotate(request)
        return AuthorityReport(authority.description)
    }

    public func connections(_ request: ConnectionsRequest) throws(AdminError) -> any Sequence<ConnectionReport> {
        let node = try running()
        var list = ConnectionList()
        do throws(BPFError) {
            try node.writer.plane.maps.ends.forEach { list.add(ConnectionEnd(key: $0, end: $1)) }
        } catch {
            throw AdminError(.failed, "connections cannot be read: \(error)")
        }
        let reports = list.reports(now: FlowReader.monotonicNanoseconds(), names: AgentNames(node.state.reconciler))
        let matching = reports.filter { report in
            request.workload.map { $0.matches(report.source) || $0.matches(report.destination) } ?? true
        }
        return Array(matching.prefix(request.limit ?? .max))
    }

    public func flows(
        _ request: FlowsRequest, follower: Responder<FlowEvent>?
    ) throws(AdminError) -> any Sequence<FlowEvent> {
        let node = try running()
        node.drainFlows()
        let events = node.flows.events(request.filter, last: request.last)
        if let follower { node.flows.follow(request.filter, follower) }
        return events
    }

    public func policies(_ request: PoliciesRequest) throws(AdminError) -> any Sequence<PolicyReport> {
        try PolicyCalls(running().state).reports(request)
    }

    public func diffPolicies(_ request: DiffPoliciesRequest) throws(AdminError) -> PolicyDiff {
        try PolicyCalls(running().state).diff(request)
    }

    public func explain(_ request: ExplainRequest) throws(AdminError) -> ExplainReport {
        try Explainer(running()).explain(request)
    }

    public func applyPolicies(
        _ request: ApplyPoliciesRequest, by caller: AdminCaller, _ responder: Responder<PolicyChangeResult>
    ) {
        answer(responder) { calls throws(AdminError) in
            try calls.apply(request, cause: "apply by \(caller)")
        }
    }

    public func deletePolicy(
        _ request: DeletePolicyRequest, by caller: AdminCaller, _ responder: Responder<PolicyChangeResult>
    ) {
        answer(responder) { calls throws(AdminError) in
            try calls.delete(request, cause: "delete by \(caller)")
        }
    }

    public func rollbackPolicies(
        _ request: RollbackPoliciesRequest, by caller: AdminCaller, _ responder: Responder<PolicyChangeResult>
    ) {
        answer(responder) { calls throws(AdminError) in
            try calls.rollback(request, caller: "\(caller)")
        }
    }

    /// When it is in force and durable. Meanwhile other calls are answered.
    private func answer(
        _ responder: Responder<PolicyChangeResult>,
        _ body: @escaping (PolicyCalls) throws(AdminError) -> PolicyChangeResult
    ) {
        let began = ContinuousClock.now
        let change = { [self] in
            do throws(AdminError) {
                let state = try running().state
                let result = try body(PolicyCalls(state, since: began))
                state.writer.whenSettled { problem in
                    guard let problem else { return responder.succeed(result) }
                    responder.fail(
                        AdminError(
                            .failed, "in force as generation \(result.generation), but \(problem)",
                            hint: """
                                a restart of the agent keeps it; the disk is tried again soon, and before the next change
                                """))
                }
            } catch {
                responder.fail(error)
            }
        }
        guard let node else { return change() }
        node.perform { [writer = node.state.writer] in writer.perform(change) }
    }

    public func prepareRun(_ request: PrepareRunRequest, by caller: AdminCaller) throws(AdminError) -> RunTarget {
        let node = try running()
        let name = NamespacedName(namespace: request.namespace, name: request.name)
        let reference = ObjectReference(apiVersion: "v1", kind: "Pod", namespace: name.namespace, name: name.name)
        guard case .pod(let pod)? = node.state.store.objects[reference], node.state.isLocal(pod) else {
            throw AdminError(
                .notFound, "no Pod \(name) is known on this node", hint: "meshctl workloads --all lists all pods")
        }
        let namespace = try Self.namespaceToRunIn(pod, node)
        let cgroup = Cgroup(path: "\(configuration.cgroup)/pods/\(name.namespace)_\(name.name)")
        do throws(SystemError) { try cgroup.create() } catch {
            throw AdminError(.failed, "the cgroup of Pod \(name) cannot be made: \(error)")
        }
        return RunTarget(
            netns: namespace.path, netnsCookie: namespace.cookie, cgroup: cgroup.path,
            redirection: WorkloadReporter.redirection(of: name, node.state.reconciler.enrolment))
    }

    /// A pod that asks for the mesh takes no process before its policy is in force; one that does not ask runs plainly.
    private static func namespaceToRunIn(_ pod: Pod, _ node: Node) throws(AdminError) -> PodNamespace {
        let name = pod.namespacedName
        if let member = node.state.reconciler.enrolment.members[name] {
            if member.force == .policy, let namespace = member.namespace { return namespace }
            let state = WorkloadReporter.redirection(of: name, node.state.reconciler.enrolment)
            throw AdminError(
                .busy, "the policy of Pod \(name) is not in force: it is \(state.text)",
                hint: "nothing is started in it before; meshctl workloads shows when it is enabled")
        }
        do throws(EnrolmentFailure) { return try PodProbe(nodeNetns: node.nodeNetns).inspect(pod) } catch {
            throw AdminError(.failed, "Pod \(name) has no network namespace to run in: \(error)")
        }
    }

    public func metrics(_ request: MetricsRequest, _ responder: Responder<MetricsPart>) {
        askMetrics { responder.list(MetricsPart.parts(of: $0)) }
    }

    public func uninstall(_ request: UninstallRequest, by caller: AdminCaller, _ responder: Responder<UninstallStep>) {
        logger.notice("uninstalling", metadata: ["caller": "\(caller)", "purge": "\(request.purge)"])
        releaseNode()
        do throws(AdminError) {
            try LocalNode(configuration).uninstall(purge: request.purge) { responder.send($0) }
            responder.finish { [loop] in loop.stop() }
        } catch {
            logger.error("not uninstalled", metadata: ["error": "\(error)"])
            responder.fail(error)
            // Without a node there is nothing left to do; running the command again goes on without an agent.
            loop.schedule(after: .seconds(1)) { [loop] in loop.stop() }
        }
    }
}

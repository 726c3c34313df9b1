// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import Glibc
import LinuxIO
import MeshAdmin
import Testing

/// A handler with fixed answers, which a test steers through what it asks for.
final class FakeHandler: AdminHandler {
    let loop: EventLoop
    var reasons: [String] = []
    var asked = 0
    /// Followers that the client has left.
    var cancelled = 0

    init(loop: EventLoop) {
        self.loop = loop
    }

    func notReady() -> [String] {
        asked += 1
        if asked == 3, reasons == ["starting"] { reasons = ["pod shop/web is pending"] }
        if asked == 5, reasons != ["never"] { reasons = [] }
        return reasons
    }

    func status() throws(AdminError) -> StatusReport {
        Samples.status(notReady: reasons)
    }

    func generations(_ request: GenerationsRequest) throws(AdminError) -> any Sequence<GenerationReport> {
        [Samples.generation]
    }

    /// As many as the namespace says, each of about 1 KB.
    func workloads(_ request: WorkloadsRequest) throws(AdminError) -> any Sequence<WorkloadReport> {
        let count = request.namespace.flatMap { Int($0) } ?? 1
        return (0..<count).lazy.map { Samples.workload(number: $0) }
    }

    /// One item that is larger than the limit of a message, if the namespace is `huge`.
    func services(_ request: ServicesRequest) throws(AdminError) -> any Sequence<ServiceReport> {
        guard request.namespace == "huge" else { return [Samples.service] }
        var service = Samples.service
        service.name = String(repeating: "x", count: 2 << 20)
        return [Samples.service, service]
    }

    func connections(_ request: ConnectionsRequest) throws(AdminError) -> any Sequence<ConnectionReport> {
        throw AdminError(.failed, "the map is gone", hint: "restart the agent")
    }

    /// Remembers two events; a follower gets as many more as `last` says, all at once.
    func flows(
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

    func policies(_ request: PoliciesRequest) throws(AdminError) -> any Sequence<PolicyReport> {
        guard let name = request.name else { return [] }
        throw AdminError(.notFound, "there is no policy \(name)")
    }

    func diffPolicies(_ request: DiffPoliciesRequest) throws(AdminError) -> PolicyDiff {
        PolicyDiff(entries: [], findings: [])
    }

    func explain(_ request: ExplainRequest) throws(AdminError) -> ExplainReport { Samples.explain }

    /// Answers later, so that the client waits for what happens outside the call.
    func applyPolicies(
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

    func deletePolicy(
        _ request: DeletePolicyRequest, by caller: AdminCaller, _ responder: Responder<PolicyChangeResult>
    ) { responder.succeed(Samples.change) }

    func rollbackPolicies(
        _ request: RollbackPoliciesRequest, by caller: AdminCaller, _ responder: Responder<PolicyChangeResult>
    ) { responder.succeed(Samples.change) }

    func prepareRun(_ request: PrepareRunRequest, by caller: AdminCaller) throws(AdminError) -> RunTarget {
        RunTarget(netns: "/run/netns/web", netnsCookie: 7, cgroup: "/c", redirection: RedirectionReport(.enabled))
    }

    /// The agent ends with the last step.
    func uninstall(_ request: UninstallRequest, by caller: AdminCaller, _ responder: Responder<UninstallStep>) {
        for number in 0..<100 { responder.send(UninstallStep("step \(number)", .removed)) }
        responder.finish { [self] in loop.stop() }
    }
}

/// A server with a ``FakeHandler`` on a thread of its own, and a directory for its socket.
struct FakeAgent: ~Copyable {
    /// What is left when the server has stopped.
    final class Outcome: Sendable {
        nonisolated(unsafe) var cancelled = 0  // Written by the server's thread, read after it was joined.
        nonisolated(unsafe) var clients = 0  // As above.
    }

    let directory: String
    let socket: String
    private let outcome = Outcome()
    /// Closing it stops the server.
    private var stopper: OwnedDescriptor?
    private var thread: TestThread?

    init(
        authorization: AdminAuthorization = AdminAuthorization(), limits: AdminLimits = AdminLimits(),
        reasons: [String] = []
    ) throws {
        let directory = try TestDirectory.make()
        let socket = "\(directory)/run/n1.sock"
        var ends: [CInt] = [-1, -1]
        try #require(pipe(&ends) == 0)
        stopper = OwnedDescriptor(adopting: ends[1])
        let reading = ends[0]
        let outcome = outcome
        thread = try TestThread {
            let stop = OwnedDescriptor(adopting: reading)
            let loop = try EventLoop()
            let handler = FakeHandler(loop: loop)
            handler.reasons = reasons
            let server = try AdminServer(
                on: loop, path: socket, name: "mesh-agent test", node: "n1", authorization: authorization,
                limits: limits, handler: handler)
            try loop.watch(stop.rawValue, for: .readable) { _ in loop.stop() }
            try loop.run()
            // One more turn for what a stopped client left behind.
            try loop.turn(waitingAtMost: .milliseconds(1))
            outcome.clients = server.clientCount
            server.close()
            outcome.cancelled = handler.cancelled
        }
        self.directory = directory
        self.socket = socket
        for _ in 0..<2000 where access(socket, F_OK) != 0 { usleep(1000) }
    }

    /// Stops the server, waits for it, and removes its directory.
    consuming func stop() throws -> Outcome {
        stopper = nil
        try thread.take()?.join()
        TestDirectory.remove(directory)
        return outcome
    }

    /// Waits for a server that stops by itself.
    consuming func join() throws -> Outcome {
        try thread.take()?.join()
        TestDirectory.remove(directory)
        return outcome
    }

    func client() throws -> AdminClient { try AdminClient(path: socket, name: "test") }
}

/// A directory that others may enter, unlike what mkdtemp makes.
enum TestDirectory {
    static func make() throws -> String {
        var template = Array("/tmp/meshadmin-XXXXXX".utf8CString)
        let path = try #require(mkdtemp(&template).map { String(cString: $0) })
        try #require(chmod(path, 0o755) == 0)
        return path
    }

    static func remove(_ path: String) {
        try? FileManager.default.removeItem(atPath: path)
    }
}

// SPDX-License-Identifier: Apache-2.0

public import LinuxIO

/// Serves the admin protocol on a Unix socket, on the thread of an ``EventLoop``.
///
/// Never waits for a client: whoever does not read gets less, and a client that is silent for too long is
/// disconnected. Memory per client is bounded by ``AdminLimits``.
public final class AdminServer {
    let name: String
    let node: String
    let limits: AdminLimits
    let authorization: AdminAuthorization
    private let loop: EventLoop
    private let listener: UnixListener
    private unowned let handler: any AdminHandler
    private var watch: EventLoop.Watch?
    private var sessions: [ObjectIdentifier: AdminSession] = [:]

    /// How long no connection is accepted after the process ran out of descriptors.
    private static let acceptPause = Duration.seconds(1)

    /// Starts to listen.
    ///
    /// - Parameters:
    ///   - path: of the socket; missing directories are made. The file gets mode 0660 and the group that
    ///     `authorization` names, or 0600.
    ///   - name: program and version, `mesh-agent 0.1.0`.
    ///   - handler: must outlive the server.
    /// - Throws: ``SystemError``; EADDRINUSE if another agent listens.
    public init(
        on loop: EventLoop, path: String, name: String, node: String, authorization: AdminAuthorization,
        limits: AdminLimits = AdminLimits(), handler: any AdminHandler
    ) throws(SystemError) {
        if let slash = path.lastIndex(of: "/"), slash != path.startIndex {
            try Mounts.makeDirectories(String(path[..<slash]), mode: 0o755)
        }
        let group = authorization.socketGroup
        listener = try UnixListener(path: path, group: group?.number, mode: group == nil ? 0o600 : 0o660)
        self.loop = loop
        self.name = name
        self.node = node
        self.authorization = authorization
        self.limits = limits
        self.handler = handler
        try listen()
    }

    /// Ends all connections and stops listening. The socket file goes with the server.
    public func close() {
        if let watch { loop.unwatch(watch) }
        watch = nil
        for session in sessions.values { session.close() }
    }

    /// Clients connected now.
    public var clientCount: Int { sessions.count }

    func remove(_ session: AdminSession) {
        sessions[ObjectIdentifier(session)] = nil
    }

    /// Calls the handler. What it throws is the answer.
    func dispatch(
        _ request: AdminRequest, id: UInt64, caller: AdminCaller, session: AdminSession
    ) throws(AdminError) {
        switch request {
        case .status(let request) where request.wait:
            session.waitForReady(id: id, timeout: request.timeoutSeconds.map { .seconds($0) }, handler: handler)
        case .status: session.list([try handler.status()], id: id)
        case .generations(let request): session.list(try handler.generations(request), id: id)
        case .workloads(let request): session.list(try handler.workloads(request), id: id)
        case .services(let request): session.list(try handler.services(request), id: id)
        case .routes(let request): session.list(try handler.routes(request), id: id)
        case .identities(let request): session.list(try handler.identities(request), id: id)
        case .renewIdentities(let request): session.list(try handler.renewIdentities(request, by: caller), id: id)
        case .authority: session.list([try handler.authority()], id: id)
        case .rotateAuthority(let request):
            session.list([try handler.rotateAuthority(request, by: caller)], id: id)
        case .connections(let request): session.list(try handler.connections(request), id: id)
        case .flows(let request):
            let follower: Responder<FlowEvent>? = request.follow ? session.follower(id: id) : nil
            session.list(try handler.flows(request, follower: follower), id: id, following: request.follow)
        case .policies(let request): session.list(try handler.policies(request), id: id)
        case .diffPolicies(let request): session.list([try handler.diffPolicies(request)], id: id)
        case .explain(let request): session.list([try handler.explain(request)], id: id)
        case .applyPolicies(let request): handler.applyPolicies(request, by: caller, session.responder(id: id))
        case .deletePolicy(let request): handler.deletePolicy(request, by: caller, session.responder(id: id))
        case .rollbackPolicies(let request): handler.rollbackPolicies(request, by: caller, session.responder(id: id))
        case .prepareRun(let request): session.list([try handler.prepareRun(request, by: caller)], id: id)
        case .uninstall(let request): handler.uninstall(request, by: caller, session.responder(id: id))
        case .metrics(let request): handler.metrics(request, session.responder(id: id))
        }
    }

    private func listen() throws(SystemError) {
        watch = try loop.watch(listener.descriptor, for: .readable) { [weak self] _ in self?.accept() }
    }

    private func accept() {
        do throws(SystemError) {
            while let stream = try listener.accept() {
                let peer = try stream.peer()
                let session = try AdminSession(stream, peer: peer, loop: loop, server: self)
                sessions[ObjectIdentifier(session)] = session
                session.start()
                let reserved = peer.user == 0 ? 0 : limits.clientsReservedForRoot
                if sessions.count > limits.clients - reserved {
                    session.refuse(
                        AdminError(
                            .busy, "\(name) already has \(sessions.count - 1) clients", hint: "try again later"))
                }
            }
        } catch {
            // Out of descriptors or memory. The connection stays in the queue, so an immediate retry would spin.
            if let watch { loop.unwatch(watch) }
            watch = nil
            loop.schedule(after: Self.acceptPause) { [weak self] in
                guard let self else { return }
                do throws(SystemError) { try self.listen() } catch { self.accept() }
            }
        }
    }
}

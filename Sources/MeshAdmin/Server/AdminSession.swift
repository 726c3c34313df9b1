// SPDX-License-Identifier: Apache-2.0

import LinuxIO

/// One client of an ``AdminServer``.
final class AdminSession {
    enum Phase: Equatable {
        case expectingHello
        case idle
        case answering(id: UInt64)
        /// The last bytes leave, then the connection ends.
        case closing
        case closed
    }

    let stream: UnixStream
    private let peer: PeerCredentials
    let loop: EventLoop
    let limits: AdminLimits
    private let authorization: AdminAuthorization
    unowned let server: AdminServer
    var phase = Phase.expectingHello
    private var framer: LineFramer
    var outbound: OutboundQueue
    var watch: EventLoop.Watch?
    var interest: EventLoop.Readiness = .readable
    var timer: EventLoop.Timer?
    /// Encodes the next item of the list that is being sent; `nil` when it has ended.
    var nextOfList: (() throws(AdminError) -> [UInt8]?)?
    /// The answer goes on when the list has ended.
    var isFollowing = false
    var cancel: (() -> Void)?
    var whenSent: (() -> Void)?
    var statusWait: StatusWait?

    init(
        _ stream: consuming UnixStream, peer: PeerCredentials, loop: EventLoop, server: AdminServer
    ) throws(SystemError) {
        self.stream = stream
        self.peer = peer
        self.loop = loop
        self.server = server
        limits = server.limits
        authorization = server.authorization
        // Until the peer is known to be allowed to send much.
        framer = LineFramer(
            limit: server.authorization.allows(.write, peer) ? limits.writerRequest : limits.readerRequest)
        outbound = OutboundQueue(limit: limits.outbound)
        watch = try loop.watch(self.stream.descriptor, for: .readable) { [weak self] in self?.ready($0) }
    }

    /// Begins to serve. After the server has registered the session, because this may already end it.
    func start() {
        setTimer(limits.helloTimeout)
        if !authorization.allows(.read, peer) { refuse(authorization.refusal(of: .read, to: peer)) }
    }

    // MARK: - For responders

    func isAnswering(_ id: UInt64) -> Bool { phase == .answering(id: id) }

    /// Sends a message that a slow reader may miss.
    func push<Item: Codable>(_ frame: ResponseFrame<Item>) {
        guard case .answering(let id) = phase, let line = encode(frame) else { return }
        outbound.push(line) { Self.lostNotice($0, id: id) }
        flush()
    }

    /// Ends the answer, with an error or without.
    func end(_ error: AdminError?, whenSent: (() -> Void)?) {
        guard case .answering(let id) = phase else { return }
        nextOfList = nil
        outbound.endList { Self.lostNotice($0, id: id) }
        self.whenSent = whenSent
        finish(id, error)
    }

    /// Ends the connection without another word.
    func close() {
        guard phase != .closed else { return }
        phase = .closed
        if let watch { loop.unwatch(watch) }
        if let timer { loop.cancel(timer) }
        statusWait?.stop()
        nextOfList = nil
        // Callbacks last: they may come back to us.
        let (cancel, whenSent) = (self.cancel, self.whenSent)
        self.cancel = nil
        self.whenSent = nil
        server.remove(self)
        cancel?()
        whenSent?()
    }

    /// Says why, and ends the connection when that is sent.
    func refuse(_ error: AdminError) {
        if let line = encode(ResponseFrame<Bool>(error: error)) { outbound.append(line) }
        phase = .closing
        setTimer(limits.stalledTimeout)
        flush()
    }

    // MARK: - Readiness

    private func ready(_ readiness: EventLoop.Readiness) {
        if readiness.contains(.error) || readiness == .hangup { return close() }
        if readiness.contains(.writable) { flush() }
        if readiness.contains(.readable) || readiness.contains(.hangup) { receive() }
    }

    private func receive() {
        do throws(SystemError) {
            let transfer = try withUnsafeTemporaryAllocation(byteCount: 64 << 10, alignment: 1) {
                (buffer) throws(SystemError) in
                let transfer = try stream.read(into: buffer)
                if case .bytes(let count) = transfer { framer.append(buffer.prefix(count)) }
                return transfer
            }
            switch transfer {
            case .closed: return close()
            case .wouldBlock: return
            case .bytes: handleLines()
            }
        } catch {
            // The connection broke; the client knows more about it than we do.
            close()
        }
    }

    private func handleLines() {
        do throws(AdminError) {
            while let line = try nextLine() {
                switch phase {
                case .expectingHello: try hello(line)
                case .idle: try call(line)
                case .answering:
                    throw AdminError(.invalidRequest, "a call was sent while another is being answered")
                case .closing, .closed: return
                }
            }
        } catch {
            refuse(error)
        }
    }

    private func nextLine() throws(AdminError) -> [UInt8]? {
        do throws(LineFramer.LineTooLong) {
            return try framer.next()
        } catch {
            throw AdminError(
                .tooLarge, "a request is larger than \(error.limit) bytes", hint: "send fewer files at a time")
        }
    }

    private func hello(_ line: [UInt8]) throws(AdminError) {
        let hello = try WireJSON.decode(HelloFrame.self, from: line, what: "the hello").hello
        guard hello.protocol == AdminProtocol.version else {
            throw AdminError(
                .versionMismatch,
                "\(hello.name) speaks admin protocol \(hello.protocol), \(server.name) speaks \(AdminProtocol.version)",
                hint: "use the meshctl that came with this mesh-agent")
        }
        let answer = HelloFrame.Hello(protocol: AdminProtocol.version, name: server.name, node: server.node)
        outbound.append(try WireJSON.line(HelloFrame(hello: answer)))
        becomeIdle()
    }

    private func call(_ line: [UInt8]) throws(AdminError) {
        let decoded = try WireJSON.decode(DecodedRequest.self, from: line, what: "a call")
        phase = .answering(id: decoded.id)
        setTimer(limits.stalledTimeout)
        do throws(AdminError) {
            guard let request = decoded.request else {
                throw AdminError(
                    .invalidRequest, "\(server.name) has no method '\(decoded.method)'",
                    hint: "use the meshctl that came with this mesh-agent")
            }
            guard authorization.allows(request.access, peer) else {
                throw authorization.refusal(of: request.access, to: peer)
            }
            try server.dispatch(request, id: decoded.id, caller: AdminCaller(credentials: peer), session: self)
        } catch {
            end(error, whenSent: nil)
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

import LinuxIO

/// One client of an ``AdminServer``.
final class AdminSession {
    private enum Phase: Equatable {
        case expectingHello
        case idle
        case answering(id: UInt64)
        /// The last bytes leave, then the connection ends.
        case closing
        case closed
    }

    private let stream: UnixStream
    private let peer: PeerCredentials
    private let loop: EventLoop
    private let limits: AdminLimits
    private let authorization: AdminAuthorization
    private unowned let server: AdminServer
    private var phase = Phase.expectingHello
    private var framer: LineFramer
    private var outbound: OutboundQueue
    private var watch: EventLoop.Watch?
    private var interest: EventLoop.Readiness = .readable
    private var timer: EventLoop.Timer?
    /// Encodes the next item of the list that is being sent; `nil` when it has ended.
    private var nextOfList: (() throws(AdminError) -> [UInt8]?)?
    /// The answer goes on when the list has ended.
    private var isFollowing = false
    private var cancel: (() -> Void)?
    private var whenSent: (() -> Void)?
    private var statusWait: StatusWait?

    /// Encoded bytes of a list made in one turn of the loop: other work of the agent waits for it.
    private static let listChunk = 64 << 10

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

    // MARK: - Answers

    /// Starts a list; the answer ends with it unless `following`.
    func list<Items: Sequence>(_ items: Items, id: UInt64, following: Bool = false) where Items.Element: Codable {
        var iterator = items.makeIterator()
        isFollowing = following
        outbound.isListing = true
        nextOfList = { [limits] () throws(AdminError) in
            guard let item = iterator.next() else { return nil }
            let line = try WireJSON.line(ResponseFrame(id: id, item: item))
            guard line.count <= limits.response else {
                throw AdminError(
                    .tooLarge, "an item of the answer has \(line.count) bytes, the limit is \(limits.response)")
            }
            return line
        }
        flush()
    }

    /// A responder whose cancellation this session reports.
    func responder<Item: Codable & Equatable & Sendable>(id: UInt64) -> Responder<Item> {
        let responder = Responder<Item>(self, id: id)
        cancel = { responder.onCancel?() }
        return responder
    }

    /// A responder whose items follow the list that is still to come.
    func follower(id: UInt64) -> Responder<FlowEvent> {
        outbound.isListing = true
        return responder(id: id)
    }

    /// Sends status reports until the node is ready.
    func waitForReady(id: UInt64, timeout: Duration?, handler: any AdminHandler) {
        statusWait = StatusWait(loop: loop, handler: handler, timeout: timeout, responder: responder(id: id))
        statusWait?.start()
    }

    private func finish(_ id: UInt64, _ error: AdminError?) {
        let frame = ResponseFrame<Bool>(id: id, end: error == nil ? true : nil, error: error)
        if let line = encode(frame) { outbound.append(line) }
        cancel = nil
        becomeIdle()
    }

    private func becomeIdle() {
        phase = .idle
        isFollowing = false
        statusWait?.stop()
        statusWait = nil
        setTimer(outbound.isEmpty ? limits.idleTimeout : limits.stalledTimeout)
        flush()
    }

    /// Writes what the kernel takes, and makes more of a list when there is room.
    private func flush() {
        fill()
        guard phase != .closed else { return }
        do throws(SystemError) {
            var blocked = false
            while !outbound.isEmpty {
                try outbound.write { (bytes) throws(SystemError) in
                    switch try stream.write(bytes) {
                    case .bytes(let count): return count
                    case .wouldBlock:
                        blocked = true
                        return 0
                    case .closed: throw SystemError("send", errnoCode: 0)
                    }
                }
                if blocked { break }
                setTimer(phase == .idle ? limits.idleTimeout : limits.stalledTimeout)
                if outbound.isEmpty, case .answering(let id) = phase {
                    outbound.settle { Self.lostNotice($0, id: id) }
                }
            }
            try setInterest()
        } catch {
            return close()
        }
        guard outbound.isEmpty else { return }
        if let whenSent {
            self.whenSent = nil
            whenSent()
        }
        if phase == .closing { close() }
    }

    private func fill() {
        guard nextOfList != nil, case .answering(let id) = phase else { return }
        do throws(AdminError) {
            var made = 0
            while made < Self.listChunk, outbound.count < limits.outbound, let next = nextOfList {
                guard let line = try next() else {
                    nextOfList = nil
                    outbound.endList { Self.lostNotice($0, id: id) }
                    if !isFollowing { finish(id, nil) }
                    return
                }
                outbound.append(line)
                made += line.count
            }
        } catch {
            end(error, whenSent: nil)
        }
    }

    private func setInterest() throws(SystemError) {
        let wanted: EventLoop.Readiness =
            outbound.isEmpty && nextOfList == nil ? .readable : [.readable, .writable]
        guard wanted != interest, let watch else { return }
        interest = wanted
        try loop.rewatch(watch, for: wanted)
    }

    /// Restarts the limit on silence. A follower may be silent as long as it likes: it only loses events.
    private func setTimer(_ delay: Duration) {
        if let timer { loop.cancel(timer) }
        timer = loop.schedule(after: delay) { [weak self] in self?.timeOut() }
    }

    private func timeOut() {
        // The agent is at work, or nothing has happened that a follower could be told.
        let owesUsNothing = nextOfList == nil && (isFollowing || outbound.isEmpty)
        if case .answering = phase, owesUsNothing { return setTimer(limits.stalledTimeout) }
        close()
    }

    private func encode<Item: Codable>(_ frame: ResponseFrame<Item>) -> [UInt8]? {
        do throws(AdminError) {
            return try WireJSON.line(frame)
        } catch {
            close()
            return nil
        }
    }

    private static func lostNotice(_ count: UInt64, id: UInt64) -> [UInt8] {
        // Only numbers: cannot fail to encode.
        Array("{\"id\":\(id),\"lost\":\(count)}\n".utf8)
    }
}

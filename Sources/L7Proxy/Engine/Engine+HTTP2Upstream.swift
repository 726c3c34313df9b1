// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import MeshModel

/// A connection to a backend by HTTP/2 (RFC 9113): it carries as many requests as the backend allows.
///
/// In its pool's list of idle ones is a connection that can take a request, whatever it carries.
extension Engine {
    /// The connection is there: it begins with the preface. The backend's settings say how much it may carry; until they
    /// come it carries one request.
    mutating func beginHTTP2(_ upstream: UpstreamPointer) {
        var limits = configuration.http2
        // Room for every stream: clients that do not read must not stop those that share the connection with them.
        limits.connectionWindow = UInt32(
            clamping: max(
                UInt64(limits.connectionWindow), UInt64(limits.streamWindow) * UInt64(limits.concurrentStreams)))
        let session = HTTP2ClientSession(limits: limits, pool: memory, now: now)
        upstream.pointee.session = Unmanaged.passRetained(session)
        upstream.pointee.idleSince = now
        // Set once; when it fires it looks at what has come and gone meanwhile.
        http2Fired(upstream)
        offerRoom(upstream)
        enqueue(upstream)
    }

    /// Does all that can be done for the connection now.
    mutating func driveHTTP2(_ upstream: UpstreamPointer) {
        guard upstream.pointee.phase == .open, let session = upstream.pointee.session else { return }
        let wasQueued = upstream.pointee.isQueued
        upstream.pointee.isQueued = true
        let state = withUnsafeMutablePointer(to: &self) { engine in
            var handler = UpstreamEvents(engine: engine, upstream: upstream)
            return withUnsafeMutablePointer(to: &upstream.pointee.channel) { channel in
                session._withUnsafeGuaranteedRef { HTTP2Connection.drive($0, channel, engine, &handler) }
            }
        }
        upstream.pointee.isQueued = wasQueued
        switch state {
        case .open:
            if upstream.pointee.isLeaving, upstream.pointee.exchange == nil { return lose(upstream) }
            // A stream is out of the count only after its end was told, which is later than its exchange leaves it.
            if !upstream.pointee.isIdle, hasRoom(upstream) { offerRoom(upstream) }
        case .yielded: enqueue(upstream)
        case .broken, .ending: lose(upstream)
        }
    }

    /// Whether the connection can take another request.
    private func hasRoom(_ upstream: UpstreamPointer) -> Bool {
        guard upstream.pointee.phase == .open, !upstream.pointee.isLeaving, let session = upstream.pointee.session,
            upstream.pointee.channel.state.isDisjoint(with: [.inputEnded, .broken, .endAnnounced])
        else { return false }
        return session._withUnsafeGuaranteedRef { session in
            session.canOpenStream && (upstream.pointee.isSettled || session.streamCount == 0)
        }
    }

    /// Whether it is known that the backend takes the request, or does not. Extended CONNECT must not be sent before its
    /// settings have come (RFC 8441 section 3).
    func mayCarry(_ exchange: ExchangePointer, _ upstream: UpstreamPointer) -> Bool {
        upstream.pointee.isSettled || !asksForTunnel(exchange)
    }

    /// Gives the connection's room to the requests that have waited longest, or keeps it.
    mutating func offerRoom(_ upstream: UpstreamPointer) {
        guard upstream.pointee.phase == .open, let pool = upstream.pointee.pool else { return }
        if now - upstream.pointee.openedAt >= configuration.upstreamLifetime { upstream.pointee.isLeaving = true }
        while let exchange = pool.pointee.firstWaiting, hasRoom(upstream), mayCarry(exchange, upstream) {
            pool.pointee.removeWaiting(exchange)
            if isStillAdmitted(exchange) { attach(upstream, to: exchange) }
            wake(exchange)
        }
        guard upstream.pointee.pool != nil else { return }
        let isListed = upstream.pointee.isIdle
        let belongs = hasRoom(upstream)
        if belongs, !isListed { pool.pointee.pushIdle(upstream) } else if !belongs { pool.pointee.removeIdle(upstream) }
    }

    /// Opens a stream for the request; if there can be none, the attempt has failed.
    mutating func openStream(_ upstream: UpstreamPointer, for exchange: ExchangePointer) {
        guard let session = upstream.pointee.session else { return }
        let isTunnel = asksForTunnel(exchange)
        if isTunnel, !session._withUnsafeGuaranteedRef({ $0.peerTakesExtendedConnect }) { return goByHTTP1(exchange) }
        guard writeHTTP2Request(exchange, upstream, isTunnel: isTunnel) else {
            return answer(exchange, .malformedRequest)
        }
        let head = exchange.pointee.head
        let stream = session._withUnsafeGuaranteedRef {
            $0.request(
                headWriter, method: isTunnel ? .connect : head.method, endOfStream: head.framing == .none && !isTunnel)
        }
        guard let stream else { return attemptFailed(exchange, .notProcessed, .connectFailed) }
        if isTunnel {
            exchange.pointee.marks.remove(.requestDone)
            exchange.pointee.marks.insert(.awaitsTunnel)
        }
        session._withUnsafeGuaranteedRef { $0.hold(stream) }
        stream.context = Int(bitPattern: exchange)
        exchange.pointee.upstreamStream = stream
        upstream.pointee.idleSince = now
        if let pool = upstream.pointee.pool, !hasRoom(upstream) { pool.pointee.removeIdle(upstream) }
        enqueue(upstream)
    }

    /// Takes the exchange off the connection, which goes on.
    ///
    /// - Parameter isComplete: Both messages are whole. Otherwise the backend is told that nobody waits any more.
    mutating func leaveStream(_ exchange: ExchangePointer, _ upstream: UpstreamPointer, isComplete: Bool = false) {
        upstream.pointee.remove(exchange)
        exchange.pointee.upstream = nil
        exchange.pointee.responseQueue.removeAll(&buffers)
        if let stream = exchange.pointee.upstreamStream, let session = upstream.pointee.session {
            exchange.pointee.upstreamStream = nil
            stream.context = 0
            session._withUnsafeGuaranteedRef { session in
                if !isComplete { session.reset(stream, .cancel) }
                session.release(stream)
            }
        }
        guard upstream.pointee.phase != .closed else {
            if upstream.pointee.exchange == nil { closedUpstreams.push(upstream) }
            return
        }
        upstream.pointee.idleSince = now
        offerRoom(upstream)
        enqueue(upstream)
    }

    /// Ends an idle connection, and tells the backend.
    mutating func retire(_ upstream: UpstreamPointer) {
        upstream.pointee.isLeaving = true
        upstream.pointee.session?._withUnsafeGuaranteedRef { $0.terminate(.noError) }
        driveHTTP2(upstream)
    }

    /// The connection is of no more use: requests without a whole response on it have failed.
    mutating func lose(_ upstream: UpstreamPointer) {
        guard let pool = upstream.pointee.pool else { return }
        // Held, so that it does not go with its connection.
        pool.pointee.connections += 1
        close(upstream)
        while let exchange = upstream.pointee.firstIncomplete {
            attemptFailed(exchange, .broken, .backendReset)
            wake(exchange)
        }
        // What is left has a whole response; nothing more of its request can go.
        var next = upstream.pointee.exchange
        while let exchange = next {
            next = exchange.pointee.nextOnUpstream
            guard !exchange.pointee.marks.contains(.requestDone) else { continue }
            exchange.pointee.marks.insert(.uploadBroken)
            wake(exchange)
        }
        pool.pointee.connections -= 1
        dialIfNeeded(pool)
        pools.removeIfUnused(pool)
    }

    // MARK: - Events

    mutating func handle(_ event: HTTP2Event, of upstream: UpstreamPointer) {
        switch event {
        case .interim(let stream): receiveInterim(stream, upstream)
        case .response(let stream, let isWhole):
            upstream.pointee.life.messageCame()
            guard let exchange = Self.exchange(of: stream) else { return }
            swap(&exchange.pointee.responseFields, &stream.slot.pointee.head.fields)
            exchange.pointee.responseHead = stream.response
            exchange.pointee.marks.insert(.headArrived)
            exchange.pointee.responseBody.sourceEnded = isWhole
            advance(exchange)
        case .data(let stream, let bytes):
            upstream.pointee.life.messageCame()
            guard let exchange = Self.exchange(of: stream) else {
                upstream.pointee.session?._withUnsafeGuaranteedRef { $0.consume(stream, bytes.count) }
                return
            }
            guard exchange.pointee.responseQueue.append(bytes, &buffers) else { return answer(exchange, .outOfMemory) }
            advance(exchange)
        case .end(let stream), .trailers(let stream):
            guard let exchange = Self.exchange(of: stream) else { return }
            exchange.pointee.responseBody.sourceEnded = true
            if case .trailers = event {
                exchange.pointee.responseBody.trailed = true
                if exchange.pointee.marks.contains(.isGRPC),
                    let status = stream.withTrailers({ Exchange.grpcStatus($0, in: $1) })
                {
                    exchange.pointee.record.grpcStatus = status
                }
            }
            advance(exchange)
        case .sent(let stream, let count): requestSent(stream, count)
        case .closed(let stream, let code):
            guard let exchange = Self.exchange(of: stream) else { return }
            streamClosed(exchange, code)
        case .goAway:
            upstream.pointee.isLeaving = true
            upstream.pointee.pool?.pointee.removeIdle(upstream)
        case .settings: settle(upstream)
        case .request, .refused, .pong, .frame: break
        }
    }

    private mutating func settle(_ upstream: UpstreamPointer) {
        guard let pool = upstream.pointee.pool else { return }
        if !upstream.pointee.isSettled {
            upstream.pointee.isSettled = true
            pool.pointee.dialing -= 1
        }
        offerRoom(upstream)
        dialIfNeeded(pool)
    }

    private mutating func receiveInterim(_ stream: HTTP2Stream, _ upstream: UpstreamPointer) {
        guard let exchange = Self.exchange(of: stream), let downstream = exchange.pointee.downstream else { return }
        exchange.pointee.interims &+= 1
        guard exchange.pointee.interims <= HTTP1ResponseParser.maximumInterimResponses else {
            return attemptFailed(exchange, .broken, .backendMalformed)
        }
        swap(&exchange.pointee.responseFields, &stream.slot.pointee.head.fields)
        exchange.pointee.responseHead = stream.response
        _ = passInterim(exchange, downstream, UnsafeRawPointer(stream.slot.pointee.head.bytes))
    }

    private mutating func requestSent(_ stream: HTTP2Stream, _ count: Int) {
        guard let exchange = Self.exchange(of: stream), let downstream = exchange.pointee.downstream else { return }
        if exchange.pointee.marks.contains(.isMirror) {
            BodyPump.sent(count, from: nil, &exchange.pointee.requestQueue, &exchange.pointee.requestBody, &buffers)
            // Later: the queue may have grown since it was offered, and more that was sent may be told in a moment. To offer
            // now would be to offer that again.
            return wake(exchange)
        } else if let source = exchange.pointee.stream.flatMap({ Exchange.client(downstream, $0) }) {
            BodyPump.sent(count, from: source, &exchange.pointee.requestQueue, &exchange.pointee.requestBody, &buffers)
            enqueue(downstream)
        } else {
            BodyPump.sent(count, from: &downstream.pointee.channel, &exchange.pointee.requestBody)
        }
        advance(exchange)
    }

    /// The backend's stream is over. If the response is whole, its memory stays until it has gone to the client.
    private mutating func streamClosed(_ exchange: ExchangePointer, _ code: HTTP2ErrorCode) {
        if exchange.pointee.responseBody.sourceEnded {
            if !exchange.pointee.marks.contains(.requestDone) {
                exchange.pointee.marks.insert(.uploadBroken)
                // A tunnel whose other direction has ended is over now.
                wake(exchange)
            }
            return
        }
        exchange.pointee.resetCode = code
        attemptFailed(
            exchange, code == .refusedStream ? .notProcessed : .broken,
            code == .protocolError ? .backendMalformed : .backendReset)
    }
}

// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import TLSEngine

/// Tells the engine what happened on a connection. Lent for one call of the session.
private struct HBONEEvents: HTTP2EventHandler, ~Copyable {
    let engine: UnsafeMutablePointer<HBONEEngine>
    let connection: HBONEConnectionPointer
    /// Bytes of frames that were made in place and are encrypted.
    var framed = 0
    var failure: TLSError?

    mutating func handle(_ event: HTTP2Event) {
        guard case .frame(let bytes) = event else { return engine.pointee.handle(event, of: connection) }
        framed &+= bytes.count
        failure = connection.pointee.secure.send(bytes)
    }
}

/// Connections whose handshake is done: bytes from the socket through TLS into the session, and back.
extension HBONEEngine {
    /// Reads of one turn, each of up to a block.
    private static var readsPerTurn: Int { 4 }
    /// Bytes that one turn sends: others are served in between.
    private static var bytesPerTurn: Int { 512 << 10 }

    /// How far a turn of one direction came.
    enum Turn {
        /// What can be done now is done.
        case done
        /// There may be more to do at once; others first.
        case again
        /// Nothing more will be read; what is left is sent.
        case ended
        case lost(HBONEReason, String?)
        /// What the peer has sent is not as it should be: the peer is told so.
        case refused(String)
    }

    /// The handshake is done: HTTP/2 begins.
    mutating func opened(_ connection: HBONEConnectionPointer) {
        connection.pointee.peer = connection.pointee.secure.peer
        connection.pointee.idleSince = now
        connection.pointee.phase = .open
        if let pool = connection.pointee.pool { pool.pointee.dialling -= 1 }
        let session: HTTP2Session =
            connection.pointee.isServer
            ? HTTP2ServerSession(limits: configuration.server, pool: serverMemory, now: now)
            : HTTP2ClientSession(limits: configuration.client, pool: clientMemory, now: now)
        connection.pointee.session = Unmanaged.passRetained(session)
        setTimer(connection, in: configuration.pingInterval)
        if isDraining, connection.pointee.isServer { retire(connection, .drained) }
        if let pool = connection.pointee.pool { serve(pool) }
        drive(connection)
    }

    /// Does all that can be done for the connection now.
    mutating func drive(_ connection: HBONEConnectionPointer) {
        if connection.pointee.phase == .ending { return linger(connection) }
        guard connection.pointee.phase == .open, let session = connection.pointee.session else { return }
        // What its own events cause is sent below: it need not wait in the queue for that.
        let wasQueued = connection.pointee.isQueued
        connection.pointee.isQueued = true
        let received = read(connection, session)
        var sent = Turn.done
        switch received {
        case .lost, .refused: break
        case .done, .again, .ended: sent = flush(connection, session)
        }
        connection.pointee.isQueued = wasQueued
        connection.pointee.secure.relax(&buffers)
        if case .lost(let reason, let detail) = received { return close(connection, reason, detail) }
        if case .refused(let detail) = received { return end(connection, .connectionLost, detail) }
        if case .ended = received {
            guard let failure = session._withUnsafeGuaranteedRef({ $0.failure }) else {
                return end(connection, connection.pointee.isIdle ? .finished : .connectionLost)
            }
            return end(connection, .protocolError, failure.description)
        }
        if case .lost(let reason, let detail) = sent { return close(connection, reason, detail) }
        let isFinished = session._withUnsafeGuaranteedRef { $0.isFinished }
        if isFinished || isOver(connection) { return end(connection, .finished) }
        if case .again = received { enqueue(connection) }
        if case .again = sent { enqueue(connection) }
        if let pool = connection.pointee.pool, pool.pointee.waitingCount > 0 { serve(pool) }
    }

    private mutating func read(
        _ connection: HBONEConnectionPointer, _ session: Unmanaged<HTTP2Session>
    ) -> Turn {
        for _ in 0..<Self.readsPerTurn {
            let input = connection.pointee.secure.receive(&buffers)
            if !input.bytes.isEmpty {
                let progress = withUnsafeMutablePointer(to: &self) { engine in
                    var handler = HBONEEvents(engine: engine, connection: connection)
                    return session._withUnsafeGuaranteedRef {
                        $0.receive(input.bytes, now: engine.pointee.now, &handler)
                    }
                }
                passGathered()
                if progress == .ended { return .ended }
            }
            switch input.state {
            case .nothing: if input.bytes.isEmpty { return .done }
            case .ended: return .ended
            case .failed(let error):
                return error.isPeersAlert
                    ? .lost(.connectionLost, error.description) : .refused(error.description)
            case .broken: return .lost(.connectionLost, "the peer ended the connection without saying so")
            case .noMemory: return .lost(.outOfMemory, nil)
            }
        }
        return .again
    }

    /// Sends what the peer takes now: as many records as the output holds with each call.
    mutating func flush(
        _ connection: HBONEConnectionPointer, _ session: Unmanaged<HTTP2Session>
    ) -> Turn {
        var budget = Self.bytesPerTurn
        defer {
            if Self.bytesPerTurn - budget < BufferPool.blockSize {
                connection.pointee.secure.channel.state.remove(.sendsMuch)
            }
        }
        while true {
            switch connection.pointee.secure.channel.flush() {
            case .done: break
            case .blocked: return .done
            case .broken: return .lost(.connectionLost, "the connection was reset")
            }
            guard session._withUnsafeGuaranteedRef({ $0.wantsToSend }) else { return .done }
            guard budget > 0 else { return .again }
            var records = 0
            while session._withUnsafeGuaranteedRef({ $0.wantsToSend }) {
                let room = connection.pointee.secure.room(&buffers)
                guard room > 0 else {
                    connection.pointee.secure.channel.state.insert(.sendsMuch)
                    break
                }
                let space = UnsafeMutableRawBufferPointer(rebasing: plainOutput[..<room])
                var (count, framed, failure) = (0, 0, TLSError?.none)
                withUnsafeMutablePointer(to: &self) { engine in
                    var handler = HBONEEvents(engine: engine, connection: connection)
                    count = session._withUnsafeGuaranteedRef {
                        $0.send(into: space, now: engine.pointee.now, &handler)
                    }
                    (framed, failure) = (handler.framed, handler.failure)
                }
                guard count + framed > 0 else { break }
                if count > 0, failure == nil {
                    failure = connection.pointee.secure.send(UnsafeRawBufferPointer(rebasing: space[..<count]))
                }
                if let failure { return .lost(.connectionLost, failure.description) }
                records += 1
                budget -= count + framed
            }
            guard records > 0 else {
                return connection.pointee.secure.channel.output.room == 0 ? .lost(.outOfMemory, nil) : .done
            }
        }
    }

    // MARK: - Events

    @inline(__always)
    static func tunnel(of stream: HTTP2Stream) -> HBONETunnelPointer? { HBONETunnelPointer(bitPattern: stream.context) }

    mutating func handle(_ event: HTTP2Event, of connection: HBONEConnectionPointer) {
        if case .data(let stream, let bytes) = event {
            guard let tunnel = Self.tunnel(of: stream) else {
                // Refused already: the connection's window must not stay shut.
                connection.pointee.session?._withUnsafeGuaranteedRef { $0.consume(stream, bytes.count) }
                return
            }
            return pass(bytes, to: tunnel)
        }
        // What came before goes before.
        passGathered()
        switch event {
        case .request(let stream, let isWhole): beginTunnel(stream, isWhole, connection)
        case .end(let stream), .trailers(let stream):
            if let tunnel = Self.tunnel(of: stream) { peerEnded(tunnel) }
        case .sent(let stream, let count):
            if let tunnel = Self.tunnel(of: stream) { taken(count, of: tunnel) }
        case .closed(let stream, let code):
            if let tunnel = Self.tunnel(of: stream) { streamClosed(tunnel, code) }
        case .response(let stream, let isWhole):
            if let tunnel = Self.tunnel(of: stream) { answered(tunnel, stream, isWhole) }
        case .refused(_, let defect): recordRefused(connection, defect)
        case .goAway:
            // No more tunnels for it; the session closes the streams that the peer has not seen.
            if !connection.pointee.isServer { retire(connection, .finished) }
        case .pong: connection.pointee.pingSentAt = 0
        case .data, .frame, .interim, .settings: break
        }
    }
}

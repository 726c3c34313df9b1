// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import MeshModel

/// How tunnels and connections end.
extension HBONEEngine {
    // MARK: - Tunnels

    /// Ends a tunnel: in order if the reason is ``HBONEReason/finished``, else both ends see a reset.
    mutating func finish(_ tunnel: HBONETunnelPointer, _ reason: HBONEReason, _ detail: String? = nil) {
        guard tunnel.pointee.phase != .over else { return }
        let isUnopened = tunnel.pointee.phase != .flowing
        tunnel.pointee.phase = .over
        if let stream = tunnel.pointee.stream, let connection = tunnel.pointee.connection, stream.isCurrent {
            stream.context = 0
            if reason != .finished {
                // RFC 9113 section 8.5: what resets the socket resets the stream so, and the other way round.
                let code: HTTP2ErrorCode = isUnopened && !tunnel.pointee.isServer ? .cancel : .connectError
                connection.pointee.session?._withUnsafeGuaranteedRef { $0.reset(stream, code) }
                enqueue(connection)
            }
        }
        detach(tunnel)
        report(tunnel, reason, detail)
        if let share = tunnel.pointee.share {
            tunnelSources.leave(share)
            tunnel.pointee.share = nil
        }
        tunnel.pointee.toLeg.removeAll(&buffers)
        tunnel.pointee.leg.close(&buffers, resetting: reason != .finished)
        if tunnel.pointee.timer != .max { timers.cancel(tunnel.pointee.timer) }
        tunnel.pointee.outbound = nil
        tunnel.pointee.peer = nil
        tunnel.pointee.service = nil
        endedTunnels.push(tunnel)
    }

    /// Takes the tunnel off its connection, or out of its pool.
    mutating func detach(_ tunnel: HBONETunnelPointer) {
        tunnel.pointee.stream = nil
        if let pool = tunnel.pointee.pool {
            pool.pointee.remove(tunnel)
            return forgetIfUnused(pool)
        }
        guard let connection = tunnel.pointee.connection else { return }
        let (previous, next) = (tunnel.pointee.previous, tunnel.pointee.next)
        if let previous { previous.pointee.next = next } else { connection.pointee.tunnels = next }
        next?.pointee.previous = previous
        tunnel.pointee.next = nil
        tunnel.pointee.previous = nil
        tunnel.pointee.connection = nil
        guard connection.pointee.tunnels == nil else { return }
        connection.pointee.idleSince = now
        if isOver(connection) { enqueue(connection) }
    }

    /// Whether a connection that we made has no further use: no tunnel, and none to come.
    func isOver(_ connection: HBONEConnectionPointer) -> Bool {
        guard connection.pointee.isIdle, connection.pointee.phase == .open, !connection.pointee.isServer else {
            return false
        }
        guard let pool = connection.pointee.pool else { return true }
        return isDraining && pool.pointee.waitingCount == 0
    }

    func attach(_ tunnel: HBONETunnelPointer, _ stream: HTTP2Stream, _ connection: HBONEConnectionPointer) {
        stream.context = Int(bitPattern: tunnel)
        tunnel.pointee.stream = stream
        tunnel.pointee.connection = connection
        tunnel.pointee.peer = connection.pointee.peer
        tunnel.pointee.previous = nil
        tunnel.pointee.next = connection.pointee.tunnels
        connection.pointee.tunnels?.pointee.previous = tunnel
        connection.pointee.tunnels = tunnel
    }

    private mutating func report(_ tunnel: HBONETunnelPointer, _ reason: HBONEReason, _ detail: String?) {
        guard let record = record(tunnel, reason, detail) else { return }
        sink.record(record)
        hasRecords = true
    }

    /// Both ends can send from now on.
    mutating func reportOpened(_ tunnel: HBONETunnelPointer) {
        tunnel.pointee.marks.insert(.opened)
        guard let record = record(tunnel, .finished, nil) else { return }
        tunnel.pointee.flow = sink.opened(record)
    }

    /// What is to be said of a tunnel if it ends now.
    private func record(_ tunnel: HBONETunnelPointer, _ reason: HBONEReason, _ detail: String?) -> HBONERecord? {
        var record: HBONERecord
        if let outbound = tunnel.pointee.outbound {
            record = HBONERecord(
                direction: .outbound, reason: reason, detail: detail, peer: tunnel.pointee.peer,
                identity: outbound.identity, source: outbound.source, sourcePort: outbound.sourcePort,
                destination: outbound.destination, port: outbound.port,
                service: outbound.service.isEmpty ? nil : outbound.service)
        } else if let origin = tunnel.pointee.origin {
            record = HBONERecord(
                direction: .inbound, reason: reason, detail: detail, peer: tunnel.pointee.peer,
                identity: origin.identity, source: origin.client, sourcePort: origin.clientPort,
                destination: origin.local, port: tunnel.pointee.port, service: tunnel.pointee.service)
        } else {
            return nil
        }
        record.wasOpen = tunnel.pointee.marks.contains(.opened)
        record.isHandedOn = tunnel.pointee.leg.mark != nil
        record.flow = tunnel.pointee.flow
        record.received = tunnel.pointee.leg.received
        record.sent = tunnel.pointee.leg.sent
        record.startedAt = tunnel.pointee.startedAt
        record.endedAt = nanoseconds
        return record
    }

    // MARK: - Connections

    /// Ends the connection at once. Tunnels that it carries are reset; those that wait for it are refused.
    mutating func close(_ connection: HBONEConnectionPointer, _ reason: HBONEReason, _ detail: String? = nil) {
        let phase = connection.pointee.phase
        guard phase != .closed else { return }
        connection.pointee.phase = .closed
        if phase == .handshaking { removeShaking(connection) }
        connection.pointee.step?.abandon()
        connection.pointee.step = nil
        while let tunnel = connection.pointee.tunnels { finish(tunnel, lost(reason), detail) }
        connection.pointee.secure.close(&buffers, resetting: reason.isFailure && phase != .handshaking)
        if connection.pointee.timer != .max { timers.cancel(connection.pointee.timer) }
        if let share = connection.pointee.share {
            connectionSources.leave(share)
            connection.pointee.share = nil
        }
        if reason.isFailure { report(connection, reason, detail) }
        if let pool = connection.pointee.pool {
            pool.pointee.remove(connection)
            if phase.isBeforeOpen {
                pool.pointee.dialling -= 1
                // One attempt for all that wait: they need not each find out.
                while let tunnel = pool.pointee.firstWaiting { finish(tunnel, reason, detail) }
            } else if pool.pointee.waitingCount > 0 {
                serve(pool)
            }
            forgetIfUnused(pool)
        }
        closedConnections.push(connection)
    }

    /// What the end of a connection is for its tunnels.
    private func lost(_ reason: HBONEReason) -> HBONEReason {
        reason == .finished ? .connectionLost : reason
    }

    /// Ends the connection with a GOAWAY and close_notify, and waits for the peer's end for a moment.
    mutating func end(_ connection: HBONEConnectionPointer, _ reason: HBONEReason, _ detail: String? = nil) {
        guard connection.pointee.phase == .open, let session = connection.pointee.session else {
            return connection.pointee.phase == .ending ? () : close(connection, reason, detail)
        }
        while let tunnel = connection.pointee.tunnels { finish(tunnel, lost(reason), detail) }
        session._withUnsafeGuaranteedRef { $0.terminate(.noError) }
        _ = flush(connection, session)
        connection.pointee.secure.sayGoodbye(&buffers)
        if reason.isFailure { report(connection, reason, detail) }
        if let pool = connection.pointee.pool {
            pool.pointee.remove(connection)
            if pool.pointee.waitingCount > 0 { serve(pool) }
            forgetIfUnused(pool)
        }
        connection.pointee.phase = .ending
        setTimer(connection, in: configuration.lingerTimeout)
        linger(connection)
    }

    /// Sends what is left, then reads to the peer's end: closing before would lose what is on its way.
    mutating func linger(_ connection: HBONEConnectionPointer) {
        switch connection.pointee.secure.channel.flush() {
        case .done: break
        case .blocked: return
        case .broken: return close(connection, .finished)
        }
        // If it had no room before.
        connection.pointee.secure.sayGoodbye(&buffers)
        guard case .done = connection.pointee.secure.channel.flush() else { return }
        // Nothing more of it is looked at, and it would leave no room to read to the end.
        connection.pointee.secure.channel.input.start = connection.pointee.secure.channel.input.end
        StreamSocket.endOutput(connection.pointee.secure.channel.descriptor)
        for _ in 0..<16 {
            switch connection.pointee.secure.channel.fill(&buffers) {
            case .received: connection.pointee.secure.channel.input.start = connection.pointee.secure.channel.input.end
            case .nothing: return connection.pointee.secure.relax(&buffers)
            case .full, .ended, .broken, .noMemory: return close(connection, .finished)
            }
        }
        enqueue(connection)
    }

    /// Lets the connection end when its tunnels have: no more are opened on it.
    ///
    /// May be called while its session is telling what happened.
    mutating func retire(_ connection: HBONEConnectionPointer, _ reason: HBONEReason) {
        guard connection.pointee.phase == .open else {
            // Nothing has begun on it.
            return connection.pointee.phase.isBeforeOpen ? close(connection, reason) : ()
        }
        if let server = connection.pointee.server {
            server._withUnsafeGuaranteedRef { $0.drain() }
        } else if let pool = connection.pointee.pool {
            pool.pointee.remove(connection)
            if pool.pointee.waitingCount > 0 { serve(pool) }
            forgetIfUnused(pool)
        }
        enqueue(connection)
    }

    private mutating func report(_ connection: HBONEConnectionPointer, _ reason: HBONEReason, _ detail: String?) {
        let key = connection.pointee.pool?.pointee.key
        sink.failed(
            HBONEFailure(
                direction: connection.pointee.isServer ? .inbound : .outbound, reason: reason, detail: detail,
                peer: connection.pointee.secure.peer ?? connection.pointee.peer, identity: connection.pointee.identity,
                local: connection.pointee.origin?.local ?? key?.source ?? IPAddress(high: 0, low: 0),
                address: connection.pointee.origin?.client ?? key?.gateway ?? IPAddress(high: 0, low: 0),
                port: connection.pointee.origin?.clientPort ?? key?.port ?? 0))
        hasRecords = true
    }
}

extension HBONEReason {
    /// Whether a connection that ends so is worth a line in a log.
    var isFailure: Bool {
        switch self {
        case .finished, .drained: false
        default: true
        }
    }
}

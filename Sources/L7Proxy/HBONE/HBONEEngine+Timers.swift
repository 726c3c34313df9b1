// SPDX-License-Identifier: Apache-2.0

import LinuxIO

/// Time: handshakes and dials that take too long, peers that are silent, connections that nobody uses.
extension HBONEEngine {
    mutating func setTimer(_ connection: HBONEConnectionPointer, in milliseconds: UInt64) {
        if connection.pointee.timer == .max { connection.pointee.timer = timers.makeTimer(for: 0) }
        let owner = Token(.upstream, connection.pointee.handle).rawValue
        timers.set(connection.pointee.timer, deadline: now + milliseconds, owner: owner)
    }

    mutating func setTimer(_ tunnel: HBONETunnelPointer, in milliseconds: UInt64) {
        if tunnel.pointee.timer == .max { tunnel.pointee.timer = timers.makeTimer(for: 0) }
        let owner = Token(.exchange, tunnel.pointee.handle).rawValue
        timers.set(tunnel.pointee.timer, deadline: now + milliseconds, owner: owner)
    }

    mutating func fire(_ token: Token) {
        switch token.kind {
        case .upstream:
            if let connection = connections.find(token.handle) { connectionFired(connection) }
        case .exchange:
            if let tunnel = tunnels.find(token.handle) { tunnelFired(tunnel) }
        case .worker:
            if listeners.isPaused { resumeListeners() }
            if isDraining, now >= drainDeadline { cutEverything() }
        case .downstream, .listener, .mailbox, nil: break
        }
    }

    private mutating func connectionFired(_ connection: HBONEConnectionPointer) {
        switch connection.pointee.phase {
        case .closed: break
        case .requested, .connecting: close(connection, .dialTimedOut)
        case .handshaking:
            counters.failedHandshakes += 1
            close(connection, .handshakeTimedOut)
        case .ending: close(connection, .finished)
        case .open: lookAfter(connection)
        }
    }

    /// Every ``HBONEConfiguration/pingInterval``: an answer that is owed, or the next question.
    private mutating func lookAfter(_ connection: HBONEConnectionPointer) {
        guard let session = connection.pointee.session else { return }
        let sentAt = connection.pointee.pingSentAt
        if sentAt > 0, now - sentAt >= configuration.pingTimeout { return close(connection, .peerSilent) }
        // A peer that owes an answer may still be told which stream was the last.
        if isDraining { connection.pointee.server?._withUnsafeGuaranteedRef { $0.finishDrain() } }
        if connection.pointee.isIdle {
            let idleTime = now - connection.pointee.idleSince
            if connection.pointee.isServer {
                if idleTime >= configuration.serverIdleTimeout { retire(connection, .finished) }
            } else if idleTime >= configuration.idleTimeout {
                return end(connection, .finished)
            }
        }
        if sentAt == 0 {
            connection.pointee.pingSentAt = now
            session._withUnsafeGuaranteedRef { $0.ping(now) }
            drive(connection)
            guard connection.pointee.phase == .open else { return }
        }
        connection.pointee.secure.rest()
        let owed = connection.pointee.pingSentAt
        let wait = owed > 0 ? min(configuration.pingInterval, configuration.pingTimeout) : configuration.pingInterval
        setTimer(connection, in: wait)
    }

    private mutating func tunnelFired(_ tunnel: HBONETunnelPointer) {
        switch tunnel.pointee.phase {
        case .over, .flowing: break
        case .waiting: finish(tunnel, .tooMany, "no connection to the peer became free for it")
        case .asked: finish(tunnel, .refused(.connectTimedOut), "the peer did not answer")
        case .requested, .connecting: refuse(tunnel, .connectTimedOut)
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import MeshModel

/// Connections to backends: dialling, keeping, closing.
extension Engine {
    /// Asks for as many connections as there are requests without one, within the limit of the pool.
    mutating func dialIfNeeded(_ pool: PoolPointer) {
        // One at a time in a loop whose condition is read anew: a refusal answers a request, which may begin others.
        while pool.pointee.neededDials > pool.pointee.dialing,
            pool.pointee.connections < configuration.connectionsPerPool
        {
            guard let upstream = takeUpstream() else {
                if pool.pointee.connections == 0 { failFirstWaiting(pool, .tooManyConnections) }
                return
            }
            let handle = upstream.pointee.handle
            guard
                beginConnection(
                    upstream, pool.pointee.firstWaiting?.pointee.choice.cluster,
                    isFirst: pool.pointee.connections == 0)
            else { return upstreams.give(back: handle.index) }
            upstream.pointee.pool = pool
            upstream.pointee.phase = .requested
            pool.pointee.connections += 1
            pool.pointee.dialing += 1
            counters.upstreams += 1
            counters.dials += 1
            setTimer(upstream, in: connectTimeout(pool.pointee.firstWaiting))
            let key = pool.pointee.key
            let request = LegRequest(
                ticket: LegTicket(handle: handle), network: key.network, outsider: key.outsider, address: key.address,
                port: key.port, client: clientToShow(key, pool.pointee.firstWaiting))
            guard askForLeg(request, upstream) else { return dialFailed(upstream, .legRefused) }
        }
    }

    /// - Returns: Whether the connection has its socket, or will be given it.
    mutating func askForLeg(_ request: LegRequest, _ upstream: UpstreamPointer) -> Bool {
        switch legs(request) {
        case .pending: return true
        case .descriptor(let descriptor):
            upstream.pointee.channel.descriptor = descriptor
            adopt(upstream)
            return true
        case .refused:
            counters.failedDials += 1
            return false
        }
    }

    /// A connection that is not asked for yet; `nil`: there are too many.
    mutating func takeUpstream() -> UpstreamPointer? {
        guard let (upstream, handle) = upstreams.take() else { return nil }
        let timer = upstream.pointee.timer
        upstream.pointee = Upstream()
        upstream.pointee.http1 = HTTP1UpstreamCodec(limits: limits)
        upstream.pointee.handle = handle
        upstream.pointee.timer = timer == .max ? timers.makeTimer(for: 0) : timer
        return upstream
    }

    /// Whom a connection is to show to the backend. A port of the client's: of the connection that it is made for.
    private func clientToShow(_ key: UpstreamPool.Key, _ exchange: ExchangePointer?) -> ProxyEndpoint? {
        guard let client = key.client, let downstream = exchange?.pointee.downstream else { return nil }
        return ProxyEndpoint(address: client, port: downstream.pointee.origin.clientPort)
    }

    /// The socket that was asked for is here, in the channel.
    mutating func adopt(_ upstream: UpstreamPointer) {
        let descriptor = upstream.pointee.channel.descriptor
        upstream.pointee.phase = .connecting
        let token = Token(.upstream, upstream.pointee.handle).rawValue
        guard StreamSocket.prepare(descriptor) == 0 else { return dialFailed(upstream, .connectFailed) }
        do throws(SystemError) { try poller.addStream(descriptor, token: token) } catch {
            dialFailed(upstream, .connectFailed)
        }
    }

    /// The poller has something about the connection.
    mutating func upstreamIsReady(_ upstream: UpstreamPointer) {
        switch upstream.pointee.phase {
        case .closed, .requested: return
        case .connecting:
            guard upstream.pointee.channel.state.contains(.writable) else { return }
            guard StreamSocket.pendingError(upstream.pointee.channel.descriptor) == 0 else {
                counters.failedDials += 1
                return dialFailed(upstream, .connectFailed)
            }
            guard !isInClear(upstream) else { return dialFailed(upstream, .legRefused) }
            upstream.pointee.phase = .open
            upstream.pointee.openedAt = now
            timers.cancel(upstream.pointee.timer)
            guard let pool = upstream.pointee.pool else { return relayConnected(upstream) }
            if pool.pointee.key.isHTTP2 { return beginHTTP2(upstream) }
            pool.pointee.dialing -= 1
            serve(upstream)
        case .open:
            if upstream.pointee.session != nil { return driveHTTP2(upstream) }
            if let exchange = upstream.pointee.exchange { return advance(exchange) }
            // An idle connection has nothing to say: bytes, an end or an error make it useless.
            guard upstream.pointee.channel.state.contains(.readable) else { return }
            if upstream.pointee.isIdle, StreamSocket.isQuiet(upstream.pointee.channel.descriptor) {
                return upstream.pointee.channel.state.subtract([.readable, .endAnnounced])
            }
            close(upstream)
        }
    }

    /// Gives a connection that is free to the request that has waited longest, or keeps it.
    private mutating func serve(_ upstream: UpstreamPointer) {
        guard let pool = upstream.pointee.pool else { return }
        while let exchange = pool.pointee.firstWaiting {
            pool.pointee.removeWaiting(exchange)
            defer { wake(exchange) }
            if isStillAdmitted(exchange) { return attach(upstream, to: exchange) }
        }
        if pool.pointee.idleCount >= configuration.idlePerPool, let oldest = pool.pointee.lastIdle { close(oldest) }
        upstream.pointee.channel.relax(&buffers)
        upstream.pointee.idleSince = now
        pool.pointee.pushIdle(upstream)
        // Set once; when it fires it looks at the time since which the connection has been idle.
        if !timers.isSet(upstream.pointee.timer) { setTimer(upstream, in: nextLook(in: keptTime(upstream))) }
    }

    /// The response is complete and the connection can carry another request.
    mutating func release(_ upstream: UpstreamPointer) {
        if let exchange = upstream.pointee.exchange { upstream.pointee.remove(exchange) }
        let isOld = now - upstream.pointee.openedAt >= configuration.upstreamLifetime
        let ended = !upstream.pointee.channel.state.isDisjoint(with: [.inputEnded, .broken, .endAnnounced])
        if isOld || ended || upstream.pointee.isLeaving
            || isDraining && upstream.pointee.pool?.pointee.firstWaiting == nil
        {
            return close(upstream)
        }
        upstream.pointee.channel.awaitNews()
        serve(upstream)
    }

    /// A connection did not come about: the request that has waited longest is told.
    mutating func dialFailed(_ upstream: UpstreamPointer, _ reason: ReasonCode) {
        guard let pool = upstream.pointee.pool else { return relayFailed(upstream, reason) }
        // Held, so that it does not go with its connection.
        pool.pointee.connections += 1
        close(upstream)
        // A connection of HTTP/2 would have served all of them.
        var failing = pool.pointee.key.isHTTP2 ? pool.pointee.waitingCount : 1
        while failing > 0 {
            failing -= 1
            failFirstWaiting(pool, reason)
        }
        pool.pointee.connections -= 1
        dialIfNeeded(pool)
        pools.removeIfUnused(pool)
    }

    private mutating func failFirstWaiting(_ pool: PoolPointer, _ reason: ReasonCode) {
        guard let exchange = pool.pointee.firstWaiting else { return }
        pool.pointee.removeWaiting(exchange)
        exchange.pointee.pool = nil
        attemptFailed(exchange, .notProcessed, reason)
        wake(exchange)
    }

    /// Takes the exchange off its connection, which is closed, or off the queue for one.
    mutating func leaveUpstream(_ exchange: ExchangePointer) {
        if let pool = exchange.pointee.pool {
            exchange.pointee.pool = nil
            pool.pointee.removeWaiting(exchange)
            pools.removeIfUnused(pool)
        }
        guard let upstream = exchange.pointee.upstream else { return }
        if upstream.pointee.session == nil { close(upstream) } else { leaveStream(exchange, upstream) }
    }

    mutating func close(_ upstream: UpstreamPointer) {
        guard upstream.pointee.phase != .closed else { return }
        let isPlain = upstream.pointee.session == nil
        let isOpen = upstream.pointee.phase == .open
        let wasDialing = !isOpen || !isPlain && !upstream.pointee.isSettled
        upstream.pointee.phase = .closed
        upstream.pointee.channel.close(&buffers)
        timers.cancel(upstream.pointee.timer)
        counters.upstreams -= 1
        if isPlain, let exchange = upstream.pointee.exchange {
            exchange.pointee.upstream = nil
            upstream.pointee.remove(exchange)
        }
        // What has come by streams is still passed on; the last to go gives the connection back.
        if upstream.pointee.exchange == nil { closedUpstreams.push(upstream) }
        endConnection(upstream)
        guard let pool = upstream.pointee.pool else { return }
        upstream.pointee.pool = nil
        pool.pointee.removeIdle(upstream)
        pool.pointee.connections -= 1
        if wasDialing { pool.pointee.dialing -= 1 }
        // Its place may be what others wait for.
        if pool.pointee.waitingCount > 0, !wasDialing { dialIfNeeded(pool) }
        pools.removeIfUnused(pool)
    }

    mutating func setTimer(_ upstream: UpstreamPointer, in milliseconds: UInt64) {
        let owner = Token(.upstream, upstream.pointee.handle).rawValue
        timers.set(upstream.pointee.timer, deadline: now + milliseconds, owner: owner)
    }
}

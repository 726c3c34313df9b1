// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// What time brings about.
///
/// Timers of connections are coarse: they stay set while requests come and go, and look at what was done when they fire,
/// so that a request on a busy connection sets none. Only a rule's own limits, and waits, have an exact timer.
extension Engine {
    mutating func fire(_ token: Token) {
        switch token.kind {
        case .downstream: downstreams.find(token.handle).map { downstreamFired($0) }
        case .upstream: upstreams.find(token.handle).map { upstreamFired($0) }
        case .exchange: exchanges.find(token.handle).map { exchangeFired($0) }
        case .worker: workerFired()
        case .mailbox, .listener, nil: break
        }
    }

    private mutating func downstreamFired(_ downstream: DownstreamPointer) {
        switch downstream.pointee.phase {
        case .closed: return
        case .held: return release(downstream)
        case .detecting: return detectionFired(downstream)
        // What could not be sent by now will not be; a client that does not close is left.
        case .lingering, .discarding: return close(downstream, resetting: !downstream.pointee.channel.output.isEmpty)
        case .open: break
        }
        guard downstream.pointee.session == nil else { return http2Fired(downstream) }
        guard let exchange = downstream.pointee.exchange else {
            let limit = downstream.pointee.hasRequested ? configuration.idleTimeout : configuration.headTimeout
            let passed = now - downstream.pointee.quietSince
            if passed < limit { return setTimer(downstream, in: limit - passed) }
            return perform(downstream.pointee.http1.persistence.beginDrain(), on: downstream)
        }
        if exchange.pointee.stage == .head {
            let passed = now - exchange.pointee.beganAt
            if passed < configuration.headTimeout {
                return setTimer(downstream, in: configuration.headTimeout - passed)
            }
            return answer(exchange, .headTimeout)
        }
        checkProgress(exchange, downstream)
    }

    /// Ends an exchange of which nothing has moved since the timer was set: after once to twice the limit.
    mutating func checkProgress(_ exchange: ExchangePointer, _ downstream: DownstreamPointer) {
        let isTunnel = exchange.pointee.stage == .tunnel || exchange.pointee.marks.contains(.streamTunnel)
        let isRelay = isTunnel && exchange.pointee.marks.contains(.relay)
        let turn = isTunnel ? configuration.tunnelIdleTimeout : configuration.stallTimeout
        let limit = isRelay ? relayIdleTime(exchange) : turn
        var mark = downstream.pointee.channel.received &+ downstream.pointee.channel.sent
        if let upstream = exchange.pointee.upstream {
            // A connection of HTTP/2 moves for others too.
            mark =
                upstream.pointee.session == nil
                ? mark &+ upstream.pointee.channel.received &+ upstream.pointee.channel.sent
                : mark &+ exchange.pointee.requestBody.moved &+ exchange.pointee.responseBody.moved
                    &+ UInt64(exchange.pointee.responseQueue.count)
        }
        if mark != exchange.pointee.progressMark {
            exchange.pointee.progressMark = mark
            exchange.pointee.progressAt = now
            return setTimer(downstream, in: min(limit, turn))
        }
        let passed = now - exchange.pointee.progressAt
        if passed < limit { return setTimer(downstream, in: min(limit - passed, turn)) }
        if isRelay { return cut(exchange, .responseStalled) }
        if exchange.pointee.stage == .discarding || isTunnel { return abandon(exchange, downstream) }
        // Who is it that does not go on? A client whose body is awaited, or the backend.
        let awaitsClient =
            exchange.pointee.marks.isDisjoint(with: [.requestDone, .awaitsTunnel])
            && exchange.pointee.requestBody.pending == 0
        answer(exchange, awaitsClient ? .bodyTimeout : .responseStalled)
    }

    /// Looks after a connection of HTTP/2: how long it has been idle, and which of its exchanges stand still.
    private mutating func http2Fired(_ downstream: DownstreamPointer) {
        guard downstream.pointee.exchange != nil else {
            let passed = now - downstream.pointee.quietSince
            if passed < configuration.idleTimeout {
                return setTimer(downstream, in: configuration.idleTimeout - passed)
            }
            return retire(downstream)
        }
        while let exchange = firstStalled(downstream) {
            let awaitsClient =
                !exchange.pointee.requestBody.sourceEnded && exchange.pointee.requestQueue.isEmpty
                && !exchange.pointee.marks.contains(.uploadBroken)
            answer(exchange, awaitsClient ? .bodyTimeout : .responseStalled)
        }
        setTimer(downstream, in: min(configuration.idleTimeout, configuration.stallTimeout))
    }

    /// An exchange of which nothing has moved for the time that is allowed.
    private func firstStalled(_ downstream: DownstreamPointer) -> ExchangePointer? {
        var next = downstream.pointee.exchange
        while let exchange = next {
            next = exchange.pointee.nextOnDownstream
            let queued = UInt64(exchange.pointee.requestQueue.count + exchange.pointee.responseQueue.count)
            let mark = exchange.pointee.requestBody.moved &+ exchange.pointee.responseBody.moved &+ queued
            if mark != exchange.pointee.progressMark {
                exchange.pointee.progressMark = mark
                exchange.pointee.progressAt = now
            } else {
                let isTunnel = exchange.pointee.marks.intersection([.streamTunnel, .outlivesStream]) == .streamTunnel
                let limit = isTunnel ? configuration.tunnelIdleTimeout : configuration.stallTimeout
                if now - exchange.pointee.progressAt >= limit { return exchange }
            }
        }
        return nil
    }

    private mutating func upstreamFired(_ upstream: UpstreamPointer) {
        switch upstream.pointee.phase {
        case .closed: break
        case .requested, .connecting:
            counters.failedDials += 1
            dialFailed(upstream, .connectTimeout)
        case .open:
            if upstream.pointee.session != nil { return http2Fired(upstream) }
            // In use: it is set again when the connection becomes idle.
            guard upstream.pointee.isIdle else { return }
            let passed = now - upstream.pointee.idleSince
            let kept = keptTime(upstream)
            if passed >= kept { return close(upstream) }
            setTimer(upstream, in: nextLook(in: kept - passed))
        }
    }

    /// Sets the exchange's timer to the earliest of its deadlines. Without one it costs nothing.
    @inline(__always)
    mutating func armTimer(_ exchange: ExchangePointer) {
        var earliest = UInt64.max
        if exchange.pointee.requestDeadline > 0 { earliest = exchange.pointee.requestDeadline }
        if exchange.pointee.attemptDeadline > 0 { earliest = min(earliest, exchange.pointee.attemptDeadline) }
        if exchange.pointee.legDeadline > 0 { earliest = min(earliest, exchange.pointee.legDeadline) }
        if exchange.pointee.backoffUntil > 0 { earliest = min(earliest, exchange.pointee.backoffUntil) }
        // An exchange that has ended is not to be woken.
        guard earliest < .max, exchange.pointee.downstream != nil else { return }
        timers.set(
            exchange.pointee.timer, deadline: earliest, owner: Token(.exchange, exchange.pointee.handle).rawValue)
    }

    private mutating func exchangeFired(_ exchange: ExchangePointer) {
        guard exchange.pointee.downstream != nil else { return }
        if exchange.pointee.requestDeadline > 0, now >= exchange.pointee.requestDeadline {
            return answer(exchange, .requestTimeout)
        }
        if exchange.pointee.attemptDeadline > 0, now >= exchange.pointee.attemptDeadline {
            exchange.pointee.attemptDeadline = 0
            return attemptFailed(exchange, .timedOut, .backendTimeout)
        }
        if exchange.pointee.legDeadline > 0, now >= exchange.pointee.legDeadline {
            exchange.pointee.legDeadline = 0
            return attemptFailed(exchange, .notProcessed, .connectTimeout)
        }
        if exchange.pointee.backoffUntil > 0, now >= exchange.pointee.backoffUntil { return resume(exchange) }
        armTimer(exchange)
    }

    private mutating func workerFired() {
        if listeners.isPaused { resumeListeners() }
        if isDraining, now >= drainDeadline { cutEverything() }
    }
}

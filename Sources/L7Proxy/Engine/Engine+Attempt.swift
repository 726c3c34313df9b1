// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import MeshModel

/// Attempts: an endpoint, a connection to it, the request on it; and what follows when one fails.
extension Engine {
    /// Makes ready for the body of the request, from its first byte.
    mutating func beginRequestBody(_ exchange: ExchangePointer) {
        guard let downstream = exchange.pointee.downstream else { return }
        let old = exchange.pointee.requestBody
        exchange.pointee.requestBody = BodyFlow()
        exchange.pointee.requestBody.sourceEnded = old.sourceEnded
        exchange.pointee.requestBody.trailed = old.trailed
        exchange.pointee.requestBody.mayTrail = exchange.pointee.head.framing == .chunked
        exchange.pointee.requestBody.floor = Int(exchange.pointee.head.length)
        if exchange.pointee.mirror != nil, exchange.pointee.stream == nil { rewindMirrors(exchange) }
        downstream.pointee.http1.body = HTTP1BodyReader(exchange.pointee.head.framing, limits: limits)
    }

    /// Whether the backend is spoken to by HTTP/2: its Service says so, gRPC needs it, or it is where the client meant to
    /// go by HTTP/2.
    private func usesHTTP2(_ exchange: ExchangePointer) -> Bool {
        if exchange.pointee.marks.contains(.onlyHTTP1) { return false }
        if exchange.pointee.marks.contains(.isGRPC) { return true }
        if let rule = exchange.pointee.rule, rule.pointee.traits.contains(.grpc) { return true }
        return exchange.pointee.service?.pointee.isHTTP2 ?? (exchange.pointee.stream != nil)
    }

    /// Begins an attempt at the exchange's service, or at the address that the client has connected to.
    mutating func startAttempt(_ exchange: ExchangePointer) {
        guard let downstream = exchange.pointee.downstream else { return }
        exchange.pointee.stage = .waiting
        bindToNewest(downstream)
        let origin = downstream.pointee.origin
        guard let endpoint = chooseDestination(exchange, downstream) else { return }
        guard admit(exchange, downstream, endpoint) else { return }
        if let rule = exchange.pointee.rule, rule.pointee.traits.contains(.mirrors) {
            startMirrors(exchange, downstream, rule)
        }
        exchange.pointee.record.endpoint = endpoint
        exchange.pointee.record.attempts &+= 1
        let timeout = backendTimeout(exchange, downstream)
        if timeout > 0 { exchange.pointee.attemptDeadline = now + timeout }
        let showsClient = exchange.pointee.service?.pointee.poolsPerClient ?? downstream.pointee.showsClient
        let key = UpstreamPool.Key(
            address: endpoint.address, port: endpoint.port, network: origin.network, outsider: origin.outsider,
            client: showsClient ? origin.client : nil, isHTTP2: usesHTTP2(exchange),
            isMirror: exchange.pointee.marks.contains(.isMirror))
        guard let pool = pools.find(key) else { return answer(exchange, .tooManyConnections) }
        if !exchange.pointee.marks.contains(.freshOnly), let upstream = takeIdle(pool, for: exchange) {
            counters.reuses += 1
            exchange.pointee.record.flags.insert(.reusedConnection)
            attach(upstream, to: exchange)
        } else {
            guard pool.pointee.waitingCount < configuration.waitingPerPool else {
                pools.removeIfUnused(pool)
                return answer(exchange, .tooManyWaiting)
            }
            guard beginWaiting(exchange) else {
                pools.removeIfUnused(pool)
                return answer(exchange, .circuitOpen)
            }
            exchange.pointee.record.flags.remove(.reusedConnection)
            // One that may not be used must not keep a new one out.
            if pool.pointee.connections >= configuration.connectionsPerPool, let oldest = pool.pointee.lastIdle,
                oldest.pointee.exchange == nil
            {
                pool.pointee.connections += 1
                close(oldest)
                pool.pointee.connections -= 1
            }
            exchange.pointee.pool = pool
            exchange.pointee.legDeadline = now + connectTimeout(exchange)
            pool.pointee.enqueue(exchange)
            dialIfNeeded(pool)
        }
        armTimer(exchange)
    }

    /// An idle connection that is still good.
    ///
    /// A request that must not be repeated (RFC 9110 section 9.2.2) is not risked on a connection whose end has arrived
    /// but was not reported yet.
    @inline(__always)
    private mutating func takeIdle(_ pool: PoolPointer, for exchange: ExchangePointer) -> UpstreamPointer? {
        // One of HTTP/2 stays in the list while it has room, and says itself when it ends.
        if pool.pointee.key.isHTTP2 {
            guard let first = pool.pointee.firstIdle, mayCarry(exchange, first) else { return nil }
            return first
        }
        while let upstream = pool.pointee.popIdle() {
            if exchange.pointee.head.method.isIdempotent || StreamSocket.isQuiet(upstream.pointee.channel.descriptor) {
                return upstream
            }
            // The pool is about to be used: it must not go with its last connection.
            pool.pointee.connections += 1
            close(upstream)
            pool.pointee.connections -= 1
        }
        return nil
    }

    /// Puts the request on a connection. The exchange goes on when its client's connection is driven.
    mutating func attach(_ upstream: UpstreamPointer, to exchange: ExchangePointer) {
        endWaiting(exchange)
        exchange.pointee.pool = nil
        exchange.pointee.legDeadline = 0
        exchange.pointee.upstream = upstream
        exchange.pointee.stage = .flowing
        upstream.pointee.add(exchange)
        upstream.pointee.requests &+= 1
        upstream.pointee.sentBefore = upstream.pointee.channel.sent
        upstream.pointee.receivedBefore = upstream.pointee.channel.received
        exchange.pointee.record.sentAt = nanoseconds
        exchange.pointee.record.noteTunnel(upstream.pointee.channel.mark != nil)
        let head = exchange.pointee.head
        let hasRetry = exchange.pointee.rule?.pointee.traits.contains(.retry) ?? false
        // A backend of HTTP/2 may refuse any request unseen (RFC 9113 section 8.7).
        let isHTTP2 = upstream.pointee.session != nil
        exchange.pointee.requestBody.keeps =
            head.framing != .none && (head.method.isIdempotent || hasRetry || isHTTP2)
        exchange.pointee.responseBody = BodyFlow()
        exchange.pointee.marks.remove(.headArrived)
        exchange.pointee.resetCode = .noError
        if isHTTP2 { return openStream(upstream, for: exchange) }
        if !writeRequest(exchange, upstream) { return answer(exchange, .headTooLarge) }
    }

    // MARK: - Failure

    /// How often a request is sent again that a backend has refused unseen.
    private static var refusalsRepeated: UInt8 { 3 }

    /// The attempt has failed before a response began: repeats the request if that is right, answers it if not.
    mutating func attemptFailed(_ exchange: ExchangePointer, _ outcome: RouteRetry.Outcome, _ reason: ReasonCode) {
        guard let downstream = exchange.pointee.downstream else { return }
        if exchange.pointee.marks.contains(.responseBegan) {
            exchange.pointee.record.reason = .responseCut
            return abandon(exchange, downstream)
        }
        var outcome = outcome
        var wasKept = false
        var isRefused = false
        if let upstream = exchange.pointee.upstream {
            let isHTTP2 = upstream.pointee.session != nil
            let saidNothing = upstream.pointee.channel.received == upstream.pointee.receivedBefore
            wasKept = upstream.pointee.requests > 1 && (saidNothing || isHTTP2)
            if isHTTP2 {
                isRefused = outcome == .notProcessed
            } else if outcome == .broken, upstream.pointee.channel.sent == upstream.pointee.sentBefore {
                outcome = .notProcessed
            }
        }
        // What a backend has not looked at says nothing about it.
        endAttempt(exchange, wasKept || isRefused ? .cancelled : reason.outcome)
        leaveUpstream(exchange)
        guard exchange.pointee.mayReplay else { return answer(exchange, reason) }
        // RFC 9113 section 8.7: whatever the method. Bounded, for a backend may refuse for ever.
        if isRefused, exchange.pointee.refusals < Self.refusalsRepeated {
            exchange.pointee.refusals += 1
            exchange.pointee.marks.insert(.freshOnly)
            counters.repeatsAfterClose += 1
            return replay(exchange)
        }
        // A kept connection that ends without a word was closed before the request arrived, most likely; only a request
        // that may be repeated anyway is (RFC 9112 section 9.3.1).
        if wasKept, outcome == .broken || outcome == .notProcessed, !exchange.pointee.marks.contains(.repeated),
            outcome == .notProcessed || exchange.pointee.head.method.isIdempotent
        {
            exchange.pointee.marks.formUnion([.repeated, .freshOnly])
            exchange.pointee.record.flags.insert(.repeatedAfterClose)
            counters.repeatsAfterClose += 1
            return replay(exchange)
        }
        guard let wait = retryWait(exchange, outcome) else {
            let isSpent = exchange.pointee.choice.marks.contains(.budgetSpent)
            return answer(exchange, isSpent ? .retryBudgetSpent : reason)
        }
        backOff(exchange, wait)
    }

    /// Begins the next attempt after `wait` milliseconds.
    mutating func backOff(_ exchange: ExchangePointer, _ wait: UInt64) {
        exchange.pointee.retries += 1
        counters.retries += 1
        exchange.pointee.stage = .backoff
        exchange.pointee.attemptDeadline = 0
        exchange.pointee.backoffUntil = now + wait
        armTimer(exchange)
    }

    /// Milliseconds until the next attempt that the rule allows; `nil`: none.
    mutating func retryWait(_ exchange: ExchangePointer, _ outcome: RouteRetry.Outcome) -> UInt64? {
        guard !exchange.pointee.marks.contains(.isMirror), let rule = exchange.pointee.rule,
            rule.pointee.traits.contains(.retry),
            let snapshot = exchange.pointee.hold?.pointee.snapshot?.takeUnretainedValue()
        else { return nil }
        let compiled = snapshot.rule(rule)
        let decision = compiled.retry?.decision(
            outcome, retries: exchange.pointee.retries, elapsed: now - exchange.pointee.beganAt,
            timeouts: compiled.timeouts, random: nextRandom())
        guard case .retry(let wait) = decision, beginRetry(exchange) else { return nil }
        return wait
    }

    /// Sends the request again from the client's block, where its head, and its body so far, still are.
    mutating func replay(_ exchange: ExchangePointer) {
        guard let downstream = exchange.pointee.downstream else { return }
        exchange.pointee.backoffUntil = 0
        exchange.pointee.marks.subtract([.uploadBroken, .requestDone, .isUpgrade, .bodyBegan, .awaitsTunnel])
        // What the last attempt left out of the fields may be other than what this one will.
        exchange.pointee.requestFields.restore()
        if exchange.pointee.stream == nil, !exchange.pointee.marks.contains(.isMirror) {
            downstream.pointee.channel.input.start = Int(exchange.pointee.head.length)
        } else {
            exchange.pointee.requestQueue.rewind()
        }
        beginRequestBody(exchange)
        exchange.pointee.noteBody()
        startAttempt(exchange)
        wake(exchange)
    }
}

// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import MeshModel

/// Attempts: an endpoint, a connection to it, the request on it; and what follows when one fails.
extension Engine {
    mutating func beginRequestBody(_ exchange: ExchangePointer) {
        let framing = exchange.pointee.head.framing
        exchange.pointee.requestBody = BodyFlow()
        exchange.pointee.requestBody.reader = HTTP1BodyReader(framing, limits: limits)
        exchange.pointee.requestBody.writesChunks = framing == .chunked
        exchange.pointee.requestBody.floor = Int(exchange.pointee.head.length)
    }

    /// Begins an attempt at the exchange's service, or at the address that the client has connected to.
    mutating func startAttempt(_ exchange: ExchangePointer) {
        guard let downstream = exchange.pointee.downstream else { return }
        exchange.pointee.stage = .waiting
        let origin = downstream.pointee.origin
        var endpoint = ProxyEndpoint(address: origin.destination, port: origin.destinationPort, weight: 0)
        if let service = exchange.pointee.service, let memories = exchange.pointee.hold?.pointee.memories {
            let index = Int(service.pointee.index)
            exchange.pointee.record.service = service.pointee.index
            guard
                let choice = EndpointChoice.choose(
                    service.pointee.endpoints, &memories[index], random: nextRandom())
            else { return answer(exchange, .noEndpoint) }
            endpoint = service.pointee.endpoints[choice]
        }
        exchange.pointee.record.endpoint = endpoint
        exchange.pointee.record.attempts &+= 1
        if let rule = exchange.pointee.rule, rule.pointee.backendTimeout > 0 {
            exchange.pointee.attemptDeadline = now + rule.pointee.backendTimeout
        }
        let key = UpstreamPool.Key(
            address: endpoint.address, port: endpoint.port, network: origin.network, outsider: origin.outsider)
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
            exchange.pointee.record.flags.remove(.reusedConnection)
            // One that may not be used must not keep a new one out.
            if pool.pointee.connections >= configuration.connectionsPerPool, let oldest = pool.pointee.lastIdle {
                pool.pointee.connections += 1
                close(oldest)
                pool.pointee.connections -= 1
            }
            exchange.pointee.pool = pool
            exchange.pointee.legDeadline = now + configuration.connectTimeout
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
        exchange.pointee.pool = nil
        exchange.pointee.legDeadline = 0
        exchange.pointee.upstream = upstream
        exchange.pointee.stage = .flowing
        upstream.pointee.exchange = exchange
        upstream.pointee.requests &+= 1
        upstream.pointee.sentBefore = upstream.pointee.channel.sent
        upstream.pointee.receivedBefore = upstream.pointee.channel.received
        exchange.pointee.record.sentAt = nanoseconds
        let head = exchange.pointee.head
        let hasRetry = exchange.pointee.rule?.pointee.traits.contains(.retry) ?? false
        exchange.pointee.requestBody.keeps = head.framing != .none && (head.method.isIdempotent || hasRetry)
        upstream.pointee.persistence.requestBegan(framing: head.framing)
        if !writeRequest(exchange, upstream) { return answer(exchange, .headTooLarge) }
        let expectsUpgrade = exchange.pointee.marks.contains(.isUpgrade)
        exchange.pointee.responseParser.reset(for: head.method, expectsUpgrade: expectsUpgrade)
    }

    /// Writes the head of the request. - Returns: Whether it had room, with what the route adds.
    private mutating func writeRequest(_ exchange: ExchangePointer, _ upstream: UpstreamPointer) -> Bool {
        guard let downstream = exchange.pointee.downstream, let message = exchange.pointee.message,
            upstream.pointee.channel.output.borrow(&buffers)
        else { return false }
        let ruleHeaders = exchange.pointee.rule?.pointee.request ?? HeaderPlan()
        let backendHeaders = exchange.pointee.backend?.pointee.request ?? HeaderPlan()
        ruleHeaders.drop(from: &exchange.pointee.requestFields, in: message)
        backendHeaders.drop(from: &exchange.pointee.requestFields, in: message)

        var forwarding = RequestForwarding()
        if exchange.pointee.head.options.contains(.upgrade), mayUpgrade(exchange, message) {
            exchange.pointee.marks.insert(.isUpgrade)
            forwarding.keepsUpgrade = true
        }
        if hasRewrite(exchange) { rewrite(exchange, &forwarding) }
        var writer = HTTP1HeadWriter(upstream.pointee.channel.output.space)
        writer.beginRequest(exchange.pointee.head, &exchange.pointee.requestFields, in: message, forwarding)
        if configuration.addsForwardedFor {
            downstream.pointee.clientText.withBytes { writer.field(.xForwardedFor, $0) }
        }
        ruleHeaders.add(to: &writer, unlessDroppedBy: backendHeaders)
        backendHeaders.add(to: &writer)
        guard case .success(let count) = writer.finish() else { return false }
        upstream.pointee.channel.output.end += count
        return true
    }

    /// HTTP/2 in clear by upgrade was withdrawn (RFC 9113 section 3.1), and what it needs is not forwarded.
    private func mayUpgrade(_ exchange: ExchangePointer, _ message: UnsafeRawPointer) -> Bool {
        guard let place = exchange.pointee.requestFields.first(.upgrade) else { return false }
        return !FieldList.contains(exchange.pointee.requestFields[place].valueRange.bytes(in: message), "h2c")
    }

    private func hasRewrite(_ exchange: ExchangePointer) -> Bool {
        exchange.pointee.rule?.pointee.traits.contains(.rewrite) ?? false
            || exchange.pointee.backend?.pointee.traits.contains(.rewrite) ?? false
    }

    /// Sets target and host by the rule's rewrite, or by the backend's in its place. Their text is in ``scratch``.
    private func rewrite(_ exchange: ExchangePointer, _ forwarding: inout RequestForwarding) {
        guard let rule = exchange.pointee.rule,
            let snapshot = exchange.pointee.hold?.pointee.snapshot?.takeUnretainedValue()
        else { return }
        let compiled = snapshot.rule(rule)
        let own = exchange.pointee.backend.flatMap { compiled.backends[Int($0.pointee.index)].actions.rewrite }
        guard let rewrite = own ?? compiled.actions.rewrite else { return }
        var end = 0
        func place(_ text: some Collection<UInt8>) -> UnsafeRawBufferPointer? {
            guard text.count <= scratch.count - end else { return nil }
            let space = UnsafeMutableRawBufferPointer(rebasing: scratch[end..<(end + text.count)])
            space.copyBytes(from: text)
            end += text.count
            return UnsafeRawBufferPointer(space)
        }
        if rewrite.path != nil, let request = routeRequest(exchange, normalPath(exchange)) {
            var target: [UInt8] = []
            let prefix = exchange.pointee.prefixLength
            rewrite.appendTarget(to: &target, request, prefixLength: prefix < 0 ? nil : Int(prefix))
            forwarding.target = place(target)
        }
        if let hostname = rewrite.hostname { forwarding.host = place(hostname.utf8) }
    }

    // MARK: - Failure

    /// The attempt has failed before a response began: repeats the request if that is right, answers it if not.
    mutating func attemptFailed(_ exchange: ExchangePointer, _ outcome: RouteRetry.Outcome, _ reason: ReasonCode) {
        guard let downstream = exchange.pointee.downstream else { return }
        if exchange.pointee.marks.contains(.responseBegan) {
            exchange.pointee.record.reason = .responseCut
            return abandon(exchange, downstream)
        }
        var outcome = outcome
        var wasKept = false
        if let upstream = exchange.pointee.upstream {
            let saidNothing = upstream.pointee.channel.received == upstream.pointee.receivedBefore
            wasKept = upstream.pointee.requests > 1 && saidNothing
            if outcome == .broken, upstream.pointee.channel.sent == upstream.pointee.sentBefore {
                outcome = .notProcessed
            }
        }
        leaveUpstream(exchange)
        guard exchange.pointee.mayReplay else { return answer(exchange, reason) }
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
        guard let wait = retryWait(exchange, outcome) else { return answer(exchange, reason) }
        exchange.pointee.retries += 1
        counters.retries += 1
        exchange.pointee.stage = .backoff
        exchange.pointee.attemptDeadline = 0
        exchange.pointee.backoffUntil = now + wait
        armTimer(exchange)
    }

    /// Milliseconds until the next attempt that the rule allows; `nil`: none.
    mutating func retryWait(_ exchange: ExchangePointer, _ outcome: RouteRetry.Outcome) -> UInt64? {
        guard let rule = exchange.pointee.rule, rule.pointee.traits.contains(.retry),
            let snapshot = exchange.pointee.hold?.pointee.snapshot?.takeUnretainedValue()
        else { return nil }
        let compiled = snapshot.rule(rule)
        let decision = compiled.retry?.decision(
            outcome, retries: exchange.pointee.retries, elapsed: now - exchange.pointee.beganAt,
            timeouts: compiled.timeouts, random: nextRandom())
        guard case .retry(let wait) = decision else { return nil }
        return wait
    }

    /// Sends the request again from the client's block, where its head, and its body so far, still are.
    mutating func replay(_ exchange: ExchangePointer) {
        guard let downstream = exchange.pointee.downstream else { return }
        exchange.pointee.backoffUntil = 0
        exchange.pointee.marks.subtract([.uploadBroken, .requestDone, .isUpgrade, .bodyBegan])
        // What the last attempt left out of the fields may be other than what this one will.
        let length = Int(exchange.pointee.head.length)
        downstream.pointee.channel.input.start = 0
        exchange.pointee.parser.reset()
        _ = exchange.pointee.parser.parse(
            downstream.pointee.channel.input.bytes, into: &exchange.pointee.requestFields)
        downstream.pointee.channel.input.start = length
        beginRequestBody(exchange)
        if exchange.pointee.head.framing == .none { exchange.pointee.marks.insert(.requestDone) }
        startAttempt(exchange)
        enqueue(downstream)
    }
}

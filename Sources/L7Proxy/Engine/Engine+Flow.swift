// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import MeshModel

/// The flow of a request to its backend and of the response back, at once.
extension Engine {
    mutating func flow(_ exchange: ExchangePointer) {
        guard let downstream = exchange.pointee.downstream, let upstream = exchange.pointee.upstream else { return }
        if exchange.pointee.marks.isDisjoint(with: [.requestDone, .uploadBroken]) {
            sendBody(exchange, downstream, upstream)
        } else if !upstream.pointee.channel.output.isEmpty, case .broken = upstream.pointee.channel.flush() {
            exchange.pointee.marks.insert(.uploadBroken)
            upstream.pointee.channel.output.giveBack(&buffers)
        }
        // What was done may have ended the exchange, or its attempt.
        guard exchange.pointee.upstream == upstream, exchange.pointee.stage == .flowing else { return }
        if !exchange.pointee.marks.contains(.responseBegan) { receiveHead(exchange, downstream, upstream) }
        guard exchange.pointee.upstream == upstream, exchange.pointee.stage == .flowing,
            exchange.pointee.marks.contains(.responseBegan)
        else { return }
        receiveBody(exchange, downstream, upstream)
    }

    private mutating func sendBody(
        _ exchange: ExchangePointer, _ downstream: DownstreamPointer, _ upstream: UpstreamPointer
    ) {
        exchange.pointee.marks.insert(.bodyBegan)
        let outcome = BodyPump.run(
            from: &downstream.pointee.channel, to: &upstream.pointee.channel, &exchange.pointee.requestBody,
            trailers: &exchange.pointee.trailers, &buffers)
        if configuration.bodyBytes > 0, exchange.pointee.requestBody.moved > configuration.bodyBytes {
            return answer(exchange, .bodyTooLarge)
        }
        switch outcome {
        case .starved, .blocked: break
        case .yielded: enqueue(downstream)
        case .ended:
            exchange.pointee.marks.insert(.requestDone)
            upstream.pointee.persistence.requestEnded()
            _ = downstream.pointee.persistence.requestEnded()
        case .malformed(let defect):
            // RFC 9112 section 8: an incomplete request must not reach the backend as a complete one.
            let isCut = defect == .incomplete
            answer(exchange, isCut ? .clientGone : .bodyMalformed, status: isCut ? 400 : defect.requestStatus)
        case .sourceBroken:
            exchange.pointee.record.reason = .clientGone
            abandon(exchange, downstream)
        case .noMemory: answer(exchange, .outOfMemory)
        case .sinkBroken:
            // It may have answered before it closed (RFC 9112 section 9.5).
            exchange.pointee.marks.insert(.uploadBroken)
            upstream.pointee.channel.output.giveBack(&buffers)
            upstream.pointee.channel.state.insert(.readable)
        }
    }

    private mutating func receiveHead(
        _ exchange: ExchangePointer, _ downstream: DownstreamPointer, _ upstream: UpstreamPointer
    ) {
        while true {
            let bytes = upstream.pointee.channel.input.bytes
            switch exchange.pointee.responseParser.parse(bytes, into: &exchange.pointee.responseFields) {
            case .failed: return attemptFailed(exchange, .broken, .backendMalformed)
            case .complete(let length):
                exchange.pointee.responseHead = exchange.pointee.responseParser.head
                if exchange.pointee.responseHead.isInterim {
                    guard passInterim(exchange, downstream, upstream) else { return }
                    upstream.pointee.channel.input.start += length
                    exchange.pointee.responseParser.resetAfterInterim()
                    continue
                }
                if retriesStatus(exchange) { return }
                guard writeHead(exchange, downstream, upstream) else { return }
                upstream.pointee.channel.input.start += length
                return
            case .incomplete: break
            }
            switch upstream.pointee.channel.fill(&buffers) {
            case .received: continue
            case .nothing: return
            case .full: return attemptFailed(exchange, .broken, .backendMalformed)
            case .noMemory: return answer(exchange, .outOfMemory)
            case .ended, .broken: return attemptFailed(exchange, .broken, .backendReset)
            }
        }
    }

    /// Passes a 1xx on, except to an HTTP/1.0 client, which knows none (RFC 9110 section 15.2).
    ///
    /// - Returns: Whether it was dealt with; otherwise there is no room for it now.
    private mutating func passInterim(
        _ exchange: ExchangePointer, _ downstream: DownstreamPointer, _ upstream: UpstreamPointer
    ) -> Bool {
        upstream.pointee.persistence.responseBegan(exchange.pointee.responseHead)
        guard exchange.pointee.head.minorVersion > 0 else { return true }
        guard let message = upstream.pointee.channel.input.bytes.baseAddress,
            makeRoom(exchange, downstream, exchange.pointee.responseHead.length)
        else { return false }
        var writer = HTTP1HeadWriter(downstream.pointee.channel.output.space)
        _ = writer.beginResponse(exchange.pointee.responseHead, &exchange.pointee.responseFields, in: message)
        // One that cannot be passed on is left out: interim responses are for information.
        if case .success(let count) = writer.finish() {
            downstream.pointee.channel.output.end += count
            if exchange.pointee.responseHead.status == 100 { exchange.pointee.marks.insert(.sawContinue) }
            _ = downstream.pointee.channel.flush()
        }
        return true
    }

    /// Sees to it that a head of so many bytes fits. - Returns: Whether it does now.
    private mutating func makeRoom(
        _ exchange: ExchangePointer, _ downstream: DownstreamPointer, _ length: UInt32
    ) -> Bool {
        guard downstream.pointee.channel.output.borrow(&buffers) else {
            answer(exchange, .outOfMemory)
            return false
        }
        // Fields that a route adds fit into what is over; if not, the writer says so.
        if downstream.pointee.channel.output.room >= HTTP1HeadWriter.bound(forwarding: length) + 4096 { return true }
        if case .broken = downstream.pointee.channel.flush() {
            exchange.pointee.record.reason = .clientGone
            abandon(exchange, downstream)
            return false
        }
        return downstream.pointee.channel.output.isEmpty
    }

    /// Whether the status is one that the rule wants retried, and is.
    private mutating func retriesStatus(_ exchange: ExchangePointer) -> Bool {
        let status = exchange.pointee.responseHead.status
        guard let rule = exchange.pointee.rule, rule.pointee.traits.contains(.retry),
            rule.pointee.retryStatuses.contains(status),
            exchange.pointee.mayReplay,
            let wait = retryWait(exchange, .status(status))
        else { return false }
        endAttempt(exchange, .response(status: status))
        leaveUpstream(exchange)
        exchange.pointee.retries += 1
        counters.retries += 1
        exchange.pointee.stage = .backoff
        exchange.pointee.attemptDeadline = 0
        exchange.pointee.backoffUntil = now + wait
        armTimer(exchange)
        return true
    }

    /// Writes the head of the final response. - Returns: Whether it was written; then the body follows.
    private mutating func writeHead(
        _ exchange: ExchangePointer, _ downstream: DownstreamPointer, _ upstream: UpstreamPointer
    ) -> Bool {
        let head = exchange.pointee.responseHead
        guard let message = upstream.pointee.channel.input.bytes.baseAddress,
            makeRoom(exchange, downstream, head.length)
        else { return false }
        if head.framing == .tunnel, !exchange.pointee.marks.contains(.requestDone) {
            // The rest of the body and the first bytes of the tunnel could not be told apart.
            attemptFailed(exchange, .broken, .backendMalformed)
            return false
        }
        let version = exchange.pointee.head.minorVersion
        let sent = HTTP1HeadWriter.framing(of: head, forMinorVersion: version)
        // A client that was not told to continue may or may not send its body: it cannot be read on from there.
        let isUntold =
            exchange.pointee.head.options.contains(.expectContinue) && !exchange.pointee.marks.contains(.sawContinue)
            && exchange.pointee.requestBody.moved == 0
        var persistence = downstream.pointee.persistence
        var forwarding = ResponseForwarding()
        forwarding.clientMinorVersion = version
        forwarding.keepsUpgrade = head.status == 101 || head.status == 426
        forwarding.closes = persistence.responseBegan(
            framing: sent, abandonsBody: isUntold || exchange.pointee.marks.contains(.uploadBroken))

        let ruleHeaders = exchange.pointee.rule?.pointee.response ?? HeaderPlan()
        let backendHeaders = exchange.pointee.backend?.pointee.response ?? HeaderPlan()
        backendHeaders.drop(from: &exchange.pointee.responseFields, in: message)
        ruleHeaders.drop(from: &exchange.pointee.responseFields, in: message)
        if !exchange.pointee.corsFields.isEmpty { dropCORS(exchange, message) }
        var writer = HTTP1HeadWriter(downstream.pointee.channel.output.space)
        _ = writer.beginResponse(head, &exchange.pointee.responseFields, in: message, forwarding)
        backendHeaders.add(to: &writer, unlessDroppedBy: ruleHeaders)
        ruleHeaders.add(to: &writer)
        if !exchange.pointee.corsFields.isEmpty { writer.add(exchange.pointee.corsFields) }
        guard case .success(let count) = writer.finish() else {
            answer(exchange, .responseHeadTooLarge)
            return false
        }
        downstream.pointee.channel.output.end += count
        downstream.pointee.persistence = persistence
        upstream.pointee.persistence.responseBegan(head)
        exchange.pointee.marks.insert(.responseBegan)
        exchange.pointee.record.status = head.status
        exchange.pointee.record.answeredAt = nanoseconds
        exchange.pointee.requestBody.keeps = false
        // No other attempt follows: a long body need not keep an old configuration.
        leaveSnapshot(exchange)
        if head.framing == .tunnel {
            beginTunnel(exchange, downstream, upstream)
        } else {
            exchange.pointee.responseBody = BodyFlow()
            exchange.pointee.responseBody.reader = HTTP1BodyReader(head.framing, ofResponse: true, limits: limits)
            exchange.pointee.responseBody.writesChunks = sent == .chunked
        }
        return true
    }

    private func dropCORS(_ exchange: ExchangePointer, _ message: UnsafeRawPointer) {
        for field in exchange.pointee.corsFields where field.name != "Vary" {
            var name = field.name
            name.withUTF8 { name in
                let name = UnsafeRawBufferPointer(name)
                while let place = exchange.pointee.responseFields.first(named: name, in: message) {
                    exchange.pointee.responseFields.drop(place)
                }
            }
        }
    }

    private mutating func receiveBody(
        _ exchange: ExchangePointer, _ downstream: DownstreamPointer, _ upstream: UpstreamPointer
    ) {
        let outcome = BodyPump.run(
            from: &upstream.pointee.channel, to: &downstream.pointee.channel, &exchange.pointee.responseBody,
            trailers: &exchange.pointee.responseFields, &buffers)
        switch outcome {
        case .starved, .blocked: break
        case .yielded: enqueue(downstream)
        case .malformed, .sourceBroken, .noMemory:
            // RFC 9112 section 8: the client must see that the response is not complete.
            exchange.pointee.record.reason = .responseCut
            abandon(exchange, downstream)
        case .sinkBroken:
            exchange.pointee.record.reason = .clientGone
            abandon(exchange, downstream)
        case .ended:
            let hasLeftover = !upstream.pointee.channel.input.isEmpty || !upstream.pointee.channel.output.isEmpty
            let next = upstream.pointee.persistence.responseEnded(
                framing: exchange.pointee.responseHead.framing, hasLeftover: hasLeftover)
            exchange.pointee.upstream = nil
            if next == .reuse { release(upstream) } else { close(upstream) }
            responseEnded(exchange, downstream)
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import MeshModel

/// The heads of a response, as they come from a backend and as they go to the client, whatever the protocols.
extension Engine {
    /// Takes the head of the response, if it is here.
    mutating func receiveHead(
        _ exchange: ExchangePointer, _ downstream: DownstreamPointer, _ upstream: UpstreamPointer
    ) {
        guard upstream.pointee.session == nil else {
            guard exchange.pointee.marks.contains(.headArrived),
                let message = exchange.pointee.upstreamStream.map({ UnsafeRawPointer($0.slot.pointee.head.bytes) }),
                !retriesStatus(exchange)
            else { return }
            _ = passHead(exchange, downstream, upstream, message)
            return
        }
        while true {
            let bytes = upstream.pointee.channel.input.bytes
            switch upstream.pointee.http1.parser.parse(bytes, into: &exchange.pointee.responseFields) {
            case .failed:
                // It speaks HTTP/2, in which it takes no tunnels, and nothing else.
                let isOnlyHTTP2 = exchange.pointee.marks.contains(.onlyHTTP1)
                return attemptFailed(exchange, .broken, isOnlyHTTP2 ? .methodNotSupported : .backendMalformed)
            case .complete(let length):
                guard let message = bytes.baseAddress else { return }
                exchange.pointee.responseHead = upstream.pointee.http1.parser.head
                if exchange.pointee.responseHead.isInterim {
                    guard passInterim(exchange, downstream, message) else { return }
                    upstream.pointee.http1.persistence.responseBegan(exchange.pointee.responseHead)
                    upstream.pointee.channel.input.start += length
                    upstream.pointee.http1.parser.resetAfterInterim()
                    continue
                }
                if retriesStatus(exchange) { return }
                guard passHead(exchange, downstream, upstream, message) else { return }
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
    mutating func passInterim(
        _ exchange: ExchangePointer, _ downstream: DownstreamPointer, _ message: UnsafeRawPointer
    ) -> Bool {
        if let stream = exchange.pointee.stream {
            passInterim(exchange, downstream, stream, message)
            return true
        }
        guard exchange.pointee.head.minorVersion > 0, !exchange.pointee.marks.contains(.isMirror) else { return true }
        guard makeRoom(exchange, downstream, exchange.pointee.responseHead.length) else { return false }
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

    /// Sees to it that a head of so many bytes fits into the output of HTTP/1. - Returns: Whether it does now.
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
        backOff(exchange, wait)
        return true
    }

    /// Passes the head of the final response on. - Returns: Whether it was; then the body follows.
    private mutating func passHead(
        _ exchange: ExchangePointer, _ downstream: DownstreamPointer, _ upstream: UpstreamPointer,
        _ message: UnsafeRawPointer
    ) -> Bool {
        if exchange.pointee.marks.contains(.awaitsTunnel), !translateTunnel(exchange, upstream, message) {
            attemptFailed(exchange, .broken, .backendMalformed)
            return false
        }
        let head = exchange.pointee.responseHead
        let stream = exchange.pointee.stream
        let isMirror = exchange.pointee.marks.contains(.isMirror)
        if stream == nil, !isMirror, !makeRoom(exchange, downstream, head.length) { return false }
        let isStreamTunnel = head.framing == .tunnel && exchange.pointee.marks.contains(.awaitsTunnel)
        if head.framing == .tunnel, !isStreamTunnel,
            stream != nil || isMirror || !exchange.pointee.marks.contains(.requestDone)
        {
            // The rest of the body and the first bytes of the tunnel could not be told apart; HTTP/2 has no 101.
            attemptFailed(exchange, .broken, .backendMalformed)
            return false
        }
        let ruleHeaders = exchange.pointee.rule?.pointee.response ?? HeaderPlan()
        let backendHeaders = exchange.pointee.backend?.pointee.response ?? HeaderPlan()
        if exchange.pointee.marks.contains(.isGRPC),
            let status = Exchange.grpcStatus(exchange.pointee.responseFields, in: message)
        {
            exchange.pointee.record.grpcStatus = status
        }
        backendHeaders.drop(from: &exchange.pointee.responseFields, in: message)
        ruleHeaders.drop(from: &exchange.pointee.responseFields, in: message)
        if !exchange.pointee.corsFields.isEmpty { dropCORS(exchange, message) }
        let old = exchange.pointee.responseBody
        exchange.pointee.responseBody = BodyFlow()
        exchange.pointee.responseBody.sourceEnded = old.sourceEnded
        exchange.pointee.responseBody.trailed = old.trailed
        exchange.pointee.responseBody.mayTrail = head.framing == .chunked
        let isWritten =
            if let stream {
                writeHead(exchange, downstream, stream, message, ruleHeaders, backendHeaders)
            } else if isMirror {
                true
            } else {
                writeHead(exchange, downstream, message, ruleHeaders, backendHeaders)
            }
        guard isWritten else {
            answer(exchange, .responseHeadTooLarge)
            return false
        }
        exchange.pointee.marks.insert(.responseBegan)
        exchange.pointee.record.status = head.status
        exchange.pointee.record.answeredAt = nanoseconds
        exchange.pointee.requestBody.keeps = false
        if stream != nil || isMirror { exchange.pointee.requestQueue.forget(&buffers) }
        // No other attempt follows: a long body need not keep an old configuration.
        leaveSnapshot(exchange)
        if upstream.pointee.session == nil {
            upstream.pointee.http1.persistence.responseBegan(head)
            if isStreamTunnel {
                beginStreamTunnel(exchange, upstream)
            } else if head.framing == .tunnel {
                beginTunnel(exchange, downstream, upstream)
            } else {
                upstream.pointee.http1.body = HTTP1BodyReader(head.framing, ofResponse: true, limits: limits)
            }
        } else if isStreamTunnel {
            beginStreamTunnel(exchange, upstream)
        }
        return true
    }

    /// Makes of a backend's answer to a wish for a tunnel what the client is told (RFC 8441 section 5): a stream a 200,
    /// which means that there is a tunnel, and only that; a connection of HTTP/1.1 a 101.
    ///
    /// - Returns: Whether it can be told. A backend of HTTP/1 that takes no upgrade may say 200 all the same, and one that
    ///   has not understood the wish, 101.
    private func translateTunnel(
        _ exchange: ExchangePointer, _ upstream: UpstreamPointer, _ message: UnsafeRawPointer
    ) -> Bool {
        let status = exchange.pointee.responseHead.status
        guard exchange.pointee.responseHead.framing == .tunnel else {
            endWish(exchange, upstream)
            return status < 200 || status >= 300
        }
        if upstream.pointee.session == nil {
            guard isAccepted(exchange, message) else { return false }
            exchange.pointee.responseHead.status = 200
        } else if exchange.pointee.stream == nil {
            exchange.pointee.responseHead.status = 101
        }
        exchange.pointee.responseFields.remove(.secWebsocketAccept)
        return true
    }

    /// A client's connection of HTTP/1.1 gets no tunnel: its request was one like others, without a body.
    private func endWish(_ exchange: ExchangePointer, _ upstream: UpstreamPointer) {
        guard exchange.pointee.stream == nil, let sink = exchange.pointee.upstreamStream else { return }
        exchange.pointee.marks.remove(.awaitsTunnel)
        exchange.pointee.marks.insert(.requestDone)
        Exchange.backend(upstream, sink)?.offerEnd()
    }

    /// Writes it to a connection of HTTP/1. - Returns: Whether it had room.
    private mutating func writeHead(
        _ exchange: ExchangePointer, _ downstream: DownstreamPointer, _ message: UnsafeRawPointer,
        _ ruleHeaders: HeaderPlan, _ backendHeaders: HeaderPlan
    ) -> Bool {
        let head = exchange.pointee.responseHead
        let version = exchange.pointee.head.minorVersion
        let sent = HTTP1HeadWriter.framing(of: head, forMinorVersion: version)
        // A client that was not told to continue may or may not send its body: it cannot be read on from there.
        let isUntold =
            exchange.pointee.head.options.contains(.expectContinue) && !exchange.pointee.marks.contains(.sawContinue)
            && exchange.pointee.requestBody.moved == 0
        var persistence = downstream.pointee.http1.persistence
        var forwarding = ResponseForwarding()
        forwarding.clientMinorVersion = version
        forwarding.keepsUpgrade = head.status == 101 || head.status == 426
        forwarding.closes = persistence.responseBegan(
            framing: sent, abandonsBody: isUntold || exchange.pointee.marks.contains(.uploadBroken))
        var writer = HTTP1HeadWriter(downstream.pointee.channel.output.space)
        let beginsTunnel = head.framing == .tunnel && exchange.pointee.marks.contains(.awaitsTunnel)
        if beginsTunnel { forwarding.upgradesTo = Self.webSocket }
        _ = writer.beginResponse(head, &exchange.pointee.responseFields, in: message, forwarding)
        if beginsTunnel { writeAccept(exchange, &writer) }
        backendHeaders.add(to: &writer, unlessDroppedBy: ruleHeaders)
        ruleHeaders.add(to: &writer)
        if !exchange.pointee.corsFields.isEmpty { writer.add(exchange.pointee.corsFields) }
        guard case .success(let count) = writer.finish() else { return false }
        downstream.pointee.channel.output.end += count
        downstream.pointee.http1.persistence = persistence
        exchange.pointee.responseBody.writesChunks = sent == .chunked
        return true
    }

    private func dropCORS(_ exchange: ExchangePointer, _ message: UnsafeRawPointer) {
        for field in exchange.pointee.corsFields where field.name != "Vary" {
            var name = field.name
            name.withUTF8 {
                exchange.pointee.responseFields.remove(named: UnsafeRawBufferPointer($0), in: message)
            }
        }
    }
}

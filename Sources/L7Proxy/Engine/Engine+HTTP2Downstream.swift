// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import MeshModel

/// A client's connection by HTTP/2 (RFC 9113): each of its streams is an exchange.
extension Engine {
    /// The client has begun with the preface: the connection speaks HTTP/2 from its first byte.
    mutating func beginHTTP2(_ downstream: DownstreamPointer) {
        let session = HTTP2ServerSession(limits: configuration.http2, pool: memory, now: now)
        downstream.pointee.session = Unmanaged.passRetained(session)
        downstream.pointee.quietSince = now
        if isDraining { session.drain() }
    }

    /// Does all that can be done for the connection now.
    mutating func driveHTTP2(_ downstream: DownstreamPointer) {
        guard let session = downstream.pointee.session else { return }
        // What its own events cause is sent below: it need not wait in the queue for that.
        let wasQueued = downstream.pointee.isQueued
        downstream.pointee.isQueued = true
        let state = withUnsafeMutablePointer(to: &self) { engine in
            var handler = DownstreamEvents(engine: engine, downstream: downstream)
            return withUnsafeMutablePointer(to: &downstream.pointee.channel) { channel in
                session._withUnsafeGuaranteedRef { HTTP2Connection.drive($0, channel, engine, &handler) }
            }
        }
        downstream.pointee.isQueued = wasQueued
        switch state {
        case .open: break
        case .yielded: enqueue(downstream)
        case .broken:
            let isInOrder =
                downstream.pointee.channel.state.contains(.inputEnded)
                && !downstream.pointee.channel.state.contains(.broken)
            if !isInOrder || !outliveConnection(downstream) { close(downstream) }
        case .ending: if !outliveConnection(downstream) { perform(.closeLingering, on: downstream) }
        }
    }

    /// Ends an idle connection in two steps (RFC 9113 section 6.8), or at once if the client has not gone along.
    mutating func retire(_ downstream: DownstreamPointer) {
        guard let session = downstream.pointee.session else { return }
        if session._withUnsafeGuaranteedRef({ $0.isDraining }) { return close(downstream) }
        session._withUnsafeGuaranteedRef { $0.drain() }
        setTimer(downstream, in: configuration.idleTimeout)
        enqueue(downstream)
    }

    /// Ends all exchanges of a connection that ends.
    mutating func abandonAll(_ downstream: DownstreamPointer) {
        while let exchange = downstream.pointee.exchange { abandon(exchange, downstream) }
    }

    // MARK: - Events

    @inline(__always)
    static func exchange(of stream: HTTP2Stream) -> ExchangePointer? { ExchangePointer(bitPattern: stream.context) }

    mutating func handle(_ event: HTTP2Event, of downstream: DownstreamPointer) {
        switch event {
        case .request(let stream, let isWhole): beginExchange(stream, isWhole, downstream)
        case .data(let stream, let bytes):
            guard let exchange = Self.exchange(of: stream) else {
                // Answered already: the connection's window must not stay shut.
                downstream.pointee.session?._withUnsafeGuaranteedRef { $0.consume(stream, bytes.count) }
                return
            }
            guard exchange.pointee.requestQueue.append(bytes, &buffers) else { return answer(exchange, .outOfMemory) }
            if exchange.pointee.mirror != nil { copyToMirrors(bytes, of: exchange) }
            advance(exchange)
        case .end(let stream), .trailers(let stream):
            guard let exchange = Self.exchange(of: stream) else { return }
            exchange.pointee.requestBody.sourceEnded = true
            if case .trailers = event { exchange.pointee.requestBody.trailed = true }
            if exchange.pointee.mirror != nil { endMirrors(exchange) }
            advance(exchange)
        case .sent(let stream, let count):
            guard let exchange = Self.exchange(of: stream), let upstream = exchange.pointee.upstream else { return }
            if let source = exchange.pointee.upstreamStream.flatMap({ Exchange.backend(upstream, $0) }) {
                BodyPump.sent(
                    count, from: source, &exchange.pointee.responseQueue, &exchange.pointee.responseBody, &buffers)
                enqueue(upstream)
            } else {
                BodyPump.sent(count, from: &upstream.pointee.channel, &exchange.pointee.responseBody)
            }
            advance(exchange)
        case .closed(let stream, let code):
            guard let exchange = Self.exchange(of: stream), !outlivesStream(exchange, code) else { return }
            exchange.pointee.record.reason = .clientGone
            abandon(exchange, downstream)
        case .refused(_, let defect): recordRefused(downstream, defect)
        case .interim, .response, .goAway, .settings, .pong, .frame: break
        }
    }

    private mutating func beginExchange(_ stream: HTTP2Stream, _ isWhole: Bool, _ downstream: DownstreamPointer) {
        guard let exchange = makeExchange(downstream) else {
            // RFC 9113 section 8.7: nothing was done, so the client may send it again.
            downstream.pointee.session?._withUnsafeGuaranteedRef { $0.reset(stream, .refusedStream) }
            return
        }
        exchange.pointee.stream = stream
        stream.context = Int(bitPattern: exchange)
        swap(&exchange.pointee.requestFields, &stream.slot.pointee.head.fields)
        exchange.pointee.head = stream.request
        exchange.pointee.requestBody.sourceEnded = isWhole
        exchange.pointee.record.flags.insert(.http2)
        if let message = exchange.pointee.message, GRPCRequest.isCall(exchange.pointee.requestFields, in: message) {
            exchange.pointee.marks.insert(.isGRPC)
            exchange.pointee.limitTimeOfCall()
        }
        route(exchange, downstream)
        if exchange.pointee.downstream == downstream { advance(exchange) }
    }

    /// A request that the session has refused, and answered, before there was an exchange.
    private mutating func recordRefused(_ downstream: DownstreamPointer, _ defect: MalformedMessage) {
        var record = RequestRecord(origin: downstream.pointee.origin)
        record.startedAt = nanoseconds
        record.endedAt = nanoseconds
        record.status = defect.requestStatus
        record.reason = ReasonCode(defect)
        record.flags = [.localReply, .http2]
        counters.requests += 1
        counters.localReplies += 1
        sink._withUnsafeGuaranteedRef {
            $0.record(
                record,
                RequestText(
                    message: nil, head: RequestHead(), fields: UnsafeBufferPointer(start: nil, count: 0)))
        }
        hasRecords = true
    }

    // MARK: - Responses

    mutating func passInterim(
        _ exchange: ExchangePointer, _ downstream: DownstreamPointer, _ stream: HTTP2Stream,
        _ message: UnsafeRawPointer
    ) {
        headWriter.beginResponse(exchange.pointee.responseHead, &exchange.pointee.responseFields, in: message)
        // One that cannot be passed on is left out: interim responses are for information.
        guard case .success = headWriter.finish(), let session = downstream.pointee.session else { return }
        session._withUnsafeGuaranteedRef { $0.respondInterim(stream, headWriter) }
        if exchange.pointee.responseHead.status == 100 { exchange.pointee.marks.insert(.sawContinue) }
        enqueue(downstream)
    }

    /// Writes the head of the final response. - Returns: Whether it could be.
    mutating func writeHead(
        _ exchange: ExchangePointer, _ downstream: DownstreamPointer, _ stream: HTTP2Stream,
        _ message: UnsafeRawPointer, _ ruleHeaders: HeaderPlan, _ backendHeaders: HeaderPlan
    ) -> Bool {
        let head = exchange.pointee.responseHead
        headWriter.beginResponse(head, &exchange.pointee.responseFields, in: message)
        backendHeaders.add(to: &headWriter, unlessDroppedBy: ruleHeaders)
        ruleHeaders.add(to: &headWriter)
        if !exchange.pointee.corsFields.isEmpty { headWriter.add(exchange.pointee.corsFields) }
        guard case .success = headWriter.finish(), let session = downstream.pointee.session else { return false }
        let flow = exchange.pointee.responseBody
        let isEmpty =
            head.framing == .none || head.framing == .length(0)
            || flow.sourceEnded && !flow.trailed && exchange.pointee.responseQueue.isEmpty
        session._withUnsafeGuaranteedRef { $0.respond(stream, headWriter, endOfStream: isEmpty) }
        exchange.pointee.responseBody.isDone = isEmpty
        enqueue(downstream)
        return true
    }

    /// The response is given whole to the session: the rest of the request, if there is one, is not wanted.
    mutating func responseGiven(_ exchange: ExchangePointer, _ downstream: DownstreamPointer, _ stream: HTTP2Stream) {
        if !exchange.pointee.requestBody.sourceEnded {
            downstream.pointee.session?._withUnsafeGuaranteedRef { $0.resetAfterEnd(stream) }
        }
        finish(exchange)
        enqueue(downstream)
    }

    /// Answers a request with a reply of the proxy's own: a gRPC call as gRPC does.
    mutating func sendReply(
        _ exchange: ExchangePointer, _ downstream: DownstreamPointer, _ stream: HTTP2Stream, _ reason: ReasonCode,
        status: UInt16, _ addFields: (inout ReplyFields) -> Void
    ) {
        // A fault may give the status of gRPC itself, in fields of its own.
        let isCall = exchange.pointee.marks.contains(.isGRPC)
        let isGRPC = isCall && status >= 400
        let isFault = isCall && reason == .faultInjected && status == 200
        let text = StatusText.reason(status)
        let hasBody = !isGRPC && !isFault && status != 204 && status != 304
        let isWritten: Result<Int, WriteFailure>
        if isGRPC {
            let reply = exchange.pointee.grpcReply(reason, status: status)
            exchange.pointee.record.grpcStatus = Int8(reply.status.rawValue)
            isWritten = reply.begin(&headWriter, scratch: scratch)
        } else {
            headWriter.beginResponse(status: status, contentLength: hasBody ? UInt64(text.utf8CodeUnitCount) : nil)
            if hasBody { headWriter.field(.contentType, "text/plain") }
            if isFault { headWriter.field(.contentType, "application/grpc") }
            withUnsafeMutablePointer(to: &headWriter) { writer in
                var fields = ReplyFields(writer)
                addFields(&fields)
            }
            isWritten = headWriter.finish()
        }
        exchange.pointee.record.status = isGRPC ? 200 : status
        exchange.pointee.record.flags.insert(.localReply)
        counters.localReplies += 1
        guard case .success = isWritten, let session = downstream.pointee.session else {
            exchange.pointee.record.status = 0
            return abandon(exchange, downstream)
        }
        let sendsBody = hasBody && exchange.pointee.head.method != .head
        session._withUnsafeGuaranteedRef { session in
            session.respond(stream, headWriter, endOfStream: !sendsBody)
            if sendsBody {
                session.offerBody(
                    stream, UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount), isLast: true)
            }
        }
        responseGiven(exchange, downstream, stream)
    }
}

// SPDX-License-Identifier: Apache-2.0

import LinuxIO

/// A client's connection by HTTP/1: heads one after another, what is no request, how the connection goes on and ends.
extension Engine {
    /// - Returns: Whether a request has begun.
    mutating func beginExchange(_ downstream: DownstreamPointer) -> Bool {
        if !downstream.pointee.channel.output.isEmpty, case .broken = downstream.pointee.channel.flush() {
            close(downstream)
            return false
        }
        downstream.pointee.channel.input.compact(to: 0)
        if downstream.pointee.channel.input.isEmpty {
            switch downstream.pointee.channel.fill(&buffers) {
            case .received: break
            case .nothing, .full:
                downstream.pointee.channel.relax(&buffers)
                return false
            case .broken:
                close(downstream)
                return false
            case .ended:
                perform(downstream.pointee.http1.persistence.inputEnded(), on: downstream)
                return true
            case .noMemory:
                close(downstream, resetting: true)
                return false
            }
        }
        guard makeExchange(downstream) != nil else {
            close(downstream, resetting: true)
            return false
        }
        downstream.pointee.http1.parser.reset()
        return true
    }

    mutating func readHead(_ exchange: ExchangePointer, _ downstream: DownstreamPointer) {
        while true {
            let bytes = downstream.pointee.channel.input.bytes
            switch downstream.pointee.http1.parser.parse(bytes, into: &exchange.pointee.requestFields) {
            case .complete(let length):
                downstream.pointee.channel.input.start = length
                exchange.pointee.head = downstream.pointee.http1.parser.head
                downstream.pointee.http1.persistence.requestBegan(exchange.pointee.head)
                return route(exchange, downstream)
            case .failed(let defect): return refuse(exchange, downstream, defect)
            case .incomplete: break
            }
            switch downstream.pointee.channel.fill(&buffers) {
            case .received: continue
            case .nothing:
                // From the first byte, whether the connection is new or was kept.
                if !exchange.pointee.marks.contains(.headTimed) {
                    exchange.pointee.marks.insert(.headTimed)
                    downstream.pointee.quietSince = now
                    setTimer(downstream, in: configuration.headTimeout)
                }
                return
            case .full: return refuse(exchange, downstream, .headTooLarge)
            case .ended:
                // Nothing but an end, or an empty line and an end: no request was made.
                if bytes.allSatisfy({ $0 == ASCII.carriageReturn || $0 == ASCII.lineFeed }) {
                    free(exchange)
                    return perform(downstream.pointee.http1.persistence.inputEnded(), on: downstream)
                }
                return refuse(exchange, downstream, .incomplete)
            case .broken, .noMemory:
                exchange.pointee.record.reason = .clientGone
                return abandon(exchange, downstream)
            }
        }
    }

    // MARK: - What is no request, or no longer one

    /// Answers what is no request, and gives the connection up: where the next request begins is not known.
    mutating func refuse(_ exchange: ExchangePointer, _ downstream: DownstreamPointer, _ defect: MalformedMessage) {
        if defect == .unsupportedVersion, HTTP2Preface.begins(downstream.pointee.channel.input.bytes) {
            // RFC 9113 section 3.3: the first bytes of a connection say so, and no later ones.
            if !downstream.pointee.hasRequested, downstream.pointee.channel.input.start == 0 {
                counters.requests -= 1
                free(exchange)
                return beginHTTP2(downstream)
            }
        }
        let reply = HTTP1LocalReply(to: defect)
        exchange.pointee.record.reason = ReasonCode(defect)
        send(reply, for: exchange, downstream)
        finish(exchange)
        perform(downstream.pointee.http1.persistence.requestFailed(), on: downstream)
    }

    /// Reads the rest of a request whose response is out (RFC 9112 section 9.3).
    mutating func discardRequest(_ exchange: ExchangePointer, _ downstream: DownstreamPointer) {
        if case .broken = downstream.pointee.channel.flush() { return abandon(exchange, downstream) }
        let limit = configuration.discardBytes
        downstream.pointee.discarded += UInt64(exchange.pointee.requestBody.pending)
        downstream.pointee.channel.input.start += exchange.pointee.requestBody.pending
        exchange.pointee.requestBody.pending = 0
        while downstream.pointee.discarded <= limit {
            let bytes = downstream.pointee.channel.input.bytes
            switch downstream.pointee.http1.body.next(bytes, trailers: &exchange.pointee.trailers) {
            case .data(let offset, let count):
                downstream.pointee.channel.input.start += offset + count
                downstream.pointee.discarded += UInt64(count)
                continue
            case .complete(let consumed):
                downstream.pointee.channel.input.start += consumed
                downstream.pointee.discarded = 0
                let next = downstream.pointee.http1.persistence.requestEnded()
                finish(exchange)
                return perform(next, on: downstream)
            case .needsMore(let consumed):
                downstream.pointee.channel.input.start += consumed
            case .failed:
                finish(exchange)
                return perform(downstream.pointee.http1.persistence.requestFailed(), on: downstream)
            }
            switch downstream.pointee.channel.fill(&buffers, floor: Int(exchange.pointee.head.length)) {
            case .received: continue
            case .nothing: return
            case .ended, .broken, .full, .noMemory: return abandon(exchange, downstream)
            }
        }
        finish(exchange)
        perform(downstream.pointee.http1.persistence.requestFailed(), on: downstream)
    }

    // MARK: - Going on, and ending

    /// The response is complete: accounts for the request, and goes on as both connections allow.
    mutating func responseEnded(_ exchange: ExchangePointer, _ downstream: DownstreamPointer) {
        exchange.pointee.marks.insert(.responseDone)
        exchange.pointee.record.responseBytes = exchange.pointee.responseBody.moved
        if let stream = exchange.pointee.stream { return responseGiven(exchange, downstream, stream) }
        if downstream.pointee.isMirror { return finish(exchange) }
        let next = downstream.pointee.http1.persistence.responseEnded()
        if next == .discardRequestBody {
            let announced = downstream.pointee.http1.body.knownRemaining
            // More than is worth reading: the connection is given up instead.
            if announced > configuration.discardBytes {
                finish(exchange)
                return perform(.closeLingering, on: downstream)
            }
            exchange.pointee.requestBody.keeps = false
            exchange.pointee.stage = .discarding
            return enqueue(downstream)
        }
        finish(exchange)
        perform(next, on: downstream)
    }

    /// Performs what persistence has decided. A connection for whose answer there was no memory is closed already.
    mutating func perform(_ next: HTTP1DownstreamPersistence.Next, on downstream: DownstreamPointer) {
        guard downstream.pointee.phase != .closed else { return }
        switch next {
        case .wait, .nextRequest: break
        case .discardRequestBody: downstream.pointee.exchange?.pointee.stage = .discarding
        case .closeLingering: downstream.pointee.phase = .lingering
        // Nothing more can arrive, but what is written must still leave.
        case .close: downstream.pointee.phase = .lingering
        }
        if downstream.pointee.phase == .lingering {
            setTimer(downstream, in: configuration.lingerTimeout)
            enqueue(downstream)
        }
    }

    /// Sends what is left, then the end, then reads until the client's end (RFC 9112 section 9.6).
    mutating func linger(_ downstream: DownstreamPointer) {
        if downstream.pointee.phase == .lingering {
            switch downstream.pointee.channel.flush() {
            case .blocked: return
            case .broken: return close(downstream)
            case .done: break
            }
            downstream.pointee.channel.output.giveBack(&buffers)
            StreamSocket.endOutput(downstream.pointee.channel.descriptor)
            downstream.pointee.phase = .discarding
        }
        for _ in 0..<8 {
            downstream.pointee.discarded += UInt64(downstream.pointee.channel.input.count)
            downstream.pointee.channel.input.start = downstream.pointee.channel.input.end
            if downstream.pointee.discarded > configuration.discardBytes { return close(downstream) }
            switch downstream.pointee.channel.fill(&buffers) {
            case .received: continue
            case .nothing: return downstream.pointee.channel.input.giveBack(&buffers)
            case .ended, .broken, .full, .noMemory: return close(downstream)
            }
        }
        enqueue(downstream)
    }
}

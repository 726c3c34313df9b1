// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import MeshModel

/// The flow of a request to its backend and of the response back, at once.
extension Engine {
    mutating func flow(_ exchange: ExchangePointer) {
        guard let downstream = exchange.pointee.downstream, let upstream = exchange.pointee.upstream else { return }
        if exchange.pointee.marks.isDisjoint(with: [.requestDone, .uploadBroken, .awaitsTunnel]) {
            sendBody(exchange, downstream, upstream)
        } else if upstream.pointee.session == nil, !upstream.pointee.channel.output.isEmpty,
            case .broken = upstream.pointee.channel.flush()
        {
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
        let outcome = pumpRequest(exchange, downstream, upstream)
        if exchange.pointee.mirror != nil { feedMirrors(exchange) }
        if configuration.bodyBytes > 0, exchange.pointee.requestBody.moved > configuration.bodyBytes,
            !exchange.pointee.marks.contains(.streamTunnel)
        {
            return answer(exchange, .bodyTooLarge)
        }
        switch outcome {
        case .starved: relaxTunnel(exchange, downstream, upstream)
        case .blocked: break
        case .yielded: wake(exchange)
        case .ended:
            if exchange.pointee.marks.contains(.streamTunnel), !endUpload(upstream) { return }
            exchange.pointee.marks.insert(.requestDone)
            if upstream.pointee.session == nil { upstream.pointee.http1.persistence.requestEnded() }
            if exchange.pointee.mirror != nil { endMirrors(exchange) }
            if exchange.pointee.stream == nil, !downstream.pointee.isMirror {
                _ = downstream.pointee.http1.persistence.requestEnded()
            }
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

    private mutating func receiveBody(
        _ exchange: ExchangePointer, _ downstream: DownstreamPointer, _ upstream: UpstreamPointer
    ) {
        let outcome = pumpResponse(exchange, downstream, upstream)
        switch outcome {
        case .starved: relaxTunnel(exchange, downstream, upstream)
        case .blocked: break
        case .yielded: wake(exchange)
        case .malformed, .sourceBroken, .noMemory:
            // RFC 9112 section 8: the client must see that the response is not complete.
            exchange.pointee.record.reason = .responseCut
            abandon(exchange, downstream)
        case .sinkBroken:
            exchange.pointee.record.reason = .clientGone
            abandon(exchange, downstream)
        case .ended:
            if exchange.pointee.marks.contains(.isMirror), !exchange.pointee.marks.contains(.requestDone) {
                // Nobody asks for the rest of a copy.
                return finish(exchange)
            }
            if exchange.pointee.marks.contains(.streamTunnel) {
                if exchange.pointee.stream == nil, !endDownload(exchange, downstream) { return }
                // The other direction goes on.
                guard !exchange.pointee.marks.isDisjoint(with: [.requestDone, .uploadBroken]) else { return }
                if upstream.pointee.session == nil {
                    close(upstream)
                    return responseEnded(exchange, downstream)
                }
                if exchange.pointee.stream == nil { return endTunnel(exchange, downstream, upstream) }
            }
            if upstream.pointee.session != nil {
                leaveStream(exchange, upstream, isComplete: exchange.pointee.marks.contains(.requestDone))
                return responseEnded(exchange, downstream)
            }
            let hasLeftover = !upstream.pointee.channel.input.isEmpty || !upstream.pointee.channel.output.isEmpty
            let next = upstream.pointee.http1.persistence.responseEnded(
                framing: exchange.pointee.responseHead.framing, hasLeftover: hasLeftover)
            exchange.pointee.upstream = nil
            if next == .reuse { release(upstream) } else { close(upstream) }
            responseEnded(exchange, downstream)
        }
    }

    // MARK: - Whichever protocols

    @inline(__always)
    private mutating func pumpRequest(
        _ exchange: ExchangePointer, _ downstream: DownstreamPointer, _ upstream: UpstreamPointer
    ) -> BodyPump.Outcome {
        if exchange.pointee.marks.contains(.isMirror) { return pumpCopy(exchange, upstream) }
        let source = exchange.pointee.stream.flatMap { Exchange.client(downstream, $0) }
        if source == nil, exchange.pointee.mirror != nil { return pumpTapped(exchange, downstream, upstream) }
        if let sink = exchange.pointee.upstreamStream.flatMap({ Exchange.backend(upstream, $0) }) {
            enqueue(upstream)
            guard let source else {
                return BodyPump.run(
                    from: &downstream.pointee.channel, &downstream.pointee.http1.body, to: sink,
                    &exchange.pointee.requestBody, trailers: &exchange.pointee.trailers, &buffers)
            }
            return BodyPump.run(
                from: source, &exchange.pointee.requestQueue, to: sink, &exchange.pointee.requestBody)
        }
        guard let source else {
            return BodyPump.run(
                from: &downstream.pointee.channel, &downstream.pointee.http1.body, to: &upstream.pointee.channel,
                &exchange.pointee.requestBody, trailers: &exchange.pointee.trailers, &buffers)
        }
        enqueue(downstream)
        return BodyPump.run(
            from: source, &exchange.pointee.requestQueue, to: &upstream.pointee.channel,
            &exchange.pointee.requestBody, &buffers)
    }

    @inline(__always)
    private mutating func pumpResponse(
        _ exchange: ExchangePointer, _ downstream: DownstreamPointer, _ upstream: UpstreamPointer
    ) -> BodyPump.Outcome {
        if exchange.pointee.marks.contains(.isMirror) { return dropResponse(exchange, upstream) }
        let source = exchange.pointee.upstreamStream.flatMap { Exchange.backend(upstream, $0) }
        if let sink = exchange.pointee.stream.flatMap({ Exchange.client(downstream, $0) }) {
            enqueue(downstream)
            guard let source else {
                return BodyPump.run(
                    from: &upstream.pointee.channel, &upstream.pointee.http1.body, to: sink,
                    &exchange.pointee.responseBody, trailers: &exchange.pointee.responseFields, &buffers)
            }
            return BodyPump.run(
                from: source, &exchange.pointee.responseQueue, to: sink, &exchange.pointee.responseBody)
        }
        guard let source else {
            return BodyPump.run(
                from: &upstream.pointee.channel, &upstream.pointee.http1.body, to: &downstream.pointee.channel,
                &exchange.pointee.responseBody, trailers: &exchange.pointee.responseFields, &buffers)
        }
        enqueue(upstream)
        return BodyPump.run(
            from: source, &exchange.pointee.responseQueue, to: &downstream.pointee.channel,
            &exchange.pointee.responseBody, &buffers)
    }
}

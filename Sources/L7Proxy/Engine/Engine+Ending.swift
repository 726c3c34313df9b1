// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// How exchanges end: by a response, by the proxy's own reply, or without either.
extension Engine {
    /// Ends the exchange with a reply of the proxy's own; if a response has begun, by cutting it.
    ///
    /// - Parameter addFields: Adds fields to the reply.
    mutating func answer(
        _ exchange: ExchangePointer, _ reason: ReasonCode, status: UInt16? = nil,
        _ addFields: (inout ReplyFields) -> Void = { _ in }
    ) {
        guard let downstream = exchange.pointee.downstream else { return }
        exchange.pointee.record.reason = reason
        breakTunnel(exchange)
        leaveUpstream(exchange)
        if downstream.pointee.isMirror { return finish(exchange) }
        if exchange.pointee.marks.contains(.responseBegan) {
            guard exchange.pointee.marks.contains(.tentative) else { return abandon(exchange, downstream) }
            return awaitClient(exchange, downstream)
        }
        exchange.pointee.marks.insert(.responseBegan)
        let status = status ?? reason.status
        if let stream = exchange.pointee.stream {
            return sendReply(exchange, downstream, stream, reason, status: status, addFields)
        }
        // A head that was not whole has not opened an exchange of the connection's.
        guard exchange.pointee.stage != .head else {
            send(HTTP1LocalReply(status: status, closes: true), for: exchange, downstream)
            finish(exchange)
            return perform(downstream.pointee.http1.persistence.requestFailed(), on: downstream)
        }
        // A body that waits for 100, or that would have to be read to its end, is given up with the connection.
        let isOpen = !exchange.pointee.marks.contains(.requestDone) && exchange.pointee.head.framing != .none
        let hasBody = status != 204 && status != 304
        let closes = downstream.pointee.http1.persistence.responseBegan(
            framing: hasBody ? .length(1) : .none, abandonsBody: isOpen)
        let reply = HTTP1LocalReply(status: status, toHead: exchange.pointee.head.method == .head, closes: closes)
        send(reply, for: exchange, downstream, addFields)
        let next = downstream.pointee.http1.persistence.responseEnded()
        finish(exchange)
        perform(next, on: downstream)
        enqueue(downstream)
    }

    mutating func send(
        _ reply: HTTP1LocalReply, for exchange: ExchangePointer, _ downstream: DownstreamPointer,
        _ addFields: (inout ReplyFields) -> Void = { _ in }
    ) {
        exchange.pointee.record.status = reply.status
        exchange.pointee.record.flags.insert(.localReply)
        counters.localReplies += 1
        guard downstream.pointee.channel.output.borrow(&buffers),
            case .success(let count) = reply.write(
                into: downstream.pointee.channel.output.space,
                addFields: { writer in
                    withUnsafeMutablePointer(to: &writer) { writer in
                        var fields = ReplyFields(writer)
                        addFields(&fields)
                    }
                })
        else {
            // Without memory to answer the client sees a reset.
            exchange.pointee.record.status = 0
            return close(downstream, resetting: true)
        }
        downstream.pointee.channel.output.end += count
        _ = downstream.pointee.channel.flush()
    }

    /// Ends the exchange and its stream, or its connection of HTTP/1: nobody is there, or what was sent must not be taken
    /// for complete.
    mutating func abandon(_ exchange: ExchangePointer, _ downstream: DownstreamPointer) {
        breakTunnel(exchange)
        leaveUpstream(exchange)
        if exchange.pointee.record.reason == .forwarded { exchange.pointee.record.reason = .clientGone }
        if exchange.pointee.marks.contains(.responseBegan), !exchange.pointee.marks.contains(.responseDone) {
            exchange.pointee.record.flags.insert(.incomplete)
        }
        guard let stream = exchange.pointee.stream else {
            finish(exchange)
            return close(downstream, resetting: true)
        }
        downstream.pointee.session?._withUnsafeGuaranteedRef { $0.reset(stream, exchange.pointee.cutCode) }
        finish(exchange)
        enqueue(downstream)
    }

    /// The backend of a tunnel must not take an end that is none for one in order.
    @inline(__always)
    private mutating func breakTunnel(_ exchange: ExchangePointer) {
        guard exchange.pointee.stage == .tunnel, let upstream = exchange.pointee.upstream else { return }
        upstream.pointee.channel.close(&buffers, resetting: true)
    }

    /// Writes the record and gives the exchange back.
    mutating func finish(_ exchange: ExchangePointer) {
        exchange.pointee.record.endedAt = nanoseconds
        if exchange.pointee.marks.contains(.isGRPC) { exchange.pointee.settleGRPCStatus() }
        exchange.pointee.record.requestBytes = exchange.pointee.requestBody.moved
        exchange.pointee.record.responseBytes = exchange.pointee.responseBody.moved
        if exchange.pointee.marks.contains(.relay) { endMeter(exchange) }
        let hasHead =
            exchange.pointee.stage != .head && exchange.pointee.stage != .tunnel
            && !exchange.pointee.isTunnelOfConnection && !exchange.pointee.marks.contains(.relay)
        withUnsafePointer(to: &exchange.pointee.requestFields) { table in
            let text = RequestText(
                message: hasHead ? exchange.pointee.message : nil, head: exchange.pointee.head,
                fields: UnsafeBufferPointer(start: table.pointee.fields, count: hasHead ? table.pointee.count : 0))
            sink._withUnsafeGuaranteedRef { $0.record(exchange.pointee.record, text) }
        }
        hasRecords = true
        free(exchange)
    }

    /// Gives the exchange back without a record: there was no request.
    mutating func free(_ exchange: ExchangePointer) {
        leaveUpstream(exchange)
        leaveCluster(exchange)
        leaveSnapshot(exchange)
        if exchange.pointee.mirror != nil { leaveMirrors(exchange) }
        timers.cancel(exchange.pointee.timer)
        if let downstream = exchange.pointee.downstream {
            let (next, previous) = (exchange.pointee.nextOnDownstream, exchange.pointee.previousOnDownstream)
            if let previous { previous.pointee.nextOnDownstream = next } else { downstream.pointee.exchange = next }
            if let next { next.pointee.previousOnDownstream = previous }
            downstream.pointee.quietSince = now
            downstream.pointee.share?.pointee.exchanges -= 1
            exchange.pointee.downstream = nil
            if let stream = exchange.pointee.stream {
                stream.context = 0
                downstream.pointee.session?._withUnsafeGuaranteedRef { $0.release(stream) }
                exchange.pointee.requestQueue.removeAll(&buffers)
            }
            if downstream.pointee.isMirror { endCopy(exchange, downstream) }
        }
        freedExchanges.push(exchange)
    }

    @inline(__always)
    mutating func leaveSnapshot(_ exchange: ExchangePointer) {
        guard let hold = exchange.pointee.hold else { return }
        exchange.pointee.hold = nil
        exchange.pointee.rule = nil
        exchange.pointee.backend = nil
        exchange.pointee.service = nil
        holds.leave(hold)
    }
}

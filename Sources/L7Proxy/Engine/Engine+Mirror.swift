// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// Mirrors: copies of requests, whose responses are dropped (Gateway API, HTTPRequestMirrorFilter).
///
/// A copy is an exchange of its own. Its client is a ``Downstream`` without a socket, whose block has the request's head;
/// its body comes through its queue. So it is routed, authorized, sent and recorded as any request is, and nothing that
/// happens to it reaches the request: that only gives it its body's bytes, and does not wait for it. A copy that cannot
/// keep up, or for which there is no room, is given up. It is never tried again because of its response.
extension Engine {
    /// Makes the copies of a request, once, when it has been admitted.
    mutating func startMirrors(
        _ exchange: ExchangePointer, _ downstream: DownstreamPointer, _ rule: UnsafePointer<RulePlan>
    ) {
        guard exchange.pointee.marks.isDisjoint(with: [.mirrored, .isMirror]), let message = exchange.pointee.message
        else { return }
        exchange.pointee.marks.insert(.mirrored)
        // Two cannot speak for the client of one tunnel.
        if exchange.pointee.head.options.contains(.upgrade), mayUpgrade(exchange, message) { return }
        for plan in rule.pointee.mirrors where plan.share.selects(random: nextRandom()) {
            startMirror(plan.service, nil, exchange, downstream)
        }
        guard let backend = exchange.pointee.backend else { return }
        for plan in backend.pointee.mirrors where plan.share.selects(random: nextRandom()) {
            startMirror(plan.service, backend, exchange, downstream)
        }
    }

    /// - Parameter backend: Whose changes of fields and target hold for the copy too.
    private mutating func startMirror(
        _ service: Int32, _ backend: UnsafePointer<BackendPlan>?, _ exchange: ExchangePointer,
        _ downstream: DownstreamPointer
    ) {
        guard let hold = exchange.pointee.hold, let snapshot = hold.pointee.snapshot else { return }
        guard service >= 0 else { return recordUnsent(exchange, downstream, .invalidBackend) }
        guard let (copy, client) = makeCopy(exchange, downstream) else {
            return recordUnsent(exchange, downstream, .mirrorDropped)
        }
        hold.pointee.users += 1
        copy.pointee.hold = hold
        copy.pointee.rule = exchange.pointee.rule
        copy.pointee.backend = backend
        copy.pointee.service = snapshot._withUnsafeGuaranteedRef { $0.service(service) }
        copy.pointee.prefixLength = exchange.pointee.prefixLength
        copy.pointee.requestDeadline = exchange.pointee.requestDeadline
        setTimer(client, in: configuration.stallTimeout)
        if copy.pointee.marks.contains(.fellBehind) { return giveUp(copy) }
        startAttempt(copy)
        // On a kept connection it can go at once.
        wake(copy)
    }

    /// The copy, and its client. - Returns: `nil` if there is no room for one more.
    private mutating func makeCopy(
        _ exchange: ExchangePointer, _ downstream: DownstreamPointer
    ) -> (ExchangePointer, DownstreamPointer)? {
        let length = Int(exchange.pointee.head.length)
        guard openMirrors < configuration.mirrors, buffers.lent < buffers.limit / 2, length <= BufferPool.blockSize,
            let message = exchange.pointee.message, let (client, clientHandle) = downstreams.take()
        else { return nil }
        let timer = client.pointee.timer
        client.pointee = Downstream()
        client.pointee.handle = clientHandle
        client.pointee.timer = timer
        guard client.pointee.channel.input.borrow(&buffers),
            let room = client.pointee.channel.input.space.baseAddress, let (copy, handle) = exchanges.take()
        else {
            client.pointee.channel.input.giveBack(&buffers)
            downstreams.give(back: clientHandle.index)
            return nil
        }
        room.copyMemory(from: message, byteCount: length)
        client.pointee.channel.input.start = length
        client.pointee.channel.input.end = length
        client.pointee.http1 = HTTP1DownstreamCodec(limits: limits)
        client.pointee.phase = .open
        client.pointee.isMirror = true
        client.pointee.origin = downstream.pointee.origin
        client.pointee.source = downstream.pointee.source
        client.pointee.clientText = downstream.pointee.clientText
        client.pointee.exchange = copy
        if copy.pointee.timer == .max { copy.pointee.timer = timers.makeTimer(for: 0) }
        copy.pointee.handle = handle
        copy.pointee.begin(for: client, now: nanoseconds, milliseconds: now)
        // Limits and faults are of the Service that was asked, and have been met by the request.
        copy.pointee.choice.marks.insert(.admitted)
        copy.pointee.previousOnDownstream = nil
        copy.pointee.nextOnDownstream = nil
        copy.pointee.marks = [.isMirror]
        if exchange.pointee.marks.contains(.isGRPC) { copy.pointee.marks.insert(.isGRPC) }
        copy.pointee.head = exchange.pointee.head
        copy.pointee.requestFields.copy(exchange.pointee.requestFields)
        copy.pointee.requestFields.restore()
        copy.pointee.record.begin(copyOf: exchange.pointee.record, at: nanoseconds)
        beginRequestBody(copy)
        copy.pointee.original = exchange
        copy.pointee.nextMirror = exchange.pointee.mirror
        exchange.pointee.mirror = copy
        if exchange.pointee.head.framing == .none {
            copy.pointee.marks.insert(.requestDone)
        } else if exchange.pointee.stream != nil {
            copyWhatHasCome(exchange, copy)
        }
        openMirrors += 1
        counters.mirrors &+= 1
        return (copy, client)
    }

    /// A stream may have brought some of the body while the request had to wait.
    private mutating func copyWhatHasCome(_ exchange: ExchangePointer, _ copy: ExchangePointer) {
        exchange.pointee.requestQueue.forEach { piece in
            let room = configuration.mirrorBytes - copy.pointee.requestQueue.count
            let isTaken = piece.count <= room && copy.pointee.requestQueue.append(piece, &buffers)
            if !isTaken { copy.pointee.marks.insert(.fellBehind) }
        }
        copy.pointee.requestBody.sourceEnded = exchange.pointee.requestBody.sourceEnded
    }

    /// Accounts for a copy that was not made.
    private mutating func recordUnsent(
        _ exchange: ExchangePointer, _ downstream: DownstreamPointer, _ reason: ReasonCode
    ) {
        var record = RequestRecord(origin: downstream.pointee.origin)
        record.begin(copyOf: exchange.pointee.record, at: nanoseconds)
        record.endedAt = nanoseconds
        record.reason = reason
        counters.mirrorsDropped &+= 1
        let none = UnsafeBufferPointer<Field>(start: nil, count: 0)
        sink._withUnsafeGuaranteedRef {
            $0.record(record, RequestText(message: nil, head: RequestHead(), fields: none))
        }
        hasRecords = true
    }

    // MARK: - The request's side

    /// Bytes of the request's body have come by a stream.
    mutating func copyToMirrors(_ bytes: UnsafeRawBufferPointer, of exchange: ExchangePointer) {
        MirrorTap(request: exchange, limit: configuration.mirrorBytes).take(bytes, &buffers)
        feedMirrors(exchange)
    }

    /// Lets the copies go on with what they have been given; gives those up that are too slow.
    mutating func feedMirrors(_ exchange: ExchangePointer) {
        var next = exchange.pointee.mirror
        while let copy = next {
            next = copy.pointee.nextMirror
            if copy.pointee.marks.contains(.fellBehind) { giveUp(copy) } else { wake(copy) }
        }
    }

    private mutating func giveUp(_ copy: ExchangePointer) {
        counters.mirrorsDropped &+= 1
        answer(copy, .mirrorDropped)
    }

    /// The request's body is whole, and so are those of its copies.
    mutating func endMirrors(_ exchange: ExchangePointer) {
        var next = exchange.pointee.mirror
        while let copy = next {
            next = copy.pointee.nextMirror
            copy.pointee.requestBody.sourceEnded = true
            wake(copy)
        }
    }

    /// The request is sent again, from the first byte of its body.
    func rewindMirrors(_ exchange: ExchangePointer) {
        var next = exchange.pointee.mirror
        while let copy = next {
            next = copy.pointee.nextMirror
            copy.pointee.met = 0
        }
    }

    /// The request has ended. Copies whose bodies are whole go on for a while; the others would never be.
    mutating func leaveMirrors(_ exchange: ExchangePointer) {
        while let copy = exchange.pointee.mirror {
            exchange.pointee.mirror = copy.pointee.nextMirror
            copy.pointee.nextMirror = nil
            copy.pointee.original = nil
            guard copy.pointee.requestBody.sourceEnded || copy.pointee.marks.contains(.requestDone) else {
                answer(copy, .clientGone)
                continue
            }
            let end = now + configuration.mirrorGrace
            let known = copy.pointee.requestDeadline
            copy.pointee.requestDeadline = known == 0 ? end : min(known, end)
            armTimer(copy)
        }
    }

    // MARK: - The copy's side

    /// Takes what the copy had, when it is given back.
    mutating func endCopy(_ copy: ExchangePointer, _ client: DownstreamPointer) {
        if let original = copy.pointee.original {
            copy.pointee.original = nil
            unlink(copy, from: original)
        }
        copy.pointee.requestQueue.removeAll(&buffers)
        client.pointee.phase = .closed
        client.pointee.channel.close(&buffers)
        timers.cancel(client.pointee.timer)
        openMirrors -= 1
        closedDownstreams.push(client)
    }

    private func unlink(_ copy: ExchangePointer, from original: ExchangePointer) {
        let next = copy.pointee.nextMirror
        copy.pointee.nextMirror = nil
        if original.pointee.mirror == copy {
            original.pointee.mirror = next
            return
        }
        var before = original.pointee.mirror
        while let found = before, found.pointee.nextMirror != copy { before = found.pointee.nextMirror }
        before?.pointee.nextMirror = next
    }

    /// Moves the body of a request that has copies out of a connection of HTTP/1.
    mutating func pumpTapped(
        _ exchange: ExchangePointer, _ downstream: DownstreamPointer, _ upstream: UpstreamPointer
    ) -> BodyPump.Outcome {
        let tap = MirrorTap(request: exchange, limit: configuration.mirrorBytes)
        if let sink = exchange.pointee.upstreamStream.flatMap({ Exchange.backend(upstream, $0) }) {
            enqueue(upstream)
            return BodyPump.run(
                from: &downstream.pointee.channel, &downstream.pointee.http1.body, to: sink,
                &exchange.pointee.requestBody, trailers: &exchange.pointee.trailers, &buffers, tap: tap)
        }
        return BodyPump.run(
            from: &downstream.pointee.channel, &downstream.pointee.http1.body, to: &upstream.pointee.channel,
            &exchange.pointee.requestBody, trailers: &exchange.pointee.trailers, &buffers, tap: tap)
    }

    /// Moves the body of a copy.
    mutating func pumpCopy(_ copy: ExchangePointer, _ upstream: UpstreamPointer) -> BodyPump.Outcome {
        if let sink = copy.pointee.upstreamStream.flatMap({ Exchange.backend(upstream, $0) }) {
            enqueue(upstream)
            return BodyPump.run(from: nil, &copy.pointee.requestQueue, to: sink, &copy.pointee.requestBody)
        }
        return BodyPump.run(
            from: nil, &copy.pointee.requestQueue, to: &upstream.pointee.channel, &copy.pointee.requestBody, &buffers)
    }

    /// Drops the body of the response to a copy.
    mutating func dropResponse(_ copy: ExchangePointer, _ upstream: UpstreamPointer) -> BodyPump.Outcome {
        if let source = copy.pointee.upstreamStream.flatMap({ Exchange.backend(upstream, $0) }) {
            enqueue(upstream)
            return BodyPump.drop(
                from: source, &copy.pointee.responseQueue, &copy.pointee.responseBody, &buffers)
        }
        return BodyPump.drop(
            from: &upstream.pointee.channel, &upstream.pointee.http1.body, &copy.pointee.responseBody,
            trailers: &copy.pointee.responseFields, &buffers)
    }
}

extension RequestRecord {
    /// Takes over what a copy has in common with its request.
    fileprivate mutating func begin(copyOf request: RequestRecord, at nanoseconds: UInt64) {
        startedAt = nanoseconds
        routedAt = nanoseconds
        generation = request.generation
        rule = request.rule
        method = request.method
        flags = request.flags.intersection(.http2).union(.mirror)
    }
}

// SPDX-License-Identifier: Apache-2.0

import LinuxIO

/// Connections that are no longer HTTP (RFC 9110 section 7.8).
extension Engine {
    private enum Copied {
        /// Nothing more now, or the end was passed on.
        case idle
        case more
        /// Who sends was reset; all that came before was passed on.
        case sourceBroken
        case sinkBroken
        case noMemory
    }

    mutating func beginTunnel(
        _ exchange: ExchangePointer, _ downstream: DownstreamPointer, _ upstream: UpstreamPointer
    ) {
        exchange.pointee.stage = .tunnel
        exchange.pointee.record.flags.insert(.upgraded)
        exchange.pointee.record.reason = .tunnelEnded
        exchange.pointee.requestDeadline = 0
        exchange.pointee.attemptDeadline = 0
        // What is counted are the tunnel's bytes: the heads are none, what has come behind the response's is.
        upstream.pointee.sentBefore = upstream.pointee.channel.sent
        let ahead = upstream.pointee.channel.input.count - Int(exchange.pointee.responseHead.length)
        upstream.pointee.receivedBefore = upstream.pointee.channel.received &- UInt64(max(0, ahead))
        setTimer(downstream, in: configuration.tunnelIdleTimeout)
        _ = downstream.pointee.channel.flush()
    }

    /// Makes a tunnel of which a stream is one end, or both are (RFC 8441 section 5). Its bytes flow as bodies do, as long
    /// as either side sends.
    mutating func beginStreamTunnel(_ exchange: ExchangePointer, _ upstream: UpstreamPointer) {
        exchange.pointee.marks.remove(.awaitsTunnel)
        exchange.pointee.marks.insert(.streamTunnel)
        exchange.pointee.record.flags.insert(.upgraded)
        exchange.pointee.record.reason = .tunnelEnded
        exchange.pointee.requestDeadline = 0
        exchange.pointee.attemptDeadline = 0
        if upstream.pointee.session == nil {
            upstream.pointee.http1.body = HTTP1BodyReader(.untilClose, ofResponse: true, limits: limits)
        }
        if let stream = exchange.pointee.stream {
            exchange.pointee.downstream?.pointee.session?._withUnsafeGuaranteedRef { $0.hold(stream) }
        } else if let downstream = exchange.pointee.downstream {
            // What comes may take the place of the head, which nobody reads any more.
            exchange.pointee.requestBody.floor = 0
            downstream.pointee.http1.body = HTTP1BodyReader(.untilClose, ofResponse: true, limits: limits)
            setTimer(downstream, in: configuration.tunnelIdleTimeout)
            _ = downstream.pointee.channel.flush()
        }
        // For what has waited: the client may be able to send no more until that has gone.
        wake(exchange)
    }

    /// The client's stream is over. A tunnel goes on until the backend has all that was sent (RFC 9113 section 8.5): both
    /// ends of the stream may have been told long before.
    ///
    /// - Returns: Whether the exchange goes on without its stream.
    func outlivesStream(_ exchange: ExchangePointer, _ code: HTTP2ErrorCode) -> Bool {
        guard code == .noError, exchange.pointee.marks.contains(.streamTunnel),
            exchange.pointee.marks.isDisjoint(with: [.requestDone, .uploadBroken]),
            exchange.pointee.requestBody.sourceEnded, exchange.pointee.responseBody.isDone
        else { return false }
        exchange.pointee.marks.insert(.outlivesStream)
        return true
    }

    /// The client's connection is over, in order: ends its exchanges but those that go on without it. - Returns: Whether
    /// there are any.
    mutating func outliveConnection(_ downstream: DownstreamPointer) -> Bool {
        var next = downstream.pointee.exchange
        while let exchange = next {
            next = exchange.pointee.nextOnDownstream
            if !exchange.pointee.marks.contains(.outlivesStream) { abandon(exchange, downstream) }
        }
        return downstream.pointee.exchange != nil
    }

    /// Passes on that the client's stream sends no more. - Returns: Whether all that it has sent is out.
    func endUpload(_ upstream: UpstreamPointer) -> Bool {
        guard upstream.pointee.session == nil else { return true }
        guard upstream.pointee.channel.output.isEmpty else { return false }
        StreamSocket.endOutput(upstream.pointee.channel.descriptor)
        return true
    }

    /// Passes on to a client of HTTP/1 that the backend sends no more. - Returns: Whether all that it has sent is out.
    func endDownload(_ exchange: ExchangePointer, _ downstream: DownstreamPointer) -> Bool {
        guard downstream.pointee.channel.output.isEmpty else { return false }
        if !exchange.pointee.marks.contains(.downstreamEndSent) {
            exchange.pointee.marks.insert(.downstreamEndSent)
            StreamSocket.endOutput(downstream.pointee.channel.descriptor)
        }
        return true
    }

    /// Both directions of a tunnel between a client of HTTP/1 and a stream are over.
    mutating func endTunnel(
        _ exchange: ExchangePointer, _ downstream: DownstreamPointer, _ upstream: UpstreamPointer
    ) {
        exchange.pointee.marks.insert(.responseDone)
        let isWhole = exchange.pointee.marks.contains(.requestDone)
        leaveStream(exchange, upstream, isComplete: isWhole)
        finish(exchange)
        // What the client still sends must not reset what it has not read yet.
        if isWhole { close(downstream) } else { perform(.closeLingering, on: downstream) }
    }

    /// A connection of HTTP/1 that is a tunnel's end holds no block while it is silent.
    @inline(__always)
    mutating func relaxTunnel(
        _ exchange: ExchangePointer, _ downstream: DownstreamPointer, _ upstream: UpstreamPointer
    ) {
        guard exchange.pointee.marks.contains(.streamTunnel) else { return }
        if exchange.pointee.stream == nil { downstream.pointee.channel.relax(&buffers) }
        if upstream.pointee.session == nil { upstream.pointee.channel.relax(&buffers) }
    }

    /// Carries bytes both ways; the end of one direction is passed on and leaves the other open.
    mutating func tunnel(_ exchange: ExchangePointer) {
        guard let downstream = exchange.pointee.downstream, let upstream = exchange.pointee.upstream else { return }
        let up =
            exchange.pointee.marks.contains(.uploadBroken)
            ? .idle : Self.copy(from: &downstream.pointee.channel, to: &upstream.pointee.channel, &buffers)
        let down =
            exchange.pointee.marks.contains(.downloadBroken)
            ? .idle : Self.copy(from: &upstream.pointee.channel, to: &downstream.pointee.channel, &buffers)
        exchange.pointee.requestBody.moved = upstream.pointee.channel.sent &- upstream.pointee.sentBefore
        exchange.pointee.responseBody.moved = upstream.pointee.channel.received &- upstream.pointee.receivedBefore
        if up == .more || down == .more { enqueue(downstream) }
        if up == .noMemory || down == .noMemory { return endTunnel(exchange, .outOfMemory) }
        if up == .sourceBroken { return endTunnel(exchange, .clientGone) }
        if down == .sourceBroken { return endTunnel(exchange, .backendReset) }
        // Who was reset may have sent something before that (an answer to a request that it did not read to its end).
        if up == .sinkBroken { exchange.pointee.marks.insert(.uploadBroken) }
        if down == .sinkBroken { exchange.pointee.marks.insert(.downloadBroken) }
        if exchange.pointee.marks.contains(.uploadBroken), down != .more, upstream.pointee.channel.isExhausted {
            return endTunnel(exchange, .backendReset)
        }
        if exchange.pointee.marks.contains(.downloadBroken), up != .more, downstream.pointee.channel.isExhausted {
            return endTunnel(exchange, .clientGone)
        }
        passEnd(.upstreamEndSent, from: downstream.pointee.channel, to: &upstream.pointee.channel, exchange)
        passEnd(.downstreamEndSent, from: upstream.pointee.channel, to: &downstream.pointee.channel, exchange)
        if exchange.pointee.marks.isSuperset(of: [.upstreamEndSent, .downstreamEndSent]) {
            exchange.pointee.marks.insert(.responseDone)
            leaveUpstream(exchange)
            finish(exchange)
            close(downstream)
        }
    }

    /// Ends a tunnel, one of whose ends was reset, by a reset of both.
    private mutating func endTunnel(_ exchange: ExchangePointer, _ reason: ReasonCode) {
        if exchange.pointee.marks.contains(.relay) { return cut(exchange, reason) }
        guard let downstream = exchange.pointee.downstream else { return }
        abandon(exchange, downstream)
    }

    private static func copy(
        from source: inout Channel, to sink: inout Channel, _ pool: inout BufferPool
    ) -> Copied {
        switch sink.flush() {
        case .broken: return .sinkBroken
        case .blocked: return .idle
        case .done: sink.output.giveBack(&pool)
        }
        for _ in 0..<8 {
            while let bytes = source.input.bytes.baseAddress, !source.input.isEmpty {
                let count = sink.send(bytes, source.input.count)
                if count < 0 { return .sinkBroken }
                if count == 0 { return .idle }
                source.input.start += count
            }
            switch source.fill(&pool) {
            case .received: continue
            case .nothing, .ended:
                source.input.giveBack(&pool)
                return .idle
            case .broken: return .sourceBroken
            case .full, .noMemory: return .noMemory
            }
        }
        return .more
    }

    private func passEnd(
        _ mark: Exchange.Marks, from source: Channel, to sink: inout Channel, _ exchange: ExchangePointer
    ) {
        guard source.state.contains(.inputEnded), source.input.isEmpty, sink.output.isEmpty,
            !exchange.pointee.marks.contains(mark)
        else { return }
        exchange.pointee.marks.insert(mark)
        StreamSocket.endOutput(sink.descriptor)
    }
}

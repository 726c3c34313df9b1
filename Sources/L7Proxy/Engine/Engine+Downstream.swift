// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import MeshModel

/// Clients' connections: accepting, reading heads one after another, ending.
extension Engine {
    /// Connections that one listener may take in one turn.
    private static var acceptsPerTurn: Int { 64 }

    mutating func accept(_ index: Int) {
        guard index < listeners.count, !listenersPaused else { return }
        let listener = listeners[index]
        for _ in 0..<Self.acceptsPerTurn {
            var peer = StreamEndpoint(high: 0, low: 0, port: 0)
            let result = StreamSocket.accept(listener.descriptor, from: &peer)
            if result == StreamSocket.wouldBlock { return }
            if result < 0 {
                // Out of descriptors or memory: the listener would be reported for ever.
                if result != StreamSocket.interrupted { pauseListeners() }
                return
            }
            counters.accepted += 1
            take(CInt(result), from: peer, listener.tag)
        }
    }

    private mutating func take(_ descriptor: CInt, from peer: StreamEndpoint, _ tag: UInt64) {
        let client = IPAddress(high: peer.high, low: peer.low)
        guard !isDraining,
            let origin = origins(
                AcceptedSocket(descriptor: descriptor, listener: tag, client: client, clientPort: peer.port)),
            let (downstream, handle) = downstreams.take()
        else {
            counters.refusedConnections += 1
            return StreamSocket.reset(descriptor)
        }
        let known = downstream.pointee.timer
        downstream.pointee = Downstream()
        downstream.pointee.handle = handle
        downstream.pointee.timer = known
        downstream.pointee.phase = .open
        downstream.pointee.origin = origin
        downstream.pointee.listener = tag
        downstream.pointee.quietSince = now
        downstream.pointee.channel.descriptor = descriptor
        if configuration.addsForwardedFor { downstream.pointee.clientText = AddressText(origin.client) }
        let token = Token(.downstream, handle).rawValue
        do throws(SystemError) { try poller.addStream(descriptor, token: token) } catch {
            counters.refusedConnections += 1
            downstream.pointee.channel.close(&buffers, resetting: true)
            downstream.pointee.phase = .closed
            return downstreams.give(back: handle.index)
        }
        counters.connections += 1
        // A request mostly follows its connection at once; else this costs one call.
        downstream.pointee.channel.state = [.readable, .writable]
        setTimer(downstream, in: configuration.headTimeout)
        drive(downstream)
    }

    // MARK: - Driving

    /// Does all that can be done for a client's connection now.
    mutating func drive(_ downstream: DownstreamPointer) {
        // Pipelined requests in one block could keep the loop busy for long: others are served in between.
        var budget = 16
        while budget > 0 {
            budget -= 1
            switch downstream.pointee.phase {
            case .closed: return
            case .lingering, .discarding: return linger(downstream)
            case .open: break
            }
            if let exchange = downstream.pointee.exchange {
                guard proceed(exchange, downstream) else { return }
            } else {
                guard beginExchange(downstream) else { return }
            }
        }
        enqueue(downstream)
    }

    /// Goes on with the open exchange. - Returns: Whether the connection may have more to do.
    private mutating func proceed(_ exchange: ExchangePointer, _ downstream: DownstreamPointer) -> Bool {
        let stage = exchange.pointee.stage
        // A client that has only sent its end still reads (RFC 9112 section 9.6); one that was reset does not.
        if downstream.pointee.channel.state.contains(.hungUp),
            stage == .waiting || stage == .backoff || stage == .flowing
        {
            exchange.pointee.record.reason = .clientGone
            abandon(exchange, downstream)
            return false
        }
        switch stage {
        case .head: readHead(exchange, downstream)
        // Nothing to do until the connection to the backend, or the time for it, is there.
        case .waiting, .backoff: break
        case .flowing: flow(exchange)
        case .discarding: discardRequest(exchange, downstream)
        case .tunnel: tunnel(exchange)
        }
        return downstream.pointee.exchange == nil || downstream.pointee.phase != .open
            || exchange.pointee.stage != stage
    }

    /// - Returns: Whether a request has begun.
    private mutating func beginExchange(_ downstream: DownstreamPointer) -> Bool {
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
                perform(downstream.pointee.persistence.inputEnded(), on: downstream)
                return true
            case .noMemory:
                close(downstream, resetting: true)
                return false
            }
        }
        guard let (exchange, handle) = exchanges.take() else {
            close(downstream, resetting: true)
            return false
        }
        if exchange.pointee.timer == .max { exchange.pointee.timer = timers.makeTimer(for: 0) }
        exchange.pointee.handle = handle
        exchange.pointee.begin(for: downstream, now: nanoseconds, milliseconds: now)
        downstream.pointee.exchange = exchange
        counters.requests += 1
        return true
    }

    private mutating func readHead(_ exchange: ExchangePointer, _ downstream: DownstreamPointer) {
        while true {
            let bytes = downstream.pointee.channel.input.bytes
            switch exchange.pointee.parser.parse(bytes, into: &exchange.pointee.requestFields) {
            case .complete(let length):
                downstream.pointee.channel.input.start = length
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
                    return perform(downstream.pointee.persistence.inputEnded(), on: downstream)
                }
                return refuse(exchange, downstream, .incomplete)
            case .broken, .noMemory:
                exchange.pointee.record.reason = .clientGone
                return abandon(exchange, downstream)
            }
        }
    }

    // MARK: - Ending

    /// Performs what persistence has decided.
    mutating func perform(_ next: HTTP1DownstreamPersistence.Next, on downstream: DownstreamPointer) {
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
    private mutating func linger(_ downstream: DownstreamPointer) {
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

    mutating func close(_ downstream: DownstreamPointer, resetting: Bool = false) {
        guard downstream.pointee.phase != .closed else { return }
        downstream.pointee.phase = .closed
        downstream.pointee.channel.close(&buffers, resetting: resetting)
        timers.cancel(downstream.pointee.timer)
        counters.connections -= 1
        closedDownstreams.push(downstream)
    }

    mutating func setTimer(_ downstream: DownstreamPointer, in milliseconds: UInt64) {
        if downstream.pointee.timer == .max { downstream.pointee.timer = timers.makeTimer(for: 0) }
        let owner = Token(.downstream, downstream.pointee.handle).rawValue
        timers.set(downstream.pointee.timer, deadline: now + milliseconds, owner: owner)
    }
}

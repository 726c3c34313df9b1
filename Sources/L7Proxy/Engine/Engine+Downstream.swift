// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import MeshModel

/// Clients' connections: accepting, driving, ending.
extension Engine {
    mutating func accept(_ place: Int) {
        guard let listener = listeners[place] else { return }
        for _ in 0..<ListenerSet<UInt64>.acceptsPerTurn {
            switch listener.accept() {
            case .none: return
            case .exhausted: return pauseListeners()
            case .socket(let descriptor, let peer):
                counters.accepted += 1
                take(descriptor, from: peer, listener.label)
            }
        }
    }

    private mutating func take(_ descriptor: CInt, from peer: StreamEndpoint, _ tag: UInt64) {
        let accepted = AcceptedSocket(
            descriptor: descriptor, listener: tag, client: IPAddress(high: peer.high, low: peer.low),
            clientPort: peer.port)
        guard !isDraining, let origin = origins(accepted) else {
            counters.refusedConnections += 1
            return StreamSocket.reset(descriptor)
        }
        if let diversion, diversion(accepted, origin) { return }
        var channel = Channel()
        channel.descriptor = descriptor
        begin(channel, origin, tag)
    }

    /// A connection that a worker of tunnels hands on.
    mutating func serve(_ end: LocalEnd, _ origin: ConnectionOrigin) {
        counters.accepted += 1
        guard !isDraining else { return end.discard() }
        var channel = Channel()
        channel.adopt(end)
        // Of no listener.
        begin(channel, origin, .max)
    }

    private mutating func begin(_ opened: Channel, _ origin: ConnectionOrigin, _ tag: UInt64) {
        var channel = opened
        guard let share = sources.enter(origin) else {
            counters.refusedConnections += 1
            return channel.close(&buffers, resetting: true)
        }
        guard let (downstream, handle) = downstreams.take() else {
            counters.refusedConnections += 1
            sources.leave(share)
            return channel.close(&buffers, resetting: true)
        }
        let known = downstream.pointee.timer
        downstream.pointee = Downstream()
        downstream.pointee.http1 = HTTP1DownstreamCodec(limits: limits)
        downstream.pointee.handle = handle
        downstream.pointee.timer = known
        downstream.pointee.phase = .detecting
        downstream.pointee.origin = origin
        downstream.pointee.share = share
        downstream.pointee.listener = tag
        downstream.pointee.quietSince = now
        downstream.pointee.channel = channel
        if configuration.addsForwardedFor { downstream.pointee.clientText = AddressText(origin.client) }
        let token = Token(.downstream, handle).rawValue
        do throws(SystemError) { try poller.addStream(channel.descriptor, token: token) } catch {
            counters.refusedConnections += 1
            downstream.pointee.channel.close(&buffers, resetting: true)
            downstream.pointee.phase = .closed
            sources.leave(share)
            return downstreams.give(back: handle.index)
        }
        counters.connections += 1
        // A request mostly follows its connection at once; else this costs one call.
        downstream.pointee.channel.state = [.readable, .writable]
        if !hold(downstream) { begin(downstream) }
    }

    // MARK: - Driving

    /// Does all that can be done for a client's connection now.
    mutating func drive(_ downstream: DownstreamPointer) {
        // Pipelined requests in one block could keep the loop busy for long: others are served in between.
        var budget = 16
        while budget > 0 {
            budget -= 1
            switch downstream.pointee.phase {
            case .closed, .held: return
            case .lingering, .discarding: return linger(downstream)
            case .detecting:
                guard detect(downstream) else { return }
                continue
            case .open: break
            }
            guard downstream.pointee.session == nil else { return driveHTTP2(downstream) }
            if let exchange = downstream.pointee.exchange {
                guard proceed(exchange, downstream) else { return }
            } else {
                guard beginExchange(downstream) else { return }
            }
        }
        enqueue(downstream)
    }

    /// Goes on with the open exchange of HTTP/1. - Returns: Whether the connection may have more to do.
    private mutating func proceed(_ exchange: ExchangePointer, _ downstream: DownstreamPointer) -> Bool {
        let stage = exchange.pointee.stage
        // A client that has only sent its end still reads (RFC 9112 section 9.6); one that was reset does not.
        // Nor does one whose tunnel has ended in both directions; what came before is still passed on.
        if downstream.pointee.channel.state.contains(.hungUp), !exchange.pointee.marks.contains(.streamTunnel),
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

    // MARK: - Exchanges

    /// An exchange for a request of the connection. - Returns: `nil` if there are too many, in all or of its source.
    mutating func makeExchange(_ downstream: DownstreamPointer) -> ExchangePointer? {
        guard let share = downstream.pointee.share, sources.hasRoom(share), let (exchange, handle) = exchanges.take()
        else { return nil }
        share.pointee.exchanges += 1
        if exchange.pointee.timer == .max { exchange.pointee.timer = timers.makeTimer(for: 0) }
        exchange.pointee.handle = handle
        exchange.pointee.begin(for: downstream, now: nanoseconds, milliseconds: now)
        if let first = downstream.pointee.exchange { first.pointee.previousOnDownstream = exchange }
        exchange.pointee.previousOnDownstream = nil
        exchange.pointee.nextOnDownstream = downstream.pointee.exchange
        downstream.pointee.exchange = exchange
        counters.requests += 1
        return exchange
    }

    /// Lets the exchange go on after the others have had their turn.
    @inline(__always)
    mutating func wake(_ exchange: ExchangePointer) {
        guard let downstream = exchange.pointee.downstream else { return }
        if exchange.pointee.stream == nil { enqueue(downstream) } else { enqueue(exchange) }
    }

    /// Goes on with the exchange now.
    @inline(__always)
    mutating func advance(_ exchange: ExchangePointer) {
        guard let downstream = exchange.pointee.downstream else { return }
        if exchange.pointee.stream == nil { return drive(downstream) }
        if exchange.pointee.stage == .flowing { flow(exchange) }
    }

    // MARK: - Ending

    mutating func close(_ downstream: DownstreamPointer, resetting: Bool = false) {
        guard downstream.pointee.phase != .closed else { return }
        if downstream.pointee.phase == .held { heldConnections -= 1 }
        downstream.pointee.phase = .closed
        if downstream.pointee.session != nil { abandonAll(downstream) }
        downstream.pointee.channel.close(&buffers, resetting: resetting)
        // A connection may end before it had to wait for anything.
        if downstream.pointee.timer != .max { timers.cancel(downstream.pointee.timer) }
        counters.connections -= 1
        closedDownstreams.push(downstream)
    }

    mutating func setTimer(_ downstream: DownstreamPointer, in milliseconds: UInt64) {
        if downstream.pointee.timer == .max { downstream.pointee.timer = timers.makeTimer(for: 0) }
        let owner = Token(.downstream, downstream.pointee.handle).rawValue
        timers.set(downstream.pointee.timer, deadline: now + milliseconds, owner: owner)
    }
}

// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import MeshModel

/// Connections that are not HTTP: each gets one connection to a backend, which shows the client's own address where it
/// can, and bytes, ends and resets pass as they are (`Engine+Tunnel`).
///
/// An exchange carries one, so that balancing, circuits, policy, limits and the record are those of requests. It is never
/// tried twice.
extension Engine {
    /// - Parameter isTentative: The client has said nothing yet, and may still turn out to speak HTTP.
    mutating func beginRelay(_ downstream: DownstreamPointer, isTentative: Bool = false) {
        guard let exchange = makeExchange(downstream) else { return close(downstream, resetting: true) }
        // Nothing is answered that could be read: what fails is reset.
        exchange.pointee.marks = isTentative ? [.relay, .responseBegan, .tentative] : [.relay, .responseBegan]
        exchange.pointee.stage = .waiting
        exchange.pointee.record.flags.insert(downstream.pointee.spoken == .tls ? [.tcp, .tls] : .tcp)
        exchange.pointee.record.routedAt = nanoseconds
        guard enterSnapshot(exchange, downstream) else { return }
        guard let endpoint = chooseDestination(exchange, downstream) else { return }
        guard judge(exchange, downstream, endpoint) else { return }
        exchange.pointee.record.endpoint = endpoint
        exchange.pointee.record.attempts = 1
        dial(exchange, downstream, endpoint)
    }

    /// Asks for a connection of the relay's own.
    private mutating func dial(
        _ exchange: ExchangePointer, _ downstream: DownstreamPointer, _ endpoint: ProxyEndpoint
    ) {
        guard beginWaiting(exchange) else { return answer(exchange, .circuitOpen) }
        guard let upstream = takeUpstream() else { return answer(exchange, .tooManyConnections) }
        guard beginConnection(upstream, exchange.pointee.choice.cluster) else {
            upstreams.give(back: upstream.pointee.handle.index)
            return answer(exchange, .circuitOpen)
        }
        upstream.pointee.phase = .requested
        upstream.pointee.add(exchange)
        exchange.pointee.upstream = upstream
        counters.upstreams += 1
        counters.dials += 1
        setTimer(upstream, in: connectTimeout(exchange))
        let origin = downstream.pointee.origin
        let request = LegRequest(
            ticket: LegTicket(handle: upstream.pointee.handle), network: origin.network, outsider: origin.outsider,
            address: endpoint.address, port: endpoint.port,
            client: ProxyEndpoint(address: origin.client, port: origin.clientPort))
        if !askForLeg(request, upstream) { relayFailed(upstream, .legRefused) }
    }

    /// The connection to the backend did not come about: as without the proxy, the client's ends too.
    mutating func relayFailed(_ upstream: UpstreamPointer, _ reason: ReasonCode) {
        guard let exchange = upstream.pointee.exchange else { return close(upstream) }
        exchange.pointee.marks.remove(.tentative)
        endAttempt(exchange, reason.outcome)
        answer(exchange, reason)
    }

    /// The connection to the backend is there.
    mutating func relayConnected(_ upstream: UpstreamPointer) {
        guard let exchange = upstream.pointee.exchange, let downstream = exchange.pointee.downstream,
            mayStillGo(exchange, downstream)
        else { return }
        endWaiting(exchange)
        exchange.pointee.stage = .tunnel
        exchange.pointee.record.sentAt = nanoseconds
        exchange.pointee.record.noteTunnel(upstream.pointee.channel.mark != nil)
        exchange.pointee.record.reason = .tunnelEnded
        // It may last for days: no configuration must be kept for it.
        leaveSnapshot(exchange)
        if exchange.pointee.marks.contains(.tentative) {
            setTimer(downstream, in: configuration.headTimeout)
        } else {
            openMeter(exchange)
            watchRelay(exchange, downstream)
        }
        drive(downstream)
    }

    /// The relay is no longer tentative.
    mutating func confirm(_ exchange: ExchangePointer, _ downstream: DownstreamPointer) {
        exchange.pointee.marks.remove(.tentative)
        if downstream.pointee.spoken == .tls { exchange.pointee.record.flags.insert(.tls) }
        // Nothing has passed yet, and what policy has said since was not asked for its sake.
        guard exchange.pointee.stage == .tunnel, mayStillGo(exchange, downstream), endRest(exchange) else { return }
        openMeter(exchange)
        watchRelay(exchange, downstream)
    }

    /// Looks at a relay again before anything passes, if a configuration has come meanwhile: whether it may, and whether it
    /// may in clear.
    ///
    /// - Returns: Whether it goes on; otherwise it was answered.
    private mutating func mayStillGo(_ exchange: ExchangePointer, _ downstream: DownstreamPointer) -> Bool {
        if exchange.pointee.judgedBy != holds.current?.pointee.serial, isInClear(exchange, downstream) {
            answer(exchange, .denied)
            return false
        }
        return isStillAdmitted(exchange)
    }

    /// Ends a relay by a reset of both ends.
    mutating func cut(_ exchange: ExchangePointer, _ reason: ReasonCode) {
        guard let downstream = exchange.pointee.downstream else { return }
        exchange.pointee.record.reason = reason
        abandon(exchange, downstream)
    }

    /// Judges what is open by the newest policy, as the kernel does with connections.
    mutating func judgeRelays() {
        guard counters.relays > 0 else { return }
        for exchange in exchanges.live(where: { $0.marks.contains(.relay) && $0.stage == .tunnel }) {
            // What was done for another may have ended it.
            guard exchange.pointee.stage == .tunnel, let downstream = exchange.pointee.downstream else { continue }
            if isInClear(exchange, downstream) {
                cut(exchange, .denied)
            } else if judge(exchange, downstream, exchange.pointee.record.endpoint) {
                watchRelaySooner(exchange, downstream)
            }
        }
    }

    // MARK: - What is counted

    private mutating func openMeter(_ exchange: ExchangePointer) {
        exchange.pointee.meter.flow = sink._withUnsafeGuaranteedRef { $0.relayOpened(exchange.pointee.record) }
        exchange.pointee.meter.isOpen = true
        counters.relays += 1
        counters.requests -= 1
    }

    /// Tells the sink what has moved since it was told last.
    private mutating func readMeter(_ exchange: ExchangePointer) {
        guard let flow = exchange.pointee.meter.flow else { return }
        let (received, sent) = (exchange.pointee.requestBody.moved, exchange.pointee.responseBody.moved)
        let (newlyReceived, newlySent) = (
            received &- exchange.pointee.meter.received, sent &- exchange.pointee.meter.sent
        )
        exchange.pointee.meter.received = received
        exchange.pointee.meter.sent = sent
        sink._withUnsafeGuaranteedRef { $0.relayMoved(flow, sent: newlySent, received: newlyReceived) }
    }

    /// Tells the sink of all relays, so that what is asked of it is of this moment.
    mutating func readMeters() {
        guard counters.relays > 0 else { return }
        for exchange in exchanges.live(where: { $0.meter.isOpen }) { readMeter(exchange) }
    }

    /// The relay's record is about to be written.
    mutating func endMeter(_ exchange: ExchangePointer) {
        guard exchange.pointee.meter.isOpen else {
            counters.requests -= 1
            return
        }
        readMeter(exchange)
        exchange.pointee.meter.isOpen = false
        counters.relays -= 1
        if let flow = exchange.pointee.meter.flow { sink._withUnsafeGuaranteedRef { $0.relayClosed(flow) } }
        // The endpoint has taken it; how its protocol ends is nobody's business.
        endAttempt(exchange, .response(status: 200))
    }
}

/// What the sink knows of a relay.
struct RelayMeter: BitwiseCopyable {
    var isOpen = false
    /// By which the sink counts it; `nil`: it does not.
    var flow: WorkerMetrics.FlowNumber?
    // Bytes that it was told of, as the server sees them.
    var sent: UInt64 = 0
    var received: UInt64 = 0
}

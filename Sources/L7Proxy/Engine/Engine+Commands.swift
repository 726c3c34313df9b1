// SPDX-License-Identifier: Apache-2.0

import LinuxIO

/// What another thread wants of a worker.
enum WorkerCommand: Sendable {
    /// The descriptor is owned by the command.
    case addListener(CInt, tag: UInt64)
    case removeListener(tag: UInt64)
    case publish(ProxySnapshot)
    /// What was published has all of the kernel's policy of this generation.
    case enforce(UInt32)
    /// Told when what was published is in force.
    case whenInForce(@Sendable () -> Void)
    /// The descriptor is owned by the command; -1: there will be none.
    case leg(LegTicket, CInt)
    case localLeg(LegTicket, LocalEnd)
    case serve(LocalEnd, ConnectionOrigin)
    case drain(milliseconds: UInt64, @Sendable () -> Void)
    case count(@Sendable (WorkerCounters) -> Void)
    case metrics(@Sendable (MetricsSnapshot?) -> Void)
    case stop
}

extension Engine {
    mutating func takeCommands() {
        for command in mailbox.takeAll() {
            switch command {
            case .addListener(let descriptor, let tag): add(descriptor, tag)
            case .removeListener(let tag): listeners.remove(from: poller) { $0 == tag }
            case .publish(let snapshot): publish(snapshot)
            case .enforce(let generation): enforce(generation)
            case .whenInForce(let done): whenInForce(done)
            case .leg(let ticket, let descriptor): deliver(ticket, descriptor)
            case .localLeg(let ticket, let end): deliver(ticket, end)
            case .serve(let end, let origin): serve(end, origin)
            case .drain(let milliseconds, let done): beginDrain(milliseconds, done)
            case .count(let reply): reply(currentCounters)
            case .metrics(let reply):
                readMeters()
                reply(sink._withUnsafeGuaranteedRef { $0.metrics() })
            case .stop: isStopping = true
            }
        }
    }

    private var currentCounters: WorkerCounters {
        var counters = counters
        counters.buffers = UInt64(buffers.lent)
        counters.exchanges = UInt64(exchanges.liveCount)
        return counters
    }

    // MARK: - Listeners

    private mutating func add(_ descriptor: CInt, _ tag: UInt64) {
        guard !isDraining else { return StreamSocket.close(descriptor) }
        listeners.add(descriptor, tag, to: poller)
    }

    mutating func pauseListeners() {
        listeners.pause(poller)
        setWorkerTimer()
    }

    mutating func resumeListeners() {
        listeners.resume(poller)
        setWorkerTimer()
    }

    private mutating func setWorkerTimer() {
        var deadline = UInt64.max
        if listeners.isPaused { deadline = now + ListenerSet<UInt64>.pause }
        if isDraining { deadline = min(deadline, drainDeadline) }
        guard deadline < .max else { return }
        timers.set(
            workerTimer, deadline: deadline, owner: Token(.worker, SlabHandle(index: 0, generation: 0)).rawValue)
    }

    // MARK: - Legs

    private mutating func deliver(_ ticket: LegTicket, _ descriptor: CInt) {
        guard let upstream = upstreams.find(ticket.handle), upstream.pointee.phase == .requested else {
            // Given up meanwhile.
            if descriptor >= 0 { StreamSocket.close(descriptor) }
            return
        }
        guard descriptor >= 0 else {
            counters.failedDials += 1
            return dialFailed(upstream, .legRefused)
        }
        upstream.pointee.channel.descriptor = descriptor
        adopt(upstream)
    }

    private mutating func deliver(_ ticket: LegTicket, _ end: LocalEnd) {
        guard let upstream = upstreams.find(ticket.handle), upstream.pointee.phase == .requested else {
            return end.discard()
        }
        upstream.pointee.channel.adopt(end)
        adopt(upstream)
    }

    // MARK: - Drain

    /// No more connections; those that are open end after their request, or at the deadline.
    private mutating func beginDrain(_ milliseconds: UInt64, _ done: @escaping @Sendable () -> Void) {
        onDrained.append(done)
        drainDeadline = now + milliseconds
        listeners.remove(from: poller) { _ in true }
        if !isDraining {
            isDraining = true
            for downstream in liveDownstreams() where !downstream.pointee.isMirror {
                release(downstream)
                guard downstream.pointee.phase != .closed else { continue }
                if let session = downstream.pointee.session {
                    session._withUnsafeGuaranteedRef { $0.drain() }
                    enqueue(downstream)
                } else {
                    if let exchange = downstream.pointee.exchange {
                        // They end when their ends do, or at the deadline.
                        if exchange.pointee.marks.contains(.relay), !exchange.pointee.marks.contains(.tentative) {
                            continue
                        }
                        // Nothing has been said yet: it is as silent as if no backend were connected.
                        dropTentative(downstream)
                    }
                    if let exchange = downstream.pointee.exchange {
                        // A head that is not whole is no request: it would outlive its connection.
                        if exchange.pointee.stage == .head { free(exchange) }
                    }
                    perform(downstream.pointee.http1.persistence.beginDrain(), on: downstream)
                }
            }
        }
        setWorkerTimer()
    }

    mutating func finishDrain() {
        // Nobody will use them: whoever is behind one, a worker of tunnels too, need not wait for their timers.
        for upstream in upstreams.live(where: { $0.phase == .open && $0.exchange == nil }) { close(upstream) }
        let waiting = onDrained
        onDrained = []
        for done in waiting { done() }
    }

    /// The deadline of the drain: what is open is cut.
    mutating func cutEverything() {
        for downstream in liveDownstreams() {
            while let exchange = downstream.pointee.exchange {
                exchange.pointee.record.reason = .drainDeadline
                abandon(exchange, downstream)
            }
            if let session = downstream.pointee.session {
                // First what ends the streams, then what ends the connection: nothing is sent after that.
                driveHTTP2(downstream)
                session._withUnsafeGuaranteedRef { $0.terminate(.noError) }
                if downstream.pointee.phase == .open { driveHTTP2(downstream) }
            }
            close(downstream)
        }
    }

    func liveDownstreams() -> [DownstreamPointer] { downstreams.live { $0.phase != .closed } }

    mutating func closeEverything() {
        listeners.remove(from: poller) { _ in true }
        cutEverything()
        for upstream in upstreams.live(where: { $0.phase != .closed }) { close(upstream) }
        for command in mailbox.takeAll() {
            switch command {
            case .addListener(let descriptor, _): StreamSocket.close(descriptor)
            case .leg(_, let descriptor): if descriptor >= 0 { StreamSocket.close(descriptor) }
            case .localLeg(_, let end), .serve(let end, _): end.discard()
            case .drain(_, let done): done()
            case .count(let reply): reply(currentCounters)
            case .metrics(let reply): reply(nil)
            case .removeListener, .publish, .enforce, .whenInForce, .stop: break
            }
        }
        finishDrain()
    }
}

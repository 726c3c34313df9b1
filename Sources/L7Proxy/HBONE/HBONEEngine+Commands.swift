// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import MeshModel

/// What a worker of tunnels calls a listener.
struct HBONEListenerLabel: BitwiseCopyable {
    /// Who connects to it.
    enum Kind: UInt8, Sendable, BitwiseCopyable {
        /// Peers, to a pod's port of HBONE.
        case peers
        /// Pods of this node, whose connections go into tunnels.
        case pods
    }

    let tag: UInt64
    let kind: Kind
}

/// What another thread wants of a worker of tunnels. Descriptors are owned by the command.
enum HBONECommand: Sendable {
    case addListener(CInt, tag: UInt64, HBONEListenerLabel.Kind)
    case removeListener(tag: UInt64)
    case serve(HBONEOrigin, CInt)
    case publish(TLSIdentities)
    case policyChanged
    case open(HBONEOutbound, CInt)
    case openLocal(HBONEOutbound, LocalEnd)
    case localLeg(LegTicket, LocalEnd)
    /// -1: there will be none.
    case leg(LegTicket, CInt, isPeer: Bool)
    case drain(milliseconds: UInt64, @Sendable () -> Void)
    case count(@Sendable (HBONECounters) -> Void)
    case metrics(@Sendable (MetricsSnapshot?) -> Void)
    case stop
}

extension HBONEEngine {
    mutating func takeCommands() {
        for command in mailbox.takeAll() {
            switch command {
            case .addListener(let descriptor, let tag, let kind):
                add(descriptor, HBONEListenerLabel(tag: tag, kind: kind))
            case .removeListener(let tag): listeners.remove(from: poller) { $0.tag == tag }
            case .serve(let origin, let descriptor):
                counters.accepted += 1
                begin(descriptor, origin)
            case .publish(let identities): publish(identities)
            case .policyChanged: authorizeAgain()
            case .open(let outbound, let descriptor): open(outbound, descriptor)
            case .openLocal(let outbound, let end):
                var channel = Channel()
                channel.adopt(end)
                open(outbound, channel)
            case .localLeg(let ticket, let end): legMade(ticket, end)
            case .leg(let ticket, let descriptor, let isPeer):
                if isPeer { dialled(ticket, descriptor) } else { legMade(ticket, descriptor) }
            case .drain(let milliseconds, let done): beginDrain(milliseconds, done)
            case .count(let reply): reply(currentCounters)
            case .metrics(let reply): reply(sink.metrics())
            case .stop: isStopping = true
            }
        }
    }

    private var currentCounters: HBONECounters {
        var counters = counters
        counters.openTunnels = UInt64(tunnels.liveCount)
        counters.connections = UInt64(connections.liveCount)
        counters.pools = UInt64(pools.count)
        counters.buffers = UInt64(buffers.lent)
        return counters
    }

    // MARK: - Listeners

    private mutating func add(_ descriptor: CInt, _ label: HBONEListenerLabel) {
        guard !isDraining else { return StreamSocket.close(descriptor) }
        listeners.add(descriptor, label, to: poller)
    }

    mutating func accept(_ place: Int) {
        guard let listener = listeners[place] else { return }
        for _ in 0..<ListenerSet<HBONEListenerLabel>.acceptsPerTurn {
            switch listener.accept() {
            case .none: return
            case .exhausted: return pauseListeners()
            case .socket(let descriptor, let peer):
                take(
                    AcceptedSocket(
                        descriptor: descriptor, listener: listener.label.tag,
                        client: IPAddress(high: peer.high, low: peer.low), clientPort: peer.port),
                    by: listener.label.kind)
            }
        }
    }

    private mutating func take(_ accepted: AcceptedSocket, by kind: HBONEListenerLabel.Kind) {
        switch kind {
        case .peers: take(accepted)
        case .pods:
            if let outbound = composition.outbound(accepted) {
                open(outbound, accepted.descriptor)
            } else {
                counters.refusedConnections += 1
                StreamSocket.reset(accepted.descriptor)
            }
        }
    }

    private mutating func pauseListeners() {
        listeners.pause(poller)
        setWorkerTimer()
    }

    mutating func resumeListeners() {
        listeners.resume(poller)
        setWorkerTimer()
    }

    private mutating func setWorkerTimer() {
        var deadline = UInt64.max
        if listeners.isPaused { deadline = now + ListenerSet<HBONEListenerLabel>.pause }
        if isDraining { deadline = min(deadline, drainDeadline) }
        guard deadline < .max else { return }
        timers.set(
            workerTimer, deadline: deadline, owner: Token(.worker, SlabHandle(index: 0, generation: 0)).rawValue)
    }

    // MARK: - Drain

    /// No more connections and no more tunnels of peers; those that are open go on until the deadline. Our own pods may
    /// still need some for what they have been promised. Again: calls `done` too, and puts the deadline off no further.
    private mutating func beginDrain(_ milliseconds: UInt64, _ done: @escaping @Sendable () -> Void) {
        onDrained.append(done)
        drainDeadline = isDraining ? min(drainDeadline, now + milliseconds) : now + milliseconds
        listeners.remove(from: poller) { _ in true }
        if !isDraining {
            isDraining = true
            // Of those that shake hands the peer's pods wait: they get theirs, and then hear of the end.
            for connection in liveConnections() where connection.pointee.phase == .open {
                if connection.pointee.isServer {
                    retire(connection, .drained)
                } else if isOver(connection) {
                    enqueue(connection)
                }
            }
        }
        setWorkerTimer()
    }

    mutating func finishDrain() {
        let waiting = onDrained
        onDrained = []
        for done in waiting { done() }
    }

    func liveConnections() -> [HBONEConnectionPointer] { connections.live { $0.phase != .closed } }

    func liveTunnels() -> [HBONETunnelPointer] { tunnels.live { $0.phase != .over } }

    /// The deadline of the drain, or the end of the worker.
    mutating func cutEverything() {
        for tunnel in liveTunnels() { finish(tunnel, .drained) }
        for connection in liveConnections() { end(connection, .drained) }
    }

    mutating func closeEverything() {
        listeners.remove(from: poller) { _ in true }
        cutEverything()
        for connection in liveConnections() { close(connection, .drained) }
        for command in mailbox.takeAll() {
            switch command {
            case .addListener(let descriptor, _, _): StreamSocket.close(descriptor)
            case .open(_, let descriptor), .serve(_, let descriptor): StreamSocket.reset(descriptor)
            case .openLocal(_, let end), .localLeg(_, let end): end.discard()
            case .leg(_, let descriptor, _): if descriptor >= 0 { StreamSocket.close(descriptor) }
            case .drain(_, let done): done()
            case .count(let reply): reply(currentCounters)
            case .metrics(let reply): reply(nil)
            case .removeListener, .publish, .policyChanged, .stop: break
            }
        }
        finishDrain()
    }
}

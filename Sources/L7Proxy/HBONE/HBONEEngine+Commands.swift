// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import MeshModel

/// A listening socket of a worker of tunnels.
struct HBONEListener: BitwiseCopyable {
    /// Who connects to it.
    enum Kind: UInt8, Sendable, BitwiseCopyable {
        /// Peers, to a pod's port of HBONE.
        case peers
        /// Pods of this node, whose connections go into tunnels.
        case pods
    }

    let descriptor: CInt
    let tag: UInt64
    let kind: Kind
}

/// What another thread wants of a worker of tunnels. Descriptors are owned by the command.
enum HBONECommand: Sendable {
    case addListener(CInt, tag: UInt64, HBONEListener.Kind)
    case removeListener(tag: UInt64)
    case publish(TLSIdentities)
    case policyChanged
    case open(HBONEOutbound, CInt)
    /// -1: there will be none.
    case leg(LegTicket, CInt, isPeer: Bool)
    case drain(milliseconds: UInt64, @Sendable () -> Void)
    case count(@Sendable (HBONECounters) -> Void)
    case stop
}

extension HBONEEngine {
    /// Milliseconds for which nothing is accepted when there are no more descriptors.
    private static var pause: UInt64 { 100 }
    /// Connections that one listener may take in one turn.
    private static var acceptsPerTurn: Int { 64 }

    mutating func takeCommands() {
        for command in mailbox.takeAll() {
            switch command {
            case .addListener(let descriptor, let tag, let kind):
                add(HBONEListener(descriptor: descriptor, tag: tag, kind: kind))
            case .removeListener(let tag): removeListeners { $0.tag == tag }
            case .publish(let identities): publish(identities)
            case .policyChanged: authorizeAgain()
            case .open(let outbound, let descriptor): open(outbound, descriptor)
            case .leg(let ticket, let descriptor, let isPeer):
                if isPeer { dialled(ticket, descriptor) } else { legMade(ticket, descriptor) }
            case .drain(let milliseconds, let done): beginDrain(milliseconds, done)
            case .count(let reply): reply(currentCounters)
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

    private mutating func add(_ listener: HBONEListener) {
        guard !isDraining, StreamSocket.prepare(listener.descriptor) == 0 else {
            return StreamSocket.close(listener.descriptor)
        }
        // The place of a listener that was removed is used again, so that tokens stay right.
        let index = listeners.firstIndex { $0.descriptor < 0 } ?? listeners.count
        if index < listeners.count { listeners[index] = listener } else { listeners.append(listener) }
        if !listenersPaused { watch(index) }
    }

    private mutating func watch(_ index: Int) {
        let token = Token(.listener, SlabHandle(index: UInt32(index), generation: 0)).rawValue
        do throws(SystemError) { try poller.addListener(listeners[index].descriptor, token: token) } catch {
            StreamSocket.close(listeners[index].descriptor)
            listeners[index] = HBONEListener(descriptor: -1, tag: 0, kind: .peers)
        }
    }

    private mutating func removeListeners(where matches: (HBONEListener) -> Bool) {
        for index in listeners.indices where listeners[index].descriptor >= 0 && matches(listeners[index]) {
            // Others hold the socket too: closing this descriptor alone would leave it in the poller (epoll(7)).
            if !listenersPaused { poller.remove(listeners[index].descriptor) }
            StreamSocket.close(listeners[index].descriptor)
            listeners[index] = HBONEListener(descriptor: -1, tag: 0, kind: .peers)
        }
    }

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
            let accepted = AcceptedSocket(
                descriptor: CInt(result), listener: listener.tag, client: IPAddress(high: peer.high, low: peer.low),
                clientPort: peer.port)
            switch listener.kind {
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
    }

    /// Lets connections wait in the kernel's queues for a moment.
    private mutating func pauseListeners() {
        listenersPaused = true
        for listener in listeners where listener.descriptor >= 0 { poller.remove(listener.descriptor) }
        setWorkerTimer()
    }

    mutating func resumeListeners() {
        listenersPaused = false
        for index in listeners.indices where listeners[index].descriptor >= 0 { watch(index) }
        setWorkerTimer()
    }

    private mutating func setWorkerTimer() {
        var deadline = UInt64.max
        if listenersPaused { deadline = now + Self.pause }
        if isDraining { deadline = min(deadline, drainDeadline) }
        guard deadline < .max else { return }
        timers.set(
            workerTimer, deadline: deadline, owner: Token(.worker, SlabHandle(index: 0, generation: 0)).rawValue)
    }

    // MARK: - Drain

    /// No more connections and no more tunnels; those that are open go on until the deadline.
    private mutating func beginDrain(_ milliseconds: UInt64, _ done: @escaping @Sendable () -> Void) {
        onDrained.append(done)
        drainDeadline = now + milliseconds
        removeListeners { _ in true }
        if !isDraining {
            isDraining = true
            for connection in liveConnections() { retire(connection, .drained) }
        }
        setWorkerTimer()
    }

    mutating func finishDrain() {
        let waiting = onDrained
        onDrained = []
        for done in waiting { done() }
    }

    func liveConnections() -> [HBONEConnectionPointer] {
        var live: [HBONEConnectionPointer] = []
        connections.forEachLive { if $0.pointee.phase != .closed { live.append($0) } }
        return live
    }

    func liveTunnels() -> [HBONETunnelPointer] {
        var live: [HBONETunnelPointer] = []
        tunnels.forEachLive { if $0.pointee.phase != .over { live.append($0) } }
        return live
    }

    /// The deadline of the drain, or the end of the worker.
    mutating func cutEverything() {
        for tunnel in liveTunnels() { finish(tunnel, .drained) }
        for connection in liveConnections() { end(connection, .drained) }
    }

    mutating func closeEverything() {
        removeListeners { _ in true }
        cutEverything()
        for connection in liveConnections() { close(connection, .drained) }
        for command in mailbox.takeAll() {
            switch command {
            case .addListener(let descriptor, _, _), .open(_, let descriptor): StreamSocket.close(descriptor)
            case .leg(_, let descriptor, _): if descriptor >= 0 { StreamSocket.close(descriptor) }
            case .drain(_, let done): done()
            case .count(let reply): reply(currentCounters)
            case .removeListener, .publish, .policyChanged, .stop: break
            }
        }
        finishDrain()
    }
}

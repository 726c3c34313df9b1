// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import MeshModel
import TLSEngine

/// Connections to peers' nodes, and who waits for them.
extension HBONEEngine {
    /// - Returns: `nil` if there are too many.
    mutating func pool(_ key: HBONEPoolKey) -> HBONEPoolPointer? {
        if let known = pools[key] { return known }
        guard pools.count < configuration.pools else { return nil }
        let pool = HBONEPoolPointer.allocate(capacity: 1)
        pool.initialize(to: HBONEPool(key))
        pools[key] = pool
        return pool
    }

    /// A pool that nobody uses is forgotten at the end of the turn.
    mutating func forgetIfUnused(_ pool: HBONEPoolPointer) {
        if pool.pointee.isUnused { unusedPools.append(pool.pointee.key) }
    }

    /// Gives streams to those that wait; makes as many connections as the rest needs, and does not make them twice.
    mutating func serve(_ pool: HBONEPoolPointer) {
        while let tunnel = pool.pointee.firstWaiting, let connection = Self.free(pool) {
            pool.pointee.remove(tunnel)
            ask(tunnel, on: connection)
        }
        let streams = Int(configuration.client.concurrentStreams)
        // A refused dial ends all that wait.
        while pool.pointee.waitingCount > pool.pointee.dialling * streams {
            guard dial(pool) else { return }
        }
    }

    /// A connection that has room for one more stream.
    private static func free(_ pool: HBONEPoolPointer) -> HBONEConnectionPointer? {
        var next = pool.pointee.connections
        while let connection = next {
            next = connection.pointee.next
            guard connection.pointee.phase == .open, let client = connection.pointee.client else { continue }
            if client._withUnsafeGuaranteedRef({ $0.canOpenStream }) { return connection }
        }
        return nil
    }

    // MARK: - Dialling

    /// Begins a connection. - Returns: Whether it was; else nobody waits any more.
    private mutating func dial(_ pool: HBONEPoolPointer) -> Bool {
        let key = pool.pointee.key
        guard contexts.has(key.identity) else { return giveUp(pool, .noIdentity) }
        guard let share = connectionSources.enter(network: key.network, key.source) else {
            return giveUp(pool, .tooMany, "the pod has \(configuration.connectionsPerSource) connections already")
        }
        guard let (connection, handle) = connections.take() else {
            connectionSources.leave(share)
            return giveUp(pool, .tooMany, "all \(configuration.connections) connections are in use")
        }
        connection.pointee.begin(handle, isServer: false, now: now)
        connection.pointee.share = share
        connection.pointee.identity = key.identity
        connection.pointee.phase = .requested
        pool.pointee.add(connection, pool)
        pool.pointee.dialling += 1
        counters.dialled += 1
        setTimer(connection, in: configuration.dialTimeout)
        let answer = composition.legs(
            LegRequest(
                ticket: LegTicket(handle: handle), network: key.network, outsider: nil, address: key.gateway,
                port: key.port, isToPeer: true))
        switch answer {
        case .descriptor(let descriptor): adopt(connection, descriptor)
        case .pending: break
        case .refused: close(connection, .noSocket)
        }
        return connection.pointee.phase != .closed
    }

    /// Nobody waits any more. - Returns: false.
    private mutating func giveUp(_ pool: HBONEPoolPointer, _ reason: HBONEReason, _ detail: String? = nil) -> Bool {
        while let tunnel = pool.pointee.firstWaiting { finish(tunnel, reason, detail) }
        forgetIfUnused(pool)
        return false
    }

    /// The socket that was asked for is there, or there will be none.
    mutating func dialled(_ ticket: LegTicket, _ descriptor: CInt) {
        guard let connection = connections.find(ticket.handle), connection.pointee.phase == .requested else {
            // Given up meanwhile.
            if descriptor >= 0 { StreamSocket.close(descriptor) }
            return
        }
        guard descriptor >= 0 else { return close(connection, .noSocket) }
        adopt(connection, descriptor)
    }

    private mutating func adopt(_ connection: HBONEConnectionPointer, _ descriptor: CInt) {
        connection.pointee.secure.channel = Channel()
        connection.pointee.secure.channel.descriptor = descriptor
        connection.pointee.phase = .connecting
        // Small records of one tunnel must not wait until the peer acknowledges another's.
        guard StreamSocket.prepare(descriptor) == 0 else { return close(connection, .noSocket) }
        if !watch(connection, descriptor) { close(connection, .noSocket, "the worker has no more descriptors") }
    }

    /// The socket to a peer's node has become connected, or cannot be.
    mutating func dialIsReady(_ connection: HBONEConnectionPointer) {
        guard let pool = connection.pointee.pool else { return close(connection, .noSocket) }
        let descriptor = connection.pointee.secure.channel.descriptor
        let status = StreamSocket.pendingError(descriptor)
        guard status == 0 else {
            return close(
                connection, .dialRefused,
                SystemError("connect", errnoCode: CInt(truncatingIfNeeded: -status)).description)
        }
        guard connection.pointee.secure.channel.state.contains(.writable) else { return }
        let acceptable = Array(pool.pointee.key.acceptable)
        if beginHandshake(connection, descriptor, expecting: .anyOf(acceptable), isWatched: true) {
            enqueueShaking(connection)
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

import Identity
import LinuxIO
import MeshModel
import TLSEngine

/// Connections until they are open: accepting, TLS, and what changed identities mean for those that are.
extension HBONEEngine {
    /// A connection to a pod's port of HBONE.
    mutating func take(_ accepted: AcceptedSocket) {
        counters.accepted += 1
        guard let origin = composition.origin(accepted) else {
            counters.refusedConnections += 1
            return StreamSocket.reset(accepted.descriptor)
        }
        begin(accepted.descriptor, origin)
    }

    /// The same, of which it is known whose pod it came to. - Parameter descriptor: Owned from now on.
    mutating func begin(_ descriptor: CInt, _ origin: HBONEOrigin) {
        guard !isDraining || now < drainDeadline, StreamSocket.prepare(descriptor) == 0 else {
            return refuse(descriptor)
        }
        guard let share = connectionSources.enter(network: 0, origin.client) else {
            refuse(descriptor)
            return report(tooMany: "\(origin.client) has \(configuration.connectionsPerSource) already", origin)
        }
        guard let (connection, handle) = connections.take() else {
            connectionSources.leave(share)
            refuse(descriptor)
            return report(tooMany: "all \(configuration.connections) are in use", origin)
        }
        connection.pointee.begin(handle, isServer: true, now: now)
        connection.pointee.share = share
        connection.pointee.identity = origin.identity
        connection.pointee.origin = origin
        connection.pointee.phase = .connecting
        guard beginHandshake(connection, descriptor, expecting: .memberOf(origin.identity.trustDomain)) else {
            return
        }
        // A client speaks first, and mostly has.
        connection.pointee.secure.channel.state = [.readable, .writable]
        enqueueShaking(connection)
    }

    private mutating func refuse(_ descriptor: CInt) {
        counters.refusedConnections += 1
        StreamSocket.reset(descriptor)
    }

    private mutating func report(tooMany detail: String, _ origin: HBONEOrigin) {
        sink.failed(
            HBONEFailure(
                direction: .inbound, reason: .tooMany, detail: detail, peer: nil, identity: origin.identity,
                local: origin.local, address: origin.client, port: origin.clientPort))
        hasRecords = true
    }

    /// Begins TLS on a connected socket. - Returns: Whether it has begun; else the connection is closed.
    mutating func beginHandshake(
        _ connection: HBONEConnectionPointer, _ descriptor: CInt, expecting peer: PeerExpectation,
        isWatched: Bool = false
    ) -> Bool {
        guard let identity = connection.pointee.identity else { return false }
        do throws(TLSError) {
            guard
                let session = try contexts.session(
                    connection.pointee.isServer ? .server : .client, identity, expecting: peer, now: .now)
            else {
                connection.pointee.secure.channel.descriptor = descriptor
                close(connection, .noIdentity)
                return false
            }
            let known = connection.pointee.secure.channel.state
            connection.pointee.secure.begin(descriptor, session)
            connection.pointee.secure.channel.state = known
        } catch {
            connection.pointee.secure.channel.descriptor = descriptor
            close(connection, .handshakeFailed, error.description)
            return false
        }
        if !isWatched, !watch(connection, descriptor) {
            close(connection, .outOfMemory)
            return false
        }
        connection.pointee.phase = .handshaking
        addShaking(connection)
        setTimer(connection, in: configuration.handshakeTimeout)
        return true
    }

    func watch(_ connection: HBONEConnectionPointer, _ descriptor: CInt) -> Bool {
        let token = Token(.upstream, connection.pointee.handle).rawValue
        do throws(SystemError) { try poller.addStream(descriptor, token: token) } catch { return false }
        return true
    }

    /// Lets handshakes go on. Steps are made by the other thread, and by this one when that has no time: so many in a turn.
    mutating func shakeHands() {
        makesSteps = false
        if shakeQueue.isEmpty, stepsUnderWay == 0, !hasStepsMade { return }
        hasStepsMade = false
        for step in shaker.takeMade() { ended(step) }
        let time = UnixTime.now
        var waiting = shakeQueue.count
        while waiting > 0, let connection = shakeQueue.pop() {
            waiting -= 1
            connection.pointee.isShakeQueued = false
            guard connection.pointee.phase == .handshaking, connection.pointee.step == nil else { continue }
            begin(HandshakeStep(connection.pointee.handle, at: nanoseconds, now: time), connection)
        }
        while let step = stepsToPut.last, shaker.put(step) { stepsToPut.removeLast() }
        var budget = configuration.handshakesPerTurn
        while budget > 0, stepsUnderWay > 0, let late = shaker.takeLate(at: nanoseconds) {
            if !late.isAbandoned { budget -= 1 }
            late.make()
            ended(late)
        }
        makesSteps = budget == 0
    }

    private mutating func begin(_ step: HandshakeStep, _ connection: HBONEConnectionPointer) {
        if let outcome = connection.pointee.secure.begin(step, &buffers) { return take(outcome, connection) }
        connection.pointee.step = step
        stepsUnderWay += 1
        if !stepsToPut.isEmpty || !shaker.put(step) { stepsToPut.insert(step, at: 0) }
    }

    /// A step was made. Its connection may have been closed meanwhile.
    private mutating func ended(_ step: HandshakeStep) {
        stepsUnderWay -= 1
        defer { step.free() }
        guard let connection = connections.find(step.connection), connection.pointee.phase == .handshaking,
            connection.pointee.step === step
        else { return }
        connection.pointee.step = nil
        take(connection.pointee.secure.end(step, &buffers), connection)
    }

    private mutating func take(_ outcome: SecureChannel.Handshake, _ connection: HBONEConnectionPointer) {
        switch outcome {
        case .done:
            counters.handshakes += 1
            if connection.pointee.isOutdated, let rejection = rejectionNow(of: connection) {
                return close(connection, .peerRejected, rejection.description)
            }
            removeShaking(connection)
            opened(connection)
        case .waiting:
            connection.pointee.secure.relax(&buffers)
            // Readiness is told once: what was not read yet is read next.
            if connection.pointee.secure.channel.mayRead, connection.pointee.secure.channel.output.isEmpty {
                enqueueShaking(connection)
            }
        case .failed(let error):
            counters.failedHandshakes += 1
            close(connection, .handshakeFailed, error.description)
        case .broken:
            counters.failedHandshakes += 1
            close(connection, .handshakeFailed, "the peer ended the connection during it")
        case .noMemory: close(connection, .outOfMemory)
        }
    }

    // MARK: - Those that shake hands

    private mutating func addShaking(_ connection: HBONEConnectionPointer) {
        // Those that we make are bounded by what pods want, and are in lists of their pools.
        guard connection.pointee.isServer else { return }
        if shakingCount >= configuration.handshakes, let oldest = oldestShaking {
            counters.refusedConnections += 1
            close(oldest, .tooMany, "\(shakingCount) others shake hands")
        }
        connection.pointee.next = newestShaking
        newestShaking?.pointee.previous = connection
        newestShaking = connection
        if oldestShaking == nil { oldestShaking = connection }
        shakingCount += 1
    }

    mutating func removeShaking(_ connection: HBONEConnectionPointer) {
        guard connection.pointee.isServer else { return }
        let (previous, next) = (connection.pointee.previous, connection.pointee.next)
        if let previous { previous.pointee.next = next } else { newestShaking = next }
        if let next { next.pointee.previous = previous } else { oldestShaking = previous }
        connection.pointee.next = nil
        connection.pointee.previous = nil
        shakingCount -= 1
    }

    // MARK: - Changed identities

    /// Handshakes that begin from now on use them. Connections of identities that are gone end at once; peers that the
    /// new bundles do not accept are cut, some in each turn. Where our own certificate is another now, the connections
    /// that we have made go on with the tunnels that they carry, and get no more: so none is old when the root that it was
    /// proved by goes.
    mutating func publish(_ identities: TLSIdentities) {
        let before = contexts.identities
        let mustCheck = contexts.publish(identities)
        if mustCheck { unchecked.removeAll(keepingCapacity: true) }
        for connection in liveConnections() {
            guard let identity = connection.pointee.identity else { continue }
            guard contexts.has(identity) else {
                close(connection, .identityGone)
                continue
            }
            switch connection.pointee.phase {
            case .handshaking where mustCheck: connection.pointee.isOutdated = true
            case .open:
                if mustCheck { unchecked.append(connection.pointee.handle) }
                if connection.pointee.pool != nil, let before, identities.renews(identity, of: before) {
                    retire(connection, .finished)
                }
            default: break
            }
        }
    }

    mutating func checkPeers() {
        for _ in 0..<min(configuration.checksPerTurn, unchecked.count) {
            let handle = unchecked.removeLast()
            guard let connection = connections.find(handle), connection.pointee.phase == .open,
                let rejection = rejectionNow(of: connection)
            else { continue }
            close(connection, .peerRejected, rejection.description)
        }
    }

    /// Why the peer, which was accepted, would not be now; `nil` if it would.
    private mutating func rejectionNow(of connection: HBONEConnectionPointer) -> SVIDRejection? {
        guard let peers = contexts.peers else { return nil }
        counters.checkedPeers += 1
        let rejection = connection.pointee.secure.peerRejection(trusting: peers)
        if rejection != nil { counters.rejectedPeers += 1 }
        return rejection
    }
}

// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import MeshModel

/// Tunnels that peers ask for.
extension HBONEEngine {
    mutating func beginTunnel(_ stream: HTTP2Stream, _ isWhole: Bool, _ connection: HBONEConnectionPointer) {
        guard let origin = connection.pointee.origin, let peer = connection.pointee.peer else { return }
        guard let (tunnel, handle) = tunnels.take() else {
            // RFC 9113 section 8.7: nothing was done, so the client may ask again.
            connection.pointee.session?._withUnsafeGuaranteedRef { $0.reset(stream, .refusedStream) }
            return
        }
        counters.tunnels += 1
        tunnel.pointee.begin(handle, isServer: true, now: nanoseconds)
        tunnel.pointee.origin = origin
        tunnel.pointee.phase = .requested
        attach(tunnel, stream, connection)
        if isWhole { tunnel.pointee.marks.insert(.peerEnded) }
        tunnel.pointee.share = tunnelSources.enter(network: 0, origin.client)
        let request = stream.withFields { fields, message in
            tunnel.pointee.service = Self.service(fields, in: message)
            return port(stream.request, message, origin)
        }
        switch request {
        case .failure(let refusal): return refuse(tunnel, refusal)
        case .success(let port): tunnel.pointee.port = port
        }
        guard tunnel.pointee.share != nil else {
            return refuse(tunnel, .tooMany, "\(origin.client) has \(configuration.tunnelsPerSource) tunnels already")
        }
        if let reason = composition.closed() { return refuse(tunnel, .denied, reason) }
        switch composition.authorize(HBONEInbound(peer: peer, origin: origin, port: tunnel.pointee.port)) {
        case .deny(let reason): refuse(tunnel, .denied, reason)
        case .allow(let identity): requestLeg(tunnel, origin, identity)
        case .requests(let identity):
            tunnel.pointee.marks.insert(.requests)
            requestLeg(tunnel, origin, identity)
        }
    }

    /// The pod's port that a request is for.
    private func port(
        _ head: RequestHead, _ message: UnsafeRawPointer, _ origin: HBONEOrigin
    ) -> Result<UInt16, HBONERefusal> {
        switch HBONETarget.read(head, in: message, to: origin.local) {
        case .failure(let refusal): return .failure(refusal)
        case .success(.address(_, let port)): return .success(port)
        case .success(.service(let hostBytes, let port)):
            let host = UnsafeRawBufferPointer(rebasing: head.authority.bytes(in: message)[..<hostBytes])
            return composition.resolve(host, port, origin).flatMap {
                HBONETarget.mayReach(port: $0) ? .success($0) : .failure($0 == 0 ? .unknownPort : .ownPort)
            }
        }
    }

    /// The Service that a client says it was going to: for the record.
    private static func service(_ fields: borrowing FieldTable, in message: UnsafeRawPointer) -> String? {
        for position in 0..<fields.count where fields.fields[position].name == .forwarded {
            let value = fields.fields[position].valueRange.bytes(in: message)
            if let host = HBONEForwarded.host(value) { return String(decoding: value[host], as: UTF8.self) }
        }
        return nil
    }

    private mutating func requestLeg(_ tunnel: HBONETunnelPointer, _ origin: HBONEOrigin, _ identity: UInt32) {
        setTimer(tunnel, in: configuration.connectTimeout)
        let answer = composition.legs(
            LegRequest(
                ticket: LegTicket(handle: tunnel.pointee.handle), network: origin.network, outsider: identity,
                address: origin.local, port: tunnel.pointee.port,
                client: ProxyEndpoint(address: origin.client, port: origin.clientPort),
                isForRequests: tunnel.pointee.marks.contains(.requests)))
        switch answer {
        case .descriptor(let descriptor):
            tunnel.pointee.leg.descriptor = descriptor
            connect(tunnel)
        case .pending: break
        case .refused: refuse(tunnel, .connectFailed, "no socket could be made inside the pod")
        }
    }

    /// The socket that was asked for is there, or there will be none.
    mutating func legMade(_ ticket: LegTicket, _ descriptor: CInt) {
        guard let tunnel = tunnels.find(ticket.handle), tunnel.pointee.phase == .requested else {
            // Given up meanwhile.
            if descriptor >= 0 { StreamSocket.close(descriptor) }
            return
        }
        guard descriptor >= 0 else { return refuse(tunnel, .connectFailed, "no socket could be made inside the pod") }
        tunnel.pointee.leg.descriptor = descriptor
        connect(tunnel)
    }

    /// The same with an end of a pair.
    mutating func legMade(_ ticket: LegTicket, _ end: LocalEnd) {
        guard let tunnel = tunnels.find(ticket.handle), tunnel.pointee.phase == .requested else {
            return end.discard()
        }
        tunnel.pointee.leg.adopt(end)
        connect(tunnel)
    }

    /// Waits for the socket to the application to be connected.
    private mutating func connect(_ tunnel: HBONETunnelPointer) {
        tunnel.pointee.phase = .connecting
        // What the client has sent in pieces goes on in pieces, at once.
        guard StreamSocket.prepare(tunnel.pointee.leg.descriptor) == 0 else { return refuse(tunnel, .connectFailed) }
        if !watch(tunnel) { refuse(tunnel, .connectFailed, "the worker has no more descriptors") }
    }

    /// Lets the poller tell about the tunnel's socket.
    func watch(_ tunnel: HBONETunnelPointer) -> Bool {
        let token = Token(.exchange, tunnel.pointee.handle).rawValue
        do throws(SystemError) { try poller.addStream(tunnel.pointee.leg.descriptor, token: token) } catch {
            return false
        }
        return true
    }

    /// The socket to the application is connected, or cannot be.
    mutating func legConnected(_ tunnel: HBONETunnelPointer) {
        guard StreamSocket.pendingError(tunnel.pointee.leg.descriptor) == 0 else {
            return refuse(tunnel, .connectFailed)
        }
        guard tunnel.pointee.leg.state.contains(.writable), let stream = tunnel.pointee.stream,
            let connection = tunnel.pointee.connection, let server = connection.pointee.server
        else { return }
        headWriter.beginResponse(status: 200)
        guard case .success = headWriter.finish() else { return finish(tunnel, .outOfMemory) }
        server._withUnsafeGuaranteedRef { $0.respond(stream, headWriter, endOfStream: false) }
        timers.cancel(tunnel.pointee.timer)
        tunnel.pointee.phase = .flowing
        reportOpened(tunnel)
        enqueue(connection)
        flow(tunnel)
    }

    /// Answers with the refusal's status and ends the stream; the connection goes on.
    mutating func refuse(_ tunnel: HBONETunnelPointer, _ refusal: HBONERefusal, _ detail: String? = nil) {
        if let stream = tunnel.pointee.stream, let connection = tunnel.pointee.connection,
            let server = connection.pointee.server
        {
            headWriter.beginResponse(status: refusal.status)
            if case .success = headWriter.finish() {
                server._withUnsafeGuaranteedRef { $0.respond(stream, headWriter, endOfStream: true) }
                if !tunnel.pointee.marks.contains(.peerEnded) {
                    server._withUnsafeGuaranteedRef { $0.resetAfterEnd(stream) }
                }
            }
            // The stream is not the tunnel's any more: what comes by it is thrown away.
            stream.context = 0
            let unused = tunnel.pointee.toLeg.count
            if unused > 0 { server._withUnsafeGuaranteedRef { $0.consume(stream, unused) } }
            detach(tunnel)
            enqueue(connection)
        }
        finish(tunnel, .refused(refusal), detail)
    }

    /// A request that the session has refused, and answered, before there was a tunnel.
    mutating func recordRefused(_ connection: HBONEConnectionPointer, _ defect: MalformedMessage) {
        guard let origin = connection.pointee.origin else { return }
        var record = HBONERecord(
            direction: .inbound, reason: .refused(.malformedTarget), detail: String(describing: defect),
            peer: connection.pointee.peer, identity: origin.identity, source: origin.client,
            sourcePort: origin.clientPort, destination: origin.local, port: 0, service: nil)
        record.startedAt = nanoseconds
        record.endedAt = nanoseconds
        sink.record(record)
        hasRecords = true
    }

    /// Asks policy again about every tunnel, and whether the pods are there that connections came to.
    mutating func authorizeAgain() {
        for connection in liveConnections() {
            guard connection.pointee.isServer, let origin = connection.pointee.origin, !composition.serves(origin)
            else { continue }
            close(connection, .policyChanged, "the pod that it came to has gone")
        }
        for tunnel in liveTunnels() {
            if let outbound = tunnel.pointee.outbound, let reason = composition.denial(outbound) {
                finish(tunnel, .policyChanged, reason)
                continue
            }
            guard tunnel.pointee.isServer, tunnel.pointee.port != 0, let origin = tunnel.pointee.origin,
                let peer = tunnel.pointee.peer
            else { continue }
            let inbound = HBONEInbound(peer: peer, origin: origin, port: tunnel.pointee.port)
            switch composition.authorize(inbound) {
            case .allow: break
            case .requests:
                guard !tunnel.pointee.marks.contains(.requests) else { continue }
                finish(tunnel, .policyChanged, "policies decide about each request now")
            case .deny(let reason): finish(tunnel, .policyChanged, reason)
            }
        }
    }
}

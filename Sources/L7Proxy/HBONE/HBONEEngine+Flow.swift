// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import TLSEngine

/// The flow between a stream and the application's socket, the same for both roles.
///
/// From the stream: what has come of it at once goes with one call, and what the socket takes then is not copied; the rest
/// waits in blocks, and keeps the stream's window shut. From the socket: one block is read and lent to the session;
/// nothing more is read until it has gone.
extension HBONEEngine {
    /// The poller has told something about the application's socket.
    mutating func legIsReady(_ tunnel: HBONETunnelPointer, _ event: Poller.Event) {
        switch tunnel.pointee.phase {
        case .connecting: legConnected(tunnel)
        case .flowing: flow(tunnel)
        case .waiting, .asked:
            // An application that has gone needs no tunnel; one that has only sent its end does.
            if event.isBroken { finish(tunnel, .applicationReset) }
        case .requested, .over: break
        }
    }

    /// Does all that can be done in both directions now.
    mutating func flow(_ tunnel: HBONETunnelPointer) {
        drain(tunnel)
        if tunnel.pointee.phase == .flowing { fill(tunnel) }
    }

    // MARK: - To the application

    /// Content has come by a stream; it is lent until ``passGathered()``, which follows when no more of it stands beside it.
    mutating func pass(_ bytes: UnsafeRawBufferPointer, to tunnel: HBONETunnelPointer) {
        if gatheredFor != tunnel || gathered.isFull { passGathered() }
        guard tunnel.pointee.phase != .over else { return }
        if tunnel.pointee.phase == .flowing, tunnel.pointee.toLeg.isEmpty {
            gatheredFor = tunnel
            gathered.append(bytes)
        } else if !tunnel.pointee.toLeg.append(bytes, &buffers) {
            finish(tunnel, .outOfMemory)
        }
    }

    /// Sends what was gathered; what the socket does not take waits.
    mutating func passGathered() {
        guard let tunnel = gatheredFor else { return }
        defer {
            gatheredFor = nil
            gathered.removeAll()
        }
        guard tunnel.pointee.phase == .flowing else { return }
        let taken = tunnel.pointee.leg.send(gathered)
        guard taken >= 0 else { return finish(tunnel, .applicationReset) }
        var fits = true
        gathered.forEach(after: taken) { if fits { fits = tunnel.pointee.toLeg.append($0, &buffers) } }
        consumed(taken, tunnel)
        if !fits { finish(tunnel, .outOfMemory) }
    }

    private mutating func drain(_ tunnel: HBONETunnelPointer) {
        while !tunnel.pointee.toLeg.isEmpty {
            var pieces = 0
            tunnel.pointee.toLeg.forEach {
                guard pieces < StreamPieces.limit else { return }
                gathered.append($0)
                pieces += 1
            }
            let taken = tunnel.pointee.leg.send(gathered)
            gathered.removeAll()
            guard taken >= 0 else { return finish(tunnel, .applicationReset) }
            guard taken > 0 else { return }
            var left = taken
            while left > 0 {
                let gone = min(left, tunnel.pointee.toLeg.front.count)
                tunnel.pointee.toLeg.advance(gone, keeps: false, &buffers)
                left -= gone
            }
            consumed(taken, tunnel)
        }
        endOutput(tunnel)
    }

    /// Opens the stream's window for what has gone.
    private mutating func consumed(_ count: Int, _ tunnel: HBONETunnelPointer) {
        guard count > 0, let stream = tunnel.pointee.stream, let connection = tunnel.pointee.connection else { return }
        connection.pointee.session?._withUnsafeGuaranteedRef { session in
            session.consume(stream, count)
            if session.wantsToSend { enqueue(connection) }
        }
    }

    /// The peer sends no more: so does our socket, when it has taken what came before.
    mutating func peerEnded(_ tunnel: HBONETunnelPointer) {
        tunnel.pointee.marks.insert(.peerEnded)
        if tunnel.pointee.phase == .flowing { endOutput(tunnel) }
    }

    private mutating func endOutput(_ tunnel: HBONETunnelPointer) {
        guard tunnel.pointee.toLeg.isEmpty else { return }
        if tunnel.pointee.marks.contains(.peerEnded), !tunnel.pointee.marks.contains(.outputEnded) {
            tunnel.pointee.marks.insert(.outputEnded)
            StreamSocket.endOutput(tunnel.pointee.leg.descriptor)
        }
        if tunnel.pointee.marks.contains(.streamOver) { finish(tunnel, .finished) }
    }

    // MARK: - From the application

    /// Bytes that a full record of TLS carries in one DATA frame.
    private static var contentOfRecord: Int { TLSSession.maximumRecord - HTTP2Session.frameRoom }

    private mutating func fill(_ tunnel: HBONETunnelPointer) {
        guard tunnel.pointee.leg.input.isEmpty, !tunnel.pointee.marks.contains(.inputEnded),
            let stream = tunnel.pointee.stream, let connection = tunnel.pointee.connection,
            let session = connection.pointee.session
        else { return }
        switch tunnel.pointee.leg.fillMuch(&buffers, unit: Self.contentOfRecord) {
        case .received:
            let bytes = tunnel.pointee.leg.input.mutableBytes
            session._withUnsafeGuaranteedRef { $0.offerFramed(stream, bytes) }
            enqueue(connection)
        case .nothing, .full: tunnel.pointee.leg.input.giveBack(&buffers)
        case .ended:
            tunnel.pointee.leg.input.giveBack(&buffers)
            tunnel.pointee.marks.insert(.inputEnded)
            session._withUnsafeGuaranteedRef {
                $0.offerBody(stream, UnsafeRawBufferPointer(start: nil, count: 0), isLast: true)
            }
            enqueue(connection)
        case .broken: finish(tunnel, .applicationReset)
        case .noMemory: finish(tunnel, .outOfMemory)
        }
    }

    /// The session has taken bytes that were on offer.
    mutating func taken(_ count: Int, of tunnel: HBONETunnelPointer) {
        tunnel.pointee.leg.input.start &+= count
        if tunnel.pointee.phase == .flowing { fill(tunnel) }
    }

    // MARK: - The stream's end

    mutating func streamClosed(_ tunnel: HBONETunnelPointer, _ code: HTTP2ErrorCode) {
        if code == .refusedStream, retry(tunnel) { return }
        guard code == .noError, tunnel.pointee.phase == .flowing, tunnel.pointee.marks.contains(.peerEnded) else {
            return finish(tunnel, .peerReset(code))
        }
        // Both directions are over, or the peer has said all and wants no more of ours.
        tunnel.pointee.marks.insert(.streamOver)
        detach(tunnel)
        tunnel.pointee.leg.input.giveBack(&buffers)
        endOutput(tunnel)
    }
}

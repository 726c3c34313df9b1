// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import MeshModel
import TLSEngine

/// Tunnels that pods of this node need.
extension HBONEEngine {
    /// Opens a tunnel for an application's connection. - Parameter descriptor: Owned from now on.
    mutating func open(_ outbound: HBONEOutbound, _ descriptor: CInt) {
        var channel = Channel()
        channel.descriptor = descriptor
        open(outbound, channel)
    }

    /// The same. - Parameter opened: Nothing was read from it.
    mutating func open(_ outbound: HBONEOutbound, _ opened: Channel) {
        var channel = opened
        guard StreamSocket.prepare(channel.descriptor) == 0, let (tunnel, handle) = tunnels.take() else {
            counters.refusedConnections += 1
            return channel.close(&buffers, resetting: true)
        }
        counters.tunnels += 1
        tunnel.pointee.begin(handle, isServer: false, now: nanoseconds)
        tunnel.pointee.outbound = outbound
        tunnel.pointee.leg = channel
        tunnel.pointee.phase = .waiting
        guard watch(tunnel) else { return finish(tunnel, .tooMany, "the worker has no more descriptors") }
        // Who drains opens what its applications have been promised before: until the deadline.
        guard !isDraining || now < drainDeadline else { return finish(tunnel, .drained) }
        guard let share = tunnelSources.enter(network: outbound.network, outbound.source) else {
            return finish(tunnel, .tooMany, "the pod has \(configuration.tunnelsPerSource) tunnels already")
        }
        tunnel.pointee.share = share
        guard HBONETarget.mayReach(port: outbound.port) else { return finish(tunnel, .refused(.ownPort)) }
        guard let pool = pool(HBONEPoolKey(outbound)) else { return finish(tunnel, .tooMany, "pools") }
        guard pool.pointee.waitingCount < configuration.waitingPerPool else {
            return finish(tunnel, .tooMany, "\(pool.pointee.waitingCount) tunnels wait for the peer")
        }
        wait(tunnel, in: pool)
        serve(pool)
    }

    private mutating func wait(_ tunnel: HBONETunnelPointer, in pool: HBONEPoolPointer) {
        tunnel.pointee.phase = .waiting
        pool.pointee.append(tunnel, pool)
        // The connection has its own limits, which come first.
        setTimer(tunnel, in: configuration.dialTimeout + configuration.handshakeTimeout + configuration.connectTimeout)
    }

    /// Asks the peer for the tunnel.
    mutating func ask(_ tunnel: HBONETunnelPointer, on connection: HBONEConnectionPointer) {
        guard let client = connection.pointee.client, let outbound = tunnel.pointee.outbound else { return }
        var stream: HTTP2Stream?
        var service = outbound.service
        service.withUTF8 { host in
            outbound.baggage.withUnsafeBytes { baggage in
                var request = HBONERequest(
                    to: outbound.destination, port: outbound.port, from: outbound.source,
                    sourcePort: outbound.sourcePort,
                    trace: TraceContext(
                        random: (.random(in: 0...(.max)), .random(in: 0...(.max)), .random(in: 0...(.max))),
                        isSampled: false))
                request.service = UnsafeRawBufferPointer(host)
                request.baggage = baggage
                guard case .success = requestWriter.write(request, to: &headWriter) else { return }
                stream = client._withUnsafeGuaranteedRef {
                    $0.request(headWriter, method: .connect, endOfStream: false)
                }
            }
        }
        guard let stream else { return finish(tunnel, .protocolError, "the request cannot be written") }
        attach(tunnel, stream, connection)
        tunnel.pointee.phase = .asked
        setTimer(tunnel, in: configuration.connectTimeout * 2)
        enqueue(connection)
    }

    /// The peer has answered.
    mutating func answered(_ tunnel: HBONETunnelPointer, _ stream: HTTP2Stream, _ isWhole: Bool) {
        guard tunnel.pointee.phase == .asked else { return }
        let status = stream.response.status
        guard status >= 200, status < 300 else { return finish(tunnel, .peerRefused(status: status)) }
        timers.cancel(tunnel.pointee.timer)
        tunnel.pointee.phase = .flowing
        reportOpened(tunnel)
        if isWhole { tunnel.pointee.marks.insert(.peerEnded) }
        flow(tunnel)
    }

    /// The peer has not looked at the request (RFC 9113 section 8.7): another connection gets it, once.
    ///
    /// - Returns: Whether it does.
    mutating func retry(_ tunnel: HBONETunnelPointer) -> Bool {
        guard tunnel.pointee.phase == .asked, !tunnel.pointee.marks.contains(.retried),
            let outbound = tunnel.pointee.outbound, let pool = pool(HBONEPoolKey(outbound))
        else { return false }
        detach(tunnel)
        tunnel.pointee.marks = .retried
        wait(tunnel, in: pool)
        serve(pool)
        return true
    }
}

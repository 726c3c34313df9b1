// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// Connections in clear to pods that are reached through tunnels by now, because a configuration has come since they were
/// asked for: a pod of another node has joined the mesh, or one of this node wants encryption.
extension Engine {
    /// Whether a connection has gone in clear where it must not by now.
    func isInClear(_ upstream: UpstreamPointer) -> Bool {
        if let pool = upstream.pointee.pool {
            return upstream.pointee.channel.mark == nil && pool.pointee.key.outsider == nil
                && needsTunnel(
                    to: ProxyEndpoint(address: pool.pointee.key.address, port: pool.pointee.key.port),
                    from: pool.pointee.key.network)
        }
        guard let exchange = upstream.pointee.exchange, let downstream = exchange.pointee.downstream else {
            return false
        }
        return isInClear(exchange, downstream)
    }

    /// The same of a relay.
    func isInClear(_ exchange: ExchangePointer, _ downstream: DownstreamPointer) -> Bool {
        let origin = downstream.pointee.origin
        return origin.direction == .outbound && exchange.pointee.upstream?.pointee.channel.mark == nil
            && needsTunnel(to: exchange.pointee.record.endpoint, from: origin.network)
    }

    /// Whether the pod in a network namespace reaches an endpoint through tunnels only, by the newest configuration.
    private func needsTunnel(to endpoint: ProxyEndpoint, from network: UInt64) -> Bool {
        guard let snapshot = holds.current?.pointee.snapshot else { return false }
        return snapshot._withUnsafeGuaranteedRef {
            $0.tunnels.needsTunnel(to: endpoint.address, endpoint.port, from: network)
        }
    }

    /// A configuration has come: no request is begun any more on a connection that is in clear now. Requests that are
    /// under way are answered; what has become a tunnel of its own is cut, for it may last for days.
    mutating func retireInClear() {
        guard let snapshot = holds.current?.pointee.snapshot,
            snapshot._withUnsafeGuaranteedRef({ !$0.tunnels.isEmpty })
        else { return }
        for upstream in upstreams.live(where: { $0.phase == .open && $0.pool != nil && $0.channel.mark == nil })
        where isInClear(upstream) {
            // First: cutting one makes room for those that wait.
            upstream.pointee.isLeaving = true
            upstream.pointee.pool?.pointee.removeIdle(upstream)
            cutUpgraded(upstream)
            guard upstream.pointee.phase == .open, upstream.pointee.exchange == nil else { continue }
            if upstream.pointee.session == nil { close(upstream) } else { retire(upstream) }
        }
    }

    private mutating func cutUpgraded(_ upstream: UpstreamPointer) {
        var next = upstream.pointee.exchange
        while let exchange = next {
            next = exchange.pointee.nextOnUpstream
            if exchange.pointee.record.flags.contains(.upgraded) { cut(exchange, .denied) }
        }
    }
}

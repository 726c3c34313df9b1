// SPDX-License-Identifier: Apache-2.0

/// How long connections stay that carry nothing: as the Service says whose endpoint they lead to, by the newest
/// configuration, or else as the engine's own does. Milliseconds; `.max`: as long as they like.
extension Engine {
    /// Of a connection to a backend that has no request.
    @inline(__always)
    func keptTime(_ upstream: UpstreamPointer) -> UInt64 {
        ownIdleTime(upstream.pointee.cluster) ?? configuration.upstreamIdleTimeout
    }

    /// When to look at such a connection again that may stay for `time`: a newer configuration may say less.
    @inline(__always)
    func nextLook(in time: UInt64) -> UInt64 { min(time, configuration.upstreamIdleTimeout) }

    /// Of a relay. Upgraded connections are open requests, for which the Service's time is not.
    func relayIdleTime(_ exchange: ExchangePointer) -> UInt64 {
        ownIdleTime(exchange.pointee.choice.cluster) ?? configuration.tunnelIdleTimeout
    }

    @inline(__always)
    private func ownIdleTime(_ cluster: ClusterPointer?) -> UInt64? {
        guard let own = cluster?.pointee.idleTimeout, own > 0 else { return nil }
        return own
    }

    /// Sets the time after which a relay is looked at for whether anything has moved.
    mutating func watchRelay(_ exchange: ExchangePointer, _ downstream: DownstreamPointer) {
        setTimer(downstream, in: min(relayIdleTime(exchange), configuration.tunnelIdleTimeout))
    }

    /// A newer configuration may say that a relay is to be looked at earlier.
    mutating func watchRelaySooner(_ exchange: ExchangePointer, _ downstream: DownstreamPointer) {
        let limit = relayIdleTime(exchange)
        guard limit < configuration.tunnelIdleTimeout, !timers.isSet(downstream.pointee.timer, by: now + limit) else {
            return
        }
        setTimer(downstream, in: limit)
    }
}

// SPDX-License-Identifier: Apache-2.0

/// Connections to backends by HTTP/2 as time passes: which are idle, and which lead to nobody any more.
extension Engine {
    mutating func http2Fired(_ upstream: UpstreamPointer) {
        let isOwed = upstream.pointee.firstIncomplete != nil
        let kept = keptTime(upstream)
        var next = nextLook(in: kept)
        if upstream.pointee.exchange == nil {
            let passed = now - upstream.pointee.idleSince
            if passed >= kept { return retire(upstream) }
            next = nextLook(in: kept - passed)
        }
        guard configuration.keepAlive.quiet > 0 else { return setTimer(upstream, in: next) }
        let channel = upstream.pointee.channel
        switch upstream.pointee.life.look(
            received: channel.received, isOwed: isOwed, maySend: channel.output.isEmpty, now: now,
            configuration.keepAlive)
        {
        case .wait(let time): next = min(next, time)
        case .ping(let time):
            counters.pings &+= 1
            next = min(next, time)
            upstream.pointee.session?._withUnsafeGuaranteedRef { $0.ping(now) }
            enqueue(upstream)
        case .dead:
            counters.deadUpstreams &+= 1
            return lose(upstream)
        }
        setTimer(upstream, in: max(1, next))
    }
}

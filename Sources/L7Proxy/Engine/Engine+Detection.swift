// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// What a client's connection speaks: what its port is said to speak, or else what its first bytes tell.
///
/// Where nobody has said so, a silent client may be of a protocol in which the server begins. After a short time its
/// backend is therefore connected, and whoever speaks first decides: a client that then begins with a request is served as
/// any client of HTTP, and the connection to the backend is given up.
extension Engine {
    /// Begins with a connection whose policy is here.
    mutating func begin(_ downstream: DownstreamPointer) {
        bindToNewest(downstream)
        switch downstream.pointee.spoken {
        case .http1, .http2:
            downstream.pointee.phase = .open
            setTimer(downstream, in: configuration.headTimeout)
            drive(downstream)
        case .tcp, .tls:
            downstream.pointee.phase = .open
            beginRelay(downstream)
        case .unknown:
            drive(downstream)
            // Mostly it is known by now.
            if downstream.pointee.phase == .detecting, downstream.pointee.channel.input.isEmpty {
                setTimer(downstream, in: detectTimeout(downstream))
            }
        }
    }

    /// Looks at what there is. - Returns: Whether it is known now what is spoken, and the connection is open.
    mutating func detect(_ downstream: DownstreamPointer) -> Bool {
        var isFirst = downstream.pointee.channel.input.isEmpty
        while true {
            switch ProtocolDetector.verdict(on: downstream.pointee.channel.input.bytes) {
            case .http: return serveHTTP(downstream)
            case .tls:
                downstream.pointee.spoken = .tls
                return pass(downstream)
            case .other: return pass(downstream)
            case .undecided: break
            }
            if isFirst, !downstream.pointee.channel.input.isEmpty {
                isFirst = false
                setTimer(downstream, in: detectTimeout(downstream))
            }
            switch downstream.pointee.channel.fill(&buffers) {
            case .received: continue
            case .nothing:
                downstream.pointee.channel.relax(&buffers)
                guard let exchange = downstream.pointee.exchange, hearsBackend(exchange) else { return false }
                return pass(downstream)
            // No request will come any more; what is to be told may be the end itself.
            case .ended: return pass(downstream)
            case .broken:
                leave(downstream, .clientGone)
                return false
            case .full, .noMemory:
                leave(downstream, .outOfMemory)
                return false
            }
        }
    }

    /// Milliseconds.
    private mutating func detectTimeout(_ downstream: DownstreamPointer) -> UInt64 {
        bindToNewest(downstream)
        let own = downstream.pointee.service?.pointee.detectTimeout ?? 0
        return own > 0 ? own : configuration.detectTimeout
    }

    /// Whether the backend of a tentative relay has said something, or has gone.
    private mutating func hearsBackend(_ exchange: ExchangePointer) -> Bool {
        guard exchange.pointee.stage == .tunnel, let upstream = exchange.pointee.upstream else { return false }
        if case .nothing = upstream.pointee.channel.fill(&buffers) {
            upstream.pointee.channel.relax(&buffers)
            return false
        }
        return true
    }

    /// It is HTTP: a parser reads what has come.
    private mutating func serveHTTP(_ downstream: DownstreamPointer) -> Bool {
        dropTentative(downstream)
        downstream.pointee.phase = .open
        downstream.pointee.quietSince = now
        setTimer(downstream, in: configuration.headTimeout)
        return true
    }

    /// It is not: all goes to the backend as it comes.
    private mutating func pass(_ downstream: DownstreamPointer) -> Bool {
        downstream.pointee.phase = .open
        if let exchange = downstream.pointee.exchange { confirm(exchange, downstream) } else { beginRelay(downstream) }
        return downstream.pointee.phase == .open
    }

    /// The connection ends before anything is known of it.
    private mutating func leave(_ downstream: DownstreamPointer, _ reason: ReasonCode) {
        guard let exchange = downstream.pointee.exchange else { return close(downstream, resetting: true) }
        exchange.pointee.marks.remove(.tentative)
        answer(exchange, reason)
    }

    /// The backend cannot be asked now, so that only the client can tell what is spoken: it is waited for as for a request.
    mutating func awaitClient(_ exchange: ExchangePointer, _ downstream: DownstreamPointer) {
        dropTentative(downstream)
        setTimer(downstream, in: configuration.headTimeout)
    }

    /// The backend's connection that a silent client has goes, if there is one.
    mutating func dropTentative(_ downstream: DownstreamPointer) {
        guard let exchange = downstream.pointee.exchange, exchange.pointee.marks.contains(.tentative) else { return }
        counters.requests -= 1
        free(exchange)
    }

    /// The time is over that was set when the connection came, when its client's first bytes did, for either side to begin,
    /// or for an idle relay.
    mutating func detectionFired(_ downstream: DownstreamPointer) {
        if !downstream.pointee.channel.input.isEmpty {
            // Neither a request nor the rest of its begin has come: whoever waits for an answer must get one.
            if pass(downstream) { drive(downstream) }
        } else if let exchange = downstream.pointee.exchange {
            rest(exchange)
            checkProgress(exchange, downstream)
        } else if !downstream.pointee.isSilent {
            downstream.pointee.isSilent = true
            beginRelay(downstream, isTentative: true)
        } else {
            perform(downstream.pointee.http1.persistence.beginDrain(), on: downstream)
        }
    }
}

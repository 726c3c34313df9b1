// SPDX-License-Identifier: Apache-2.0

/// Relays of clients and backends that both say nothing.
///
/// A client of HTTP that keeps a connection ready is given a backend's, since the backend may be who begins. Nobody else is
/// to be refused for it, or sent elsewhere: when neither has begun for as long as a request is waited for, the connection
/// stays and is no longer counted. It is counted again when somebody begins.
extension Engine {
    /// Gives back what is counted of the backend's cluster. Nothing happens to a relay that is not tentative, or rests.
    mutating func rest(_ exchange: ExchangePointer) {
        guard exchange.pointee.marks.contains(.tentative), exchange.pointee.stage == .tunnel,
            let cluster = exchange.pointee.choice.cluster, let upstream = exchange.pointee.upstream,
            exchange.pointee.choice.marks.isSuperset(of: [.attempt, .request])
        else { return }
        // The endpoint must not be forgotten meanwhile, though its Service may no longer have it.
        cluster.pointee.cluster.connected(exchange.pointee.choice.endpoint)
        endAttempt(exchange, .cancelled)
        cluster.pointee.cluster.circuit.end(.request)
        exchange.pointee.choice.marks.remove(.request)
        exchange.pointee.choice.marks.insert(.resting)
        endConnection(upstream)
    }

    /// Takes its place again, for what is going to pass.
    ///
    /// - Returns: Whether there is one; if not, the relay was ended as one that begins would be.
    mutating func endRest(_ exchange: ExchangePointer) -> Bool {
        guard exchange.pointee.choice.marks.contains(.resting), let cluster = exchange.pointee.choice.cluster,
            let upstream = exchange.pointee.upstream
        else { return true }
        guard cluster.pointee.cluster.circuit.begin(.request) else {
            answer(exchange, .circuitOpen)
            return false
        }
        exchange.pointee.choice.marks.insert(.request)
        guard beginConnection(upstream, cluster) else {
            answer(exchange, .circuitOpen)
            return false
        }
        cluster.pointee.cluster.begin(exchange.pointee.choice.endpoint)
        exchange.pointee.choice.marks.insert(.attempt)
        leaveRest(exchange, cluster)
        return true
    }

    /// It rests no more: it goes on, or has ended.
    func leaveRest(_ exchange: ExchangePointer, _ cluster: ClusterPointer) {
        exchange.pointee.choice.marks.remove(.resting)
        cluster.pointee.cluster.disconnected(exchange.pointee.choice.endpoint)
    }
}

// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// What an exchange holds of its backend's cluster. Everything that is held is given back when the exchange ends.
struct EndpointChoice: BitwiseCopyable {
    struct Marks: OptionSet, BitwiseCopyable {
        let rawValue: UInt16

        // What is counted in ``cluster``.
        static let request = Marks(rawValue: 1 << 0)
        static let attempt = Marks(rawValue: 1 << 1)
        static let pending = Marks(rawValue: 1 << 2)
        static let retry = Marks(rawValue: 1 << 3)
        /// The next attempt is a retry that is counted already.
        static let nextRetry = Marks(rawValue: 1 << 4)
        /// A retry was not made, because the cluster has too many.
        static let budgetSpent = Marks(rawValue: 1 << 5)
        /// ``endpoint`` is one that the last attempt has failed at.
        static let avoids = Marks(rawValue: 1 << 6)
        /// The exchange waits because of a fault on purpose.
        static let delayed = Marks(rawValue: 1 << 7)
        /// Limits and faults have had their say.
        static let admitted = Marks(rawValue: 1 << 8)
        /// Nothing is counted at the moment but the endpoint's connection (`Engine+RestingRelay`).
        static let resting = Marks(rawValue: 1 << 9)
    }

    /// Of the backend's Service; `nil`: it has none, or no attempt was made yet.
    var cluster: ClusterPointer?
    var endpoint = EndpointHandle(slot: 0, generation: 0)
    var marks: Marks = []
    /// What follows the delay.
    var faultAnswer: FaultInjection.Answer?
}

/// Balancing: which endpoint, how much at once, and what is learnt from how an attempt has ended.
extension Engine {
    /// Where an attempt goes: to an endpoint of the exchange's service, by an address that its client's pod can reach, or
    /// where the client has connected to. - Returns: `nil`: nowhere; it was answered.
    mutating func chooseDestination(_ exchange: ExchangePointer, _ downstream: DownstreamPointer) -> ProxyEndpoint? {
        let origin = downstream.pointee.origin
        guard let service = exchange.pointee.service else {
            return ProxyEndpoint(address: origin.destination, port: origin.destinationPort)
        }
        exchange.pointee.record.service = service.pointee.index
        guard var endpoint = chooseEndpoint(exchange, service) else { return nil }
        if downstream.pointee.missing == (endpoint.address.isIPv4 ? .ipv4 : .ipv6),
            let other = exchange.pointee.hold?.pointee.snapshot?._withUnsafeGuaranteedRef({ [endpoint] in
                $0.alternate(of: endpoint)
            })
        {
            endpoint.address = other
        }
        return endpoint
    }

    /// Chooses the endpoint of an attempt.
    ///
    /// - Returns: `nil`: there is none; the request was answered.
    mutating func chooseEndpoint(
        _ exchange: ExchangePointer, _ service: UnsafePointer<ServicePlan>
    ) -> ProxyEndpoint? {
        guard let hold = exchange.pointee.hold else { return nil }
        let cluster: ClusterPointer
        if let known = exchange.pointee.choice.cluster {
            cluster = known
        } else {
            cluster = holds.cluster(hold, service.pointee.index, seed: random)
            holds.clusters.enter(cluster)
            exchange.pointee.choice.cluster = cluster
            guard cluster.pointee.cluster.circuit.begin(.request) else {
                answer(exchange, .circuitOpen)
                return nil
            }
            exchange.pointee.choice.marks.insert(.request)
            cluster.pointee.cluster.countRequest(now: nanoseconds)
        }
        let avoided = exchange.pointee.choice.marks.contains(.avoids) ? exchange.pointee.choice.endpoint : nil
        let key = balancingKey(exchange, service)
        guard
            let handle = cluster.pointee.cluster.pick(
                random: nextRandom(), key: key, now: nanoseconds, avoiding: avoided)
        else {
            answer(exchange, .noEndpoint)
            return nil
        }
        cluster.pointee.cluster.begin(handle)
        exchange.pointee.choice.endpoint = handle
        exchange.pointee.choice.marks.insert(.attempt)
        if exchange.pointee.choice.marks.contains(.nextRetry) {
            exchange.pointee.choice.marks.remove(.nextRetry)
            exchange.pointee.choice.marks.insert(.retry)
        }
        let identity = cluster.pointee.cluster.destination(handle)
        return ProxyEndpoint(address: identity.address, port: identity.port)
    }

    @inline(__always)
    private func balancingKey(_ exchange: ExchangePointer, _ service: UnsafePointer<ServicePlan>) -> UInt64? {
        switch service.pointee.key {
        case .none: return nil
        case .sourceAddress: return exchange.pointee.downstream.map { BalancingKey.of($0.pointee.origin.client) }
        case .header(let name):
            // What is not HTTP has none.
            if exchange.pointee.marks.contains(.relay) { return nil }
            return headerValue(exchange, name).map(BalancingKey.of)
        }
    }

    /// The first value of a field.
    @inline(__always)
    func headerValue(_ exchange: ExchangePointer, _ name: HeaderPlan.Name) -> UnsafeRawBufferPointer? {
        guard let message = exchange.pointee.message else { return nil }
        let place =
            name.known != .other
            ? exchange.pointee.requestFields.first(name.known)
            : exchange.pointee.requestFields.first(named: name.text, in: message)
        return place.map { exchange.pointee.requestFields[$0].valueRange.bytes(in: message) }
    }

    /// Counts a request that waits for a connection. - Returns: Whether one more may.
    @inline(__always)
    mutating func beginWaiting(_ exchange: ExchangePointer) -> Bool {
        guard let cluster = exchange.pointee.choice.cluster else { return true }
        guard cluster.pointee.cluster.circuit.begin(.pending) else { return false }
        exchange.pointee.choice.marks.insert(.pending)
        return true
    }

    @inline(__always)
    mutating func endWaiting(_ exchange: ExchangePointer) {
        guard exchange.pointee.choice.marks.contains(.pending) else { return }
        exchange.pointee.choice.marks.remove(.pending)
        exchange.pointee.choice.cluster?.pointee.cluster.circuit.end(.pending)
    }

    /// Whether the cluster has room for one more retry, which then is counted.
    mutating func beginRetry(_ exchange: ExchangePointer) -> Bool {
        guard let cluster = exchange.pointee.choice.cluster else { return true }
        guard cluster.pointee.cluster.beginRetry(now: nanoseconds) else {
            exchange.pointee.choice.marks.insert(.budgetSpent)
            return false
        }
        exchange.pointee.choice.marks.insert(.nextRetry)
        return true
    }

    /// Tells the cluster how the attempt has ended. Nothing happens if there is none.
    @inline(__always)
    mutating func endAttempt(_ exchange: ExchangePointer, _ outcome: AttemptOutcome) {
        endWaiting(exchange)
        guard exchange.pointee.choice.marks.contains(.attempt), let cluster = exchange.pointee.choice.cluster else {
            return
        }
        exchange.pointee.choice.marks.remove(.attempt)
        if exchange.pointee.choice.marks.contains(.retry) {
            exchange.pointee.choice.marks.remove(.retry)
            cluster.pointee.cluster.circuit.end(.retry)
        }
        exchange.pointee.choice.marks.insert(.avoids)
        let effect = cluster.pointee.cluster.end(exchange.pointee.choice.endpoint, outcome, now: nanoseconds)
        if case .ejected = effect { counters.ejections &+= 1 }
    }

    /// Gives everything back that the exchange has of its cluster.
    @inline(__always)
    mutating func leaveCluster(_ exchange: ExchangePointer) {
        guard let cluster = exchange.pointee.choice.cluster else { return }
        endAttempt(exchange, exchange.pointee.record.outcome)
        if exchange.pointee.choice.marks.contains(.nextRetry) { cluster.pointee.cluster.circuit.end(.retry) }
        if exchange.pointee.choice.marks.contains(.request) { cluster.pointee.cluster.circuit.end(.request) }
        if exchange.pointee.choice.marks.contains(.resting) { leaveRest(exchange, cluster) }
        exchange.pointee.choice = EndpointChoice()
        holds.clusters.leave(cluster)
    }

    // MARK: - Connections

    /// Counts a connection that is needed.
    ///
    /// - Parameter isFirst: It is the first to an endpoint, for which others wait.
    /// - Returns: Whether it may be made. A first one always may: nobody must wait for what never comes.
    mutating func beginConnection(
        _ upstream: UpstreamPointer, _ cluster: ClusterPointer?, isFirst: Bool = false
    ) -> Bool {
        guard let cluster else { return true }
        guard cluster.pointee.cluster.circuit.begin(.connection) else { return isFirst }
        holds.clusters.enter(cluster)
        upstream.pointee.cluster = cluster
        return true
    }

    @inline(__always)
    mutating func endConnection(_ upstream: UpstreamPointer) {
        guard let cluster = upstream.pointee.cluster else { return }
        upstream.pointee.cluster = nil
        cluster.pointee.cluster.circuit.end(.connection)
        holds.clusters.leave(cluster)
    }
}

extension ReasonCode {
    /// What an attempt that ended for this reason says about its endpoint.
    var outcome: AttemptOutcome {
        switch self {
        case .connectFailed, .connectTimeout: .connectFailure
        case .backendReset, .backendMalformed, .responseHeadTooLarge, .backendTimeout, .requestTimeout,
            .responseStalled, .responseCut:
            .noResponse
        default: .cancelled
        }
    }
}

extension RequestRecord {
    /// How the last attempt has ended, if nobody has said so before.
    var outcome: AttemptOutcome {
        if flags.contains(.localReply) || status == 0 || reason == .responseCut { return reason.outcome }
        return .response(status: status)
    }
}

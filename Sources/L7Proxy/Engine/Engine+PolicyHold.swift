// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// No request is judged by less than the policy under which the kernel let its connection in.
///
/// The agent tells workers a policy before it is in force, so nothing waits as a rule. Where it could not (it has just
/// started, or the configuration was refused) a connection may come under a policy that the worker does not have: it is
/// held until the policy is here, a bounded time, and its requests are refused after that.
extension Engine {
    /// The policy of this number, and all before it, is in what was published last.
    mutating func enforce(_ generation: UInt32) {
        awaitedPolicy = max(awaitedPolicy, generation)
        settlePolicy()
    }

    /// Calls `done` when what was published last is what requests are routed and judged by.
    mutating func whenInForce(_ done: @escaping @Sendable () -> Void) {
        onInForce.append(done)
        settlePolicy()
    }

    @inline(__always)
    var hasUnsettledPolicy: Bool { awaitedPolicy != policyGeneration || !onInForce.isEmpty }

    mutating func settlePolicy() {
        let waiting = onInForce
        onInForce = []
        for done in waiting { done() }
        guard awaitedPolicy != policyGeneration else { return }
        policyGeneration = awaitedPolicy
        guard heldConnections > 0 else { return }
        for downstream in liveDownstreams() where isCovered(downstream) { release(downstream) }
    }

    /// Whether requests of the connection can be judged here.
    @inline(__always)
    func isCovered(_ downstream: DownstreamPointer) -> Bool {
        downstream.pointee.origin.policyGeneration <= policyGeneration
    }

    /// - Returns: Whether the connection, just accepted, is to wait. Beyond the bound its requests are refused at once.
    mutating func hold(_ downstream: DownstreamPointer) -> Bool {
        guard !isCovered(downstream), heldConnections < configuration.heldConnections else { return false }
        heldConnections += 1
        downstream.pointee.phase = .held
        setTimer(downstream, in: configuration.policyPatience)
        return true
    }

    /// The policy is here, or will not be awaited any longer. Nothing happens to a connection that is not held.
    mutating func release(_ downstream: DownstreamPointer) {
        guard downstream.pointee.phase == .held else { return }
        heldConnections -= 1
        downstream.pointee.phase = .detecting
        downstream.pointee.quietSince = now
        begin(downstream)
    }

    // MARK: - What is judged, is judged by the newest

    /// Looks the connection up in the newest snapshot. Once per connection and snapshot, not per request: what it has of
    /// an older one may not live as long as a request that waits.
    @inline(__always)
    mutating func bindToNewest(_ downstream: DownstreamPointer) {
        guard let hold = holds.current, downstream.pointee.boundSerial != hold.pointee.serial,
            let snapshot = hold.pointee.snapshot
        else { return }
        bind(downstream, hold, snapshot)
    }

    /// Looks at a request again that has waited for its connection, if policy may have changed meanwhile.
    ///
    /// - Returns: Whether it may go; otherwise it was answered.
    mutating func isStillAdmitted(_ exchange: ExchangePointer) -> Bool {
        guard exchange.pointee.judgedBy != holds.current?.pointee.serial,
            let downstream = exchange.pointee.downstream
        else { return true }
        exchange.pointee.pool = nil
        return judge(exchange, downstream, exchange.pointee.record.endpoint)
    }
}

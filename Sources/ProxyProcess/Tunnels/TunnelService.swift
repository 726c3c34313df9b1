// SPDX-License-Identifier: Apache-2.0

import L7Proxy
import LinuxIO

/// The tunnels of a proxy: a worker of its own, which there is when the first identities have come, and not before.
///
/// Belongs to the thread of the host's loop.
final class TunnelService {
    /// What takes connections from the workers of requests.
    let gate: TunnelGate
    /// `nil`: there are no identities.
    private(set) var worker: HBONEWorker?
    private let failures: TunnelFailures
    private let complaints: Complaints
    private let log: (log: AccessLog, form: AccessLogWriter.Form)?
    private let askForLeg: @Sendable (L7Proxy.LegRequest) -> Void
    private let failed: @Sendable (SystemError) -> Void

    /// - Parameters:
    ///   - log: of lines for tunnels; `nil`: none is written.
    ///   - askForLeg: called on the worker's thread; a socket or a refusal is to follow.
    ///   - failed: told on the worker's thread why that could not begin.
    init(
        _ complaints: Complaints, log: (log: AccessLog, form: AccessLogWriter.Form)?,
        askForLeg: @escaping @Sendable (L7Proxy.LegRequest) -> Void, failed: @escaping @Sendable (SystemError) -> Void
    ) {
        failures = TunnelFailures()
        gate = TunnelGate(complaints, failures)
        self.complaints = complaints
        self.log = log
        self.askForLeg = askForLeg
        self.failed = failed
    }

    deinit { worker?.stop() }

    /// - Throws: ``SystemError``; EMFILE, EAGAIN if the process may have no more descriptors or threads: then there are
    ///   no tunnels, and what needs one is reset.
    func use(_ identities: TLSIdentities) throws(SystemError) {
        if worker == nil { worker = try makeWorker() }
        worker?.publish(identities)
    }

    private func makeWorker() throws(SystemError) -> HBONEWorker {
        let (gate, failures, complaints, log, askForLeg) = (gate, failures, complaints, log, askForLeg)
        var composition = HBONEComposition(
            // Connections come by the gate, which knows.
            origin: { _ in nil },
            authorize: { gate.plan?.authorize($0) ?? .deny(reason: "no configuration has come yet") },
            legs: {
                askForLeg($0)
                return .pending
            })
        composition.denial = { gate.plan?.denial($0) }
        let worker = try HBONEWorker(composition: composition) {
            TunnelSink(gate, failures, complaints, log: log)
        }
        try worker.start(failed: failed)
        gate.use(worker)
        return worker
    }

    /// Puts a generation in force. - Parameter inForce: called on the worker's thread when open tunnels are judged by it.
    func apply(_ plan: TunnelPlan, _ inForce: @escaping @Sendable () -> Void) {
        gate.use(plan)
        guard let worker else { return inForce() }
        worker.policyChanged()
        // Carried out after it.
        whenAnswering(inForce)
    }

    /// Calls `done`, on the worker's thread if there is one, when that has shown that it lives.
    func whenAnswering(_ done: @escaping @Sendable () -> Void) {
        guard let worker else { return done() }
        worker.counters { _ in done() }
    }

    /// What becomes of a worker's wish for a connection.
    enum Connection {
        /// It goes to nobody behind a tunnel.
        case direct
        /// The end of a tunnel that is being opened; a failure resets it.
        case tunnel(LocalEnd)
        case refused(String)
    }

    func open(_ request: L7Proxy.LegRequest) -> Connection {
        guard let plan = gate.plan else { return .direct }
        switch plan.outbound(request) {
        case .direct: return .direct
        case .refused(let reason): return .refused(reason)
        case .tunnel(let outbound):
            guard let worker else { return .refused("no certificates have come yet") }
            do throws(SystemError) {
                let (near, far) = try LocalEnd.pair()
                worker.open(outbound, far)
                return .tunnel(near)
            } catch {
                return .refused("\(error)")
            }
        }
    }

    /// Calls `reply`, on the worker's thread, with what was counted.
    func metrics(_ reply: @escaping @Sendable (MetricsSnapshot?) -> Void) {
        guard let worker else { return reply(nil) }
        worker.metrics(reply)
    }

    /// For Prometheus, beside the counters; empty where there are no tunnels.
    var text: String { worker == nil ? "" : failures.text() }

    /// Ends what is open, at the deadline at the latest. - Parameter done: called on the worker's thread.
    func drain(milliseconds: UInt64, _ done: @escaping @Sendable () -> Void) {
        guard let worker else { return done() }
        worker.drain(milliseconds: milliseconds, done: done)
    }
}

extension L7Proxy.LegRequest {
    /// Where requests of a tunnel come from and where they are to go; `nil`: it is not for such.
    var originOfRequests: ConnectionOrigin? {
        guard let client, let outsider else { return nil }
        return ConnectionOrigin(
            destination: address, destinationPort: port, client: client.address, clientPort: client.port,
            direction: .inbound, sourceIdentity: outsider, isProved: true, network: network)
    }
}

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
    private let counts = TunnelCounts()
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
        composition.serves = { gate.plan?.serves($0) ?? false }
        composition.closed = { gate.closed }
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

    /// Nothing new is opened until a plan is applied.
    func close(_ reason: String) { gate.close(reason) }

    private func destiny(of request: L7Proxy.LegRequest) -> TunnelPlan.Outbound {
        guard let plan = gate.plan else { return .direct }
        if let closed = gate.closed, plan.hasTunnels, request.outsider == nil, !request.isToPeer,
            !plan.isHere(request.address)
        {
            // A pod that takes tunnels by now may be there.
            return .refused(closed)
        }
        return plan.outbound(request)
    }

    /// Whether a connection goes to nobody behind a tunnel: asked again when its socket is there, for by then a pod may
    /// have joined the mesh.
    func isDirect(_ request: L7Proxy.LegRequest) -> Bool {
        if case .direct = destiny(of: request) { true } else { false }
    }

    func open(_ request: L7Proxy.LegRequest) -> Connection {
        switch destiny(of: request) {
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

    /// Makes a connection for tunnels between two pods of this node, if it is for such: a pair, of which the worker has
    /// both ends, so that nothing of it passes a device. Nor would the kernel lead it to the proxy: what a pod of this
    /// node sends has been there.
    ///
    /// - Returns: Whether it was; an answer follows then.
    func joinLocally(_ request: L7Proxy.LegRequest) -> Bool {
        guard let worker, let origin = gate.plan?.localPeer(request) else { return false }
        do throws(SystemError) {
            let (near, far) = try StreamSocket.pair()
            worker.serve(origin, OwnedDescriptor(adopting: far))
            worker.deliver(OwnedDescriptor(adopting: near), to: request)
        } catch {
            complaints.add(.leg, "no connection for tunnels between two pods of this node: \(error)")
            worker.refuse(request)
        }
        return true
    }

    /// Calls `reply`, on the worker's thread, with what was counted.
    func metrics(_ reply: @escaping @Sendable (MetricsSnapshot?) -> Void) {
        guard let worker else { return reply(nil) }
        // Carried out before it.
        worker.counters { [counts] in counts.note($0) }
        worker.metrics(reply)
    }

    /// For Prometheus, as of the last ``metrics(_:)``, beside what that gives; empty where there are no tunnels.
    var text: String { worker == nil ? "" : counts.text() + failures.text() }

    /// Takes no more tunnels of other nodes, and ends what is open, at the deadline at the latest; what this node's pods
    /// need is still opened before it. May be called again.
    ///
    /// - Parameter done: called on the worker's thread when nothing is open.
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

// SPDX-License-Identifier: Apache-2.0

import L7Proxy
import LinuxIO
import MeshModel
import ProxyProtocol
import Synchronization

/// Stands between the workers of requests, which accept all connections, and the one of tunnels: takes what is its.
///
/// Any thread asks.
final class TunnelGate: Sendable {
    private struct State {
        var plan: TunnelPlan?
        /// Why there are no new tunnels now; `nil`: there are.
        var closed: String?
        /// `nil`: no identities have come, so that nothing can be encrypted.
        var worker: HBONEWorker?
    }

    private let state = Mutex(State())
    /// Whether there may be anything to take: where there are no tunnels a connection costs one load.
    private let isActive = Atomic(false)
    private let complaints: Complaints
    private let failures: TunnelFailures

    init(_ complaints: Complaints, _ failures: TunnelFailures) {
        self.complaints = complaints
        self.failures = failures
    }

    var plan: TunnelPlan? { state.withLock { $0.plan } }

    /// Why no new tunnel is opened now, whatever the plan says; `nil`: they are.
    var closed: String? { state.withLock { $0.closed } }

    /// Puts a plan in force. It opens what ``close(_:)`` has closed.
    func use(_ plan: TunnelPlan) {
        state.withLock { ($0.plan, $0.closed) = (plan, nil) }
        if plan.hasTunnels { isActive.store(true, ordering: .releasing) }
    }

    func use(_ worker: HBONEWorker) {
        state.withLock { $0.worker = worker }
        isActive.store(true, ordering: .releasing)
    }

    /// There is a configuration that was not taken: what it says of tunnels is not known here, and the plan may allow
    /// what it denies. Nothing new is opened until the next one is taken; what is open goes on.
    func close(_ reason: String) { state.withLock { $0.closed = reason } }

    /// Takes a connection that goes through a tunnel, or that would have to: it is never served in clear instead.
    ///
    /// - Returns: Whether it has; the descriptor is its own then.
    func take(_ socket: AcceptedSocket, _ origin: ConnectionOrigin) -> Bool {
        guard isActive.load(ordering: .acquiring) else { return false }
        let (plan, closed, worker) = state.withLock { ($0.plan, $0.closed, $0.worker) }
        switch origin.direction {
        case .inbound:
            guard origin.destinationPort == tunnelPort else { return false }
            guard let worker, let plan, let place = plan.origin(of: origin) else {
                reset(socket, origin, "it is for tunnels, and its pod has no identity here")
                return true
            }
            worker.serve(place, OwnedDescriptor(adopting: socket.descriptor))
        case .outbound:
            guard let plan else { return false }
            switch plan.outbound(origin, random: { .random(in: 0..<$0) }) {
            case .direct: return false
            case .refused(let reason): reset(socket, origin, reason)
            case .tunnel(let outbound):
                if let closed {
                    reset(socket, origin, closed)
                } else if let worker {
                    worker.open(outbound, OwnedDescriptor(adopting: socket.descriptor))
                } else {
                    reset(socket, origin, "it must go through a tunnel, and no certificates have come yet")
                }
            }
        }
        return true
    }

    private func reset(_ socket: AcceptedSocket, _ origin: ConnectionOrigin, _ reason: String) {
        failures.addUnopened(isInbound: origin.direction == .inbound)
        let (client, target) = (
            SocketEndpoint(socket.client, socket.clientPort), SocketEndpoint(origin.destination, origin.destinationPort)
        )
        complaints.add(.tunnel, "connection from \(client) to \(target) reset: \(reason)")
        StreamSocket.reset(socket.descriptor)
    }
}

// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxIO
import ProxyProtocol

extension ProxySupervisor {
    /// Gets a socket in the pod that the proxy names, and marks it, before the proxy has it.
    func makeLeg(_ request: LegRequest, for proxy: ProxyConnection) {
        guard proxy.openLegs < LinkLimits().pendingRequests else {
            proxy.link?.close("more than \(LinkLimits().pendingRequests) requests for sockets are open")
            return
        }
        func refuse(_ code: CInt, _ reason: String) {
            proxy.link?.send(
                .legRefused(request: request.number, SocketRefusal(errnoCode: UInt16(code), reason)))
        }
        guard let workload = listeners.workloads[request.netns] else {
            return refuse(ENOENT, "namespace \(request.netns) is of no enrolled pod")
        }
        guard let source = workload.source(for: request.destination.address) else {
            return refuse(EADDRNOTAVAIL, "the pod has no address to reach \(request.destination) from")
        }
        guard let factory else { return refuse(ENOTCONN, "there is no socket factory now") }
        proxy.openLegs += 1
        factory.makeLeg(netns: request.netns, source: SocketEndpoint(source, 0)) { [markLeg, weak proxy] result in
            guard let proxy else { return }
            proxy.openLegs -= 1
            var refusal: SocketRefusal
            switch result {
            case .success(let answer):
                guard let socket = answer.socket else { return }
                do throws(SystemError) {
                    try markLeg(socket, request)
                    proxy.link?.send(.leg(request: request.number), [socket])
                    return
                } catch {
                    refusal = SocketRefusal(errnoCode: UInt16(clamping: error.errnoCode), "\(error)")
                }
            case .failure(let failure): refusal = failure
            }
            refusal = SocketRefusal(
                errnoCode: refusal.errnoCode, "no socket to \(request.destination): \(refusal.reason)")
            proxy.link?.send(.legRefused(request: request.number, refusal))
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxIO
import ProxyProtocol

/// Gets the sockets that proxies ask for from the factory, and marks each before a proxy has it.
///
/// What no factory can answer now waits for the next one, for as long as a restart takes: requests of applications hang
/// on it.
final class LegMaker {
    private struct Order {
        let request: LegRequest
        weak var proxy: ProxyConnection?
        /// Factories that have died over it.
        var losses = 0
    }

    /// A request that kills factories must not kill them for ever.
    private static let mostLosses = 3

    private let loop: EventLoop
    private let listeners: ProxyListeners
    private let mark: LegMarker
    private let patience: Duration
    private var factory: FactoryClient?
    private var waiting: [Order] = []
    private var deadline: EventLoop.Timer?

    /// - Parameter patience: how long an order waits for a factory. Less than a proxy waits for a connection.
    init(
        on loop: EventLoop, _ listeners: ProxyListeners, patience: Duration = .seconds(2), mark: @escaping LegMarker
    ) {
        self.patience = patience
        self.loop = loop
        self.listeners = listeners
        self.mark = mark
    }

    /// - Parameter factory: knows no namespace yet; `nil`: there is none until the next call.
    func setFactory(_ factory: FactoryClient?) {
        self.factory = factory
        guard factory != nil else { return }
        let orders = waiting
        waiting = []
        for order in orders { place(order) }
    }

    /// Answers the request of a proxy, once, with a socket or with the reason why there is none.
    func make(_ request: LegRequest, for proxy: ProxyConnection) {
        guard proxy.openLegs < LinkLimits().pendingRequests else {
            proxy.link?.close("more than \(LinkLimits().pendingRequests) requests for sockets are open")
            return
        }
        proxy.openLegs += 1
        place(Order(request: request, proxy: proxy))
    }

    private func place(_ order: Order) {
        let request = order.request
        guard let workload = listeners.workloads[request.netns] else {
            return refuse(order, ENOENT, "namespace \(request.netns) is of no enrolled pod")
        }
        if request.outsider != nil, !workload.addresses.contains(request.destination.address) {
            return refuse(order, EPERM, "it is for a client outside the mesh, and no address of the pod")
        }
        guard let source = workload.source(for: request.destination.address) else {
            return refuse(order, EADDRNOTAVAIL, "the pod has no address of that family")
        }
        guard let factory else { return wait(order) }
        // Before the listeners, if the factory is new: it answers in order.
        guard listeners.introduce(workload, to: factory) else {
            return refuse(order, ENOENT, "the pod's network namespace cannot be opened")
        }
        factory.makeLeg(netns: request.netns, source: SocketEndpoint(source, 0)) { [weak self] result in
            self?.finish(order, result)
        }
    }

    private func finish(_ order: Order, _ result: Result<FactoryClient.Answer, SocketRefusal>) {
        switch result {
        case .success(let answer):
            guard let socket = answer.socket, let proxy = order.proxy else { return }
            do throws(SystemError) { try mark(socket, order.request) } catch {
                return refuse(order, error.errnoCode, "\(error)")
            }
            proxy.openLegs -= 1
            proxy.link?.send(.leg(request: order.request.number), [socket])
        case .failure(let refusal):
            guard [ENOTCONN, ECONNRESET].contains(CInt(refusal.errnoCode)), order.losses < Self.mostLosses else {
                return refuse(order, CInt(refusal.errnoCode), refusal.reason)
            }
            var order = order
            order.losses += 1
            wait(order)
        }
    }

    private func wait(_ order: Order) {
        waiting.append(order)
        guard deadline == nil else { return }
        deadline = loop.schedule(after: patience) { [weak self] in
            guard let self else { return }
            deadline = nil
            let orders = waiting
            waiting = []
            for order in orders { refuse(order, ENOTCONN, "there is no socket factory now") }
        }
    }

    private func refuse(_ order: Order, _ code: CInt, _ reason: String) {
        guard let proxy = order.proxy else { return }
        proxy.openLegs -= 1
        let text = "no socket to \(order.request.destination): \(reason)"
        proxy.link?.send(
            .legRefused(request: order.request.number, SocketRefusal(errnoCode: UInt16(clamping: code), text)))
    }
}

@available(*, unavailable)
extension LegMaker: Sendable {}

// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import Logging
import ProxyProtocol

/// No proxy judges by less than what was published: what the kernel may rely on before it enforces a new policy.
extension ProxySupervisor {
    /// How long a change of policy waits for a proxy. One that takes longer is ended: what it would judge, and by what,
    /// is not known.
    static let settlingTime = Duration.seconds(5)

    /// Whether the proxy is to hear what is published: all that may judge requests, also while they end.
    func isTold(_ id: ProxyID) -> Bool {
        switch supervision.phases[id] {
        case .preparing, .serving, .draining: true
        case .attached: (proxies[id]?.link?.hello?.generation ?? 0) > 0
        case .starting, nil: false
        }
    }

    /// Performs `change`, which may have to ``settle(waitingAtMost:)``, when all proxies that may judge have shown that they
    /// live, at once if there are none: meanwhile the loop goes on. One that has not by then is not waited for, but ended
    /// if it matters.
    func whenAnswering(within limit: Duration = settlingTime, _ change: @escaping () -> Void) {
        settlingQueue.add(proxies.filter { isTold($0.key) }.map(\.value), within: limit, change)
    }

    /// Returns when every proxy has in force what was published last, or is no more. Handles what they say meanwhile,
    /// and nothing else: the loop stands.
    func settle(waitingAtMost limit: Duration = settlingTime) {
        let deadline = ContinuousClock.now + limit
        while let proxy = proxies.first(where: { isTold($0.key) && mayJudgeByLess($0.value) })?.value {
            let left = proxy.isSilent ? .zero : max(.zero, deadline - .now)
            guard let link = proxy.link, link.isOpen else {
                give(up: proxy)
                continue
            }
            do throws(SystemError) { try link.turn(waitingAtMost: left) } catch {
                logger.error("cannot wait for the proxy", metadata: ["pid": "\(proxy.pid)", "error": "\(error)"])
                give(up: proxy)
            }
            // One that has answered long ago is heard now, however long another was waited for.
            if left == .zero, mayJudgeByLess(proxy) { give(up: proxy) }
        }
    }

    /// A proxy that is out of the agent's reach gets no more connections: the listeners that it has are nobody's any more.
    /// Sockets to backends it gets neither, without a link. If it finds the agent again, it is drained.
    func cutOff(_ proxy: ProxyConnection) {
        logger.error(
            """
            a proxy cannot be ended from here: it is in another PID namespace; its listeners are closed and made \
            anew, and connections that it has go on until they end (run the agent in the PID namespace of the node)
            """, metadata: ["pid": "\(proxy.pid)", "listeners": "\(listeners.entries.count)"])
        listeners.replaceAll(isMaking: supervision.mayMakeListeners)
    }

    private func mayJudgeByLess(_ proxy: ProxyConnection) -> Bool {
        !proxy.isGivenUp && (proxy.isBehind(state.generation) || proxy.link?.isOpen != true)
    }

    /// Its end is handled when the loop goes on; another one is started then.
    private func give(up proxy: ProxyConnection) {
        proxy.isGivenUp = true
        if proxy.link?.isOpen ?? false {
            logger.error(
                "a proxy has not put the policy in force in time, and is ended",
                metadata: [
                    "pid": "\(proxy.pid)", "generation": "\(state.generation)",
                    "acknowledged": "\(proxy.acknowledged)",
                ])
        }
        if !proxy.end(waits: true) { cutOff(proxy) }
        // What the supervision hears of its end by is the link.
        proxy.link?.close("the configuration was not put in force within \(Self.settlingTime)")
    }
}

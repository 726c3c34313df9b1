// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import ProxyProtocol

/// Changes that wait until the proxies have shown that they live: so that the loop, which stands while they put a policy
/// in force, does not stand for one that hangs.
///
/// In the order of the calls. Belongs to the thread of its event loop.
final class SettlingQueue {
    private struct Change {
        let perform: () -> Void
        /// The number of the question that each has been asked.
        var questions: [ObjectIdentifier: UInt32]
        let timer: EventLoop.Timer
        let number: UInt64
    }

    private let loop: EventLoop
    private var waiting: [Change] = []
    private var lastQuestion: UInt32 = 0
    private var lastChange: UInt64 = 0
    private var isPerforming = false

    init(on loop: EventLoop) { self.loop = loop }

    /// Performs `change` when all of `proxies` have answered a question that is asked now: at once if there are none, else
    /// from the loop.
    ///
    /// - Parameter limit: after that it is performed all the same, and whoever has not answered ``ProxyConnection/isSilent``.
    func add(_ proxies: [ProxyConnection], within limit: Duration, _ change: @escaping () -> Void) {
        // A silent one has been asked, and may still answer that.
        let asked = proxies.filter { $0.link?.isOpen ?? false && !$0.isSilent }
        guard !asked.isEmpty || !waiting.isEmpty || isPerforming else { return change() }
        var questions: [ObjectIdentifier: UInt32] = [:]
        for proxy in asked {
            lastQuestion &+= 1
            questions[ObjectIdentifier(proxy)] = lastQuestion
            proxy.link?.send(.statusRequest(lastQuestion))
        }
        lastChange += 1
        let number = lastChange
        let timer = loop.schedule(after: limit) { [weak self] in self?.expire(number, asked) }
        waiting.append(Change(perform: change, questions: questions, timer: timer, number: number))
        performReady()
    }

    /// Nothing that waits is performed any more.
    func removeAll() {
        for change in waiting { loop.cancel(change.timer) }
        waiting = []
    }

    /// The proxy has answered that question, and all before it.
    func answered(_ proxy: ProxyConnection, _ question: UInt32) {
        proxy.isSilent = false
        for place in waiting.indices {
            guard let asked = waiting[place].questions[ObjectIdentifier(proxy)], asked <= question else { continue }
            waiting[place].questions[ObjectIdentifier(proxy)] = nil
        }
        performReady()
    }

    /// The proxy will answer nothing any more.
    func lost(_ proxy: ProxyConnection) {
        for place in waiting.indices { waiting[place].questions[ObjectIdentifier(proxy)] = nil }
        performReady()
    }

    private func expire(_ number: UInt64, _ proxies: [ProxyConnection]) {
        guard let place = waiting.firstIndex(where: { $0.number == number }) else { return }
        for proxy in proxies where waiting[place].questions[ObjectIdentifier(proxy)] != nil { proxy.isSilent = true }
        waiting[place].questions = [:]
        performReady()
    }

    /// One in a turn: others have theirs in between. Not from inside of what the caller does now.
    private func performReady() {
        guard !isPerforming, let first = waiting.first, first.questions.isEmpty else { return }
        isPerforming = true
        loop.enqueue { [weak self] in
            guard let self else { return }
            isPerforming = false
            guard let first = waiting.first, first.questions.isEmpty else { return }
            waiting.removeFirst()
            loop.cancel(first.timer)
            first.perform()
            performReady()
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import Synchronization
import Testing

@testable import L7Proxy

/// Circuit limits and the retry budget.
@Suite struct LimitTests {
    @Test(arguments: CircuitBreaker.Resource.allCases)
    func noMoreThanTheLimit(_ resource: CircuitBreaker.Resource) {
        var circuit = CircuitBreaker(CircuitLimits(connections: 3, pending: 3, requests: 3, retries: 3))
        #expect((0..<5).map { _ in circuit.begin(resource) } == [true, true, true, false, false])
        #expect(circuit.inUse(resource) == 3)
        #expect(circuit.refusals(resource) == 2)
        for other in CircuitBreaker.Resource.allCases where other != resource {
            #expect(circuit.inUse(other) == 0 && circuit.refusals(other) == 0)
        }
        circuit.end(resource)
        #expect(circuit.begin(resource) == true)
        circuit.limits = CircuitLimits(connections: 1, pending: 1, requests: 1, retries: 1)
        circuit.end(resource)
        #expect(circuit.begin(resource) == false)
        circuit.end(resource)
        circuit.end(resource)
        #expect(circuit.begin(resource) == true)
    }

    @Test(arguments: CircuitBreaker.Resource.allCases)
    func workersShareALimit(_ resource: CircuitBreaker.Resource) {
        let node = NodeCircuit()
        let limits = CircuitLimits(connections: 3, pending: 3, requests: 3, retries: 3)
        var (first, second) = (CircuitBreaker(limits), CircuitBreaker(limits))
        #expect(first.begin(resource) == true)
        // What is in use already counts.
        first.join(node)
        second.join(node)
        #expect((0..<3).map { _ in second.begin(resource) } == [true, true, false])
        #expect(first.begin(resource) == false)
        #expect(node.inUse(resource) == 3)
        second.end(resource)
        #expect(first.begin(resource) == true)
        #expect(first.inUse(resource) == 2 && second.inUse(resource) == 1)
        // One that goes takes its own with it.
        first.leave()
        #expect(node.inUse(resource) == 1)
        #expect((0..<3).map { _ in second.begin(resource) } == [true, true, false])
    }

    @Test func whatIsNotLimitedIsNotCountedTogether() {
        let node = NodeCircuit()
        let unlimited = CircuitLimits(connections: .max, pending: .max, requests: .max, retries: .max)
        var circuit = CircuitBreaker(unlimited)
        circuit.join(node)
        for _ in 0..<5 { #expect(circuit.begin(.request) == true) }
        #expect(node.inUse(.request) == 0)
        // A policy comes, and goes again, while they are in use.
        circuit.limits.requests = 4
        #expect(node.inUse(.request) == 5)
        #expect(circuit.begin(.request) == false)
        circuit.end(.request)
        circuit.end(.request)
        #expect(node.inUse(.request) == 3)
        #expect(circuit.begin(.request) == true)
        circuit.limits = unlimited
        #expect(node.inUse(.request) == 0 && circuit.inUse(.request) == 4)
        for _ in 0..<4 { circuit.end(.request) }
        #expect(node.inUse(.request) == 0)
    }

    /// Threads that take and give as fast as they can never have more than the limit, and leave nothing behind.
    @Test func manyThreadsKeepALimit() throws {
        let shared = Shared()
        for _ in 0..<4 {
            try DetachedThread.start {
                var circuit = CircuitBreaker(CircuitLimits(requests: 2))
                circuit.join(shared.node)
                for _ in 0..<20_000 where circuit.begin(.request) {
                    let count = shared.now.add(1, ordering: .relaxed).newValue
                    _ = shared.most.max(count, ordering: .relaxed)
                    shared.now.subtract(1, ordering: .relaxed)
                    circuit.end(.request)
                }
                circuit.leave()
                shared.done.add(1, ordering: .releasing)
            }
        }
        #expect(Poll.until { shared.done.load(ordering: .acquiring) == 4 })
        #expect((1...2).contains(shared.most.load(ordering: .relaxed)) && shared.node.inUse(.request) == 0)
    }

    private final class Shared: Sendable {
        let node = NodeCircuit()
        let most = Atomic<Int>(0)
        let now = Atomic<Int>(0)
        let done = Atomic<Int>(0)
    }

    @Test func aFifthOfTheRequestsMayBeRetries() {
        var budget = RetryBudget(.init(percent: 20, interval: 10 * second, minimumCount: 0, minimumInterval: second))
        #expect(budget.takeRetry(now: 0) == false)
        for _ in 0..<100 { budget.countRequest(now: second) }
        #expect((0..<30).count { _ in budget.takeRetry(now: second) } == 20)
        #expect(budget.refusals == 11)
        // Nine tenths later the requests still count; one more, and they do not.
        for _ in 0..<5 { budget.countRequest(now: 10 * second) }
        #expect((0..<9).count { _ in budget.takeRetry(now: 10 * second) } == 1)
        #expect((0..<9).count { _ in budget.takeRetry(now: 11 * second) } == 0)
    }

    @Test func aFewRetriesASecondAreAlwaysPossible() {
        var budget = RetryBudget()
        #expect((0..<20).count { _ in budget.takeRetry(now: 0) } == 10)
        #expect((0..<20).count { _ in budget.takeRetry(now: second - 1) } == 0)
        #expect((0..<20).count { _ in budget.takeRetry(now: second) } == 10)
    }

    @Test func aTimeThatGoesBackOrFarAheadDoesNoHarm() {
        var budget = RetryBudget()
        for _ in 0..<1000 { budget.countRequest(now: 100 * second) }
        #expect(budget.takeRetry(now: 3 * second) == true)
        #expect(budget.takeRetry(now: .max) == true)
    }

    /// For any traffic: at any time, retries of the last nine tenths of the interval are not more than the budget of the
    /// requests that the interval has at most, and the minimum.
    @Test(arguments: 0..<6 as Range<UInt64>) func theBudgetIsNeverExceeded(_ seed: UInt64) {
        var randoms = Randoms(seed)
        let policy = RetryBudget.Policy(
            percent: UInt32(1 + randoms.below(60)), interval: 5 * second, minimumCount: UInt32(randoms.below(5)),
            minimumInterval: second)
        var budget = RetryBudget(policy)
        var requests: [UInt64] = []
        var retries: [UInt64] = []
        var now: UInt64 = 0
        for _ in 0..<5000 {
            now += UInt64(randoms.below([1000, 30_000_000, 900_000_000][randoms.below(3)]))
            if randoms.below(3) == 0 {
                budget.countRequest(now: now)
                requests.append(now)
            } else if budget.takeRetry(now: now) {
                retries.append(now)
                let recent = retries.count { $0 + policy.interval * 9 / 10 > now }
                let all = requests.count { $0 + policy.interval > now }
                let lastSecond = retries.count { $0 + policy.minimumInterval * 9 / 10 > now }
                #expect(recent * 100 <= all * Int(policy.percent) || lastSecond <= Int(policy.minimumCount))
            }
        }
        #expect(budget.refusals > 0 && retries.count > 10)
    }
}

// SPDX-License-Identifier: Apache-2.0

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

    @Test func workersShareALimit() {
        let limits = CircuitLimits(connections: 10, pending: 0, requests: 1, retries: .max)
        #expect(
            limits.share(ofWorkers: 4) == CircuitLimits(connections: 3, pending: 0, requests: 1, retries: 1 << 30))
        #expect(limits.share(ofWorkers: 1) == limits)
        #expect(limits.share(ofWorkers: 0) == limits)
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

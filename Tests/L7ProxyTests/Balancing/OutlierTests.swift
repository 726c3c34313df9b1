// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import L7Proxy

@Suite struct OutlierTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let outcomes: [AttemptOutcome]
        let isEjected: Bool
    }

    static let policy = OutlierPolicy(
        consecutiveServerErrors: 5, consecutiveGatewayErrors: 3, consecutiveConnectFailures: 2)

    static func responses(_ statuses: UInt16...) -> [AttemptOutcome] { statuses.map { .response(status: $0) } }

    static let cases: [Case] = [
        Case(testDescription: "nothing but 200", outcomes: responses(200, 204, 301, 404, 200, 499), isEjected: false),
        Case(testDescription: "five 500", outcomes: responses(500, 501, 500, 599, 500), isEjected: true),
        Case(testDescription: "four 500", outcomes: responses(500, 500, 500, 500), isEjected: false),
        Case(
            testDescription: "a 404 breaks the row", outcomes: responses(500, 500, 500, 500, 404, 500), isEjected: false
        ),
        Case(testDescription: "three gateway errors", outcomes: responses(502, 503, 504), isEjected: true),
        Case(
            testDescription: "a 500 is none of the gateway", outcomes: responses(502, 503, 500, 504), isEjected: false),
        Case(testDescription: "but a server's error", outcomes: responses(502, 503, 500, 504, 502), isEjected: true),
        Case(testDescription: "two failed connects", outcomes: [.connectFailure, .connectFailure], isEjected: true),
        Case(
            testDescription: "no response is none of these",
            outcomes: [.connectFailure, .noResponse, .response(status: 500)],
            isEjected: false),
        Case(
            testDescription: "a cancelled one says nothing",
            outcomes: [.connectFailure] + [AttemptOutcome](repeating: .cancelled, count: 9), isEjected: false),
        Case(
            testDescription: "nor does it break the row", outcomes: [.connectFailure, .cancelled, .connectFailure],
            isEjected: true),
        Case(
            testDescription: "all three together",
            outcomes: [.noResponse, .connectFailure, .response(status: 503)], isEjected: true),
    ]

    @Test(arguments: cases) func failuresInARowEject(_ row: Case) {
        var counts = FailureCounts()
        let ejections = row.outcomes.map { counts.count($0, Self.policy) }
        #expect(ejections.last == row.isEjected)
        #expect(!ejections.dropLast().contains(true))
    }

    @Test func zeroMeansNever() {
        let never = OutlierPolicy(
            consecutiveServerErrors: 0, consecutiveGatewayErrors: 0, consecutiveConnectFailures: 0)
        var counts = FailureCounts()
        #expect(!(0..<70_000).contains { _ in counts.count(.connectFailure, never) })
    }

    @Test func ejectionsDoubleUpToTheLongest() {
        let policy = OutlierPolicy(baseEjection: 30 * second, maximumEjection: 300 * second)
        #expect((0...5).map { policy.duration(after: $0) / second } == [30, 60, 120, 240, 300, 300])
        #expect(policy.duration(after: 62) == 300 * second)
        #expect(policy.duration(after: .max) == 300 * second)
    }

    @Test(
        arguments: [
            // ready, ejected, configured, percent, panic threshold
            (1, 0, 1, 100, 0, false),  // never the only one
            (2, 0, 2, 10, 0, true),  // one in any case
            (2, 1, 2, 100, 0, false),  // never all
            (10, 1, 10, 10, 0, false), (20, 1, 20, 10, 0, true), (10, 4, 10, 50, 0, true), (10, 5, 10, 50, 0, false),
            (10, 4, 10, 100, 50, true), (10, 5, 10, 100, 50, false),
            // Those that are not ready count as lost.
            (10, 0, 20, 100, 50, false), (10, 0, 18, 100, 50, true), (0, 0, 0, 100, 0, false),
        ] as [(UInt32, UInt32, UInt32, UInt32, UInt32, Bool)])
    func enoughRemain(
        _ ready: UInt32, _ ejected: UInt32, _ configured: UInt32, _ percent: UInt32, _ panic: UInt32, _ permits: Bool
    ) {
        let policy = OutlierPolicy(maximumEjectionPercent: percent, panicThreshold: panic)
        #expect(policy.permitsEjection(ready: ready, ejected: ejected, configured: configured) == permits)
    }

    /// Fails once at the endpoint with a number, whatever else is picked before.
    static func fail(_ number: Int, _ cluster: TestCluster, now: UInt64) -> Cluster.AttemptEffect? {
        var randoms = Randoms(UInt64(number))
        for _ in 0..<200 {
            guard let handle = cluster.pick(randoms.next(), key: nil, now: now) else { return nil }
            guard cluster.number(handle) == number else { continue }
            cluster.begin(handle)
            return cluster.end(handle, .response(status: 500), now: now)
        }
        return nil
    }

    static let sensitive = OutlierPolicy(
        consecutiveServerErrors: 1, interval: 10 * second, baseEjection: 30 * second, maximumEjection: 100 * second,
        maximumEjectionPercent: 100, panicThreshold: 0)

    @Test func anEjectedEndpointReturnsAndIsLeftOutForLonger() {
        let cluster = TestCluster.of((1...3).map { endpoint($0) }, outliers: Self.sensitive)
        #expect(Self.fail(2, cluster, now: second) == .ejected(until: 31 * second))
        #expect(Set(cluster.counts(100, now: 31 * second - 1).keys) == [1, 3])
        #expect(Set(cluster.counts(100, now: 31 * second).keys) == [1, 2, 3])
        #expect(Self.fail(2, cluster, now: 32 * second) == .ejected(until: 92 * second))
        #expect(Set(cluster.counts(100, now: 92 * second).keys) == [1, 2, 3])
        // It was back for two intervals: two ejections are forgiven.
        #expect(Self.fail(2, cluster, now: 112 * second) == .ejected(until: 142 * second))
    }

    @Test func someoneIsAlwaysLeft() {
        let cluster = TestCluster.of((1...3).map { endpoint($0) }, outliers: Self.sensitive)
        #expect(Self.fail(1, cluster, now: 1) == .ejected(until: 30 * second + 1))
        #expect(Self.fail(2, cluster, now: 2) == .ejected(until: 30 * second + 2))
        #expect(Self.fail(3, cluster, now: 3) == .spared)
        #expect(cluster.counts(10, now: 4) == [3: 10])
        // The last one goes: rather the ejected ones than nobody.
        cluster.update(
            [endpoint(1), endpoint(2), endpoint(3, state: .draining)])
        #expect(cluster.isPanicking)
        #expect(Set(cluster.counts(100, now: 5).keys) == [1, 2])
        cluster.update((1...3).map { endpoint($0) })
        #expect(!cluster.isPanicking)
        #expect(cluster.counts(10, now: 6) == [3: 10])
    }

    @Test func withoutAPolicyNobodyIsEjected() {
        let cluster = TestCluster.of((1...3).map { endpoint($0) }, outliers: Self.sensitive)
        #expect(Self.fail(1, cluster, now: 1) == .ejected(until: 30 * second + 1))
        cluster.update((1...3).map { endpoint($0) }, policy: ClusterPolicy())
        #expect(Set(cluster.counts(100, now: 2).keys) == [1, 2, 3])
        #expect((0..<20).allSatisfy { _ in Self.fail(1, cluster, now: 3) == .some(.none) })
    }
}

// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Testing

@testable import L7Proxy

/// How much each endpoint gets.
@Suite struct DistributionTests {
    static let weights: [[UInt32]] = [
        [1, 1], [1, 1, 1, 1, 1, 1, 1], [1, 2, 3], [1, 99], [5, 5, 5, 1], [1_000_000, 500_000],
    ]

    /// Within every stretch of turns, not only in the end, an endpoint is less than two turns away from its share.
    @Test(arguments: weights) func roundRobinIsSmooth(_ weights: [UInt32]) throws {
        let cluster = TestCluster.of(weights.enumerated().map { endpoint($0 + 1, weight: $1) }, .roundRobin)
        let sum = Double(weights.reduce(0, +))
        var counts = [Int](repeating: 0, count: weights.count)
        for turn in 1...3000 {
            let number = try #require(cluster.pickNumber(0))
            counts[number - 1] += 1
            for (index, weight) in weights.enumerated() {
                let share = Double(turn) * Double(weight) / sum
                #expect(abs(Double(counts[index]) - share) < 2, "turn \(turn), endpoint \(index + 1)")
            }
        }
    }

    @Test func anEndpointThatReturnsDoesNotCatchUp() throws {
        let all = [endpoint(1, weight: 1), endpoint(2, weight: 2), endpoint(3, weight: 2)]
        let cluster = TestCluster.of(all, .roundRobin)
        _ = cluster.counts(50)
        cluster.update([all[0], all[1], endpoint(3, weight: 2, state: .unready)])
        #expect(cluster.counts(3000)[3] == nil)
        cluster.update(all)
        let counts = cluster.counts(50)
        #expect((19...21).contains(counts[3, default: 0]), "\(counts)")
    }

    @Test func workersBeginWithDifferentEndpoints() {
        let endpoints = (1...20).map { endpoint($0) }
        let weighted = (1...20).map { endpoint($0, weight: UInt32(1 + $0 % 3)) }
        for list in [endpoints, weighted] {
            let first = (0..<20).map { seed -> Int? in
                let cluster = TestCluster.of(list, .roundRobin, seed: UInt64(seed))
                return cluster.pickNumber(0)
            }
            #expect(Set(first).count > 5)
        }
    }

    /// Without load, least request draws by weight; six standard deviations are allowed.
    @Test(arguments: weights) func anIdleClusterFollowsTheWeights(_ weights: [UInt32]) {
        let cluster = TestCluster.of(weights.enumerated().map { endpoint($0 + 1, weight: $1) })
        let picks = 40_000
        let counts = cluster.counts(picks)
        let sum = Double(weights.reduce(0, +))
        for (index, weight) in weights.enumerated() {
            let share = Double(weight) / sum
            let deviation = (Double(picks) * share * (1 - share)).squareRoot()
            #expect(abs(Double(counts[index + 1, default: 0]) - Double(picks) * share) < 6 * deviation)
        }
    }

    /// With many requests that do not end, the loads follow the weights far closer than drawing by weight would.
    @Test(arguments: weights) func loadsFollowTheWeights(_ weights: [UInt32]) throws {
        let cluster = TestCluster.of(weights.enumerated().map { endpoint($0 + 1, weight: $1) })
        var randoms = Randoms(3)
        var counts = [Int](repeating: 0, count: weights.count)
        for _ in 0..<10_000 {
            let handle = try #require(cluster.pick(randoms.next(), now: 0))
            cluster.begin(handle)
            counts[cluster.number(handle) - 1] += 1
        }
        let sum = Double(weights.reduce(0, +))
        for (index, weight) in weights.enumerated() {
            #expect(abs(Double(counts[index]) - 10_000 * Double(weight) / sum) < 20)
        }
    }

    /// An endpoint that is slow, and so always has more going on, is not drawn from two.
    @Test func theLessLoadedOfTwoIsPicked() throws {
        let cluster = TestCluster.of([endpoint(1), endpoint(2)])
        let first = try #require(cluster.pick(9, now: 0))
        cluster.begin(first)
        let other = 3 - cluster.number(first)
        #expect(cluster.counts(100) == [other: 100])
    }

    // MARK: - Locality

    struct Shares: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let health: [(UInt32, UInt32)]
        /// Of 10 000.
        let expected: [UInt32]
    }

    static let shares: [Shares] = [
        .init(testDescription: "all well", health: [(4, 4), (4, 4), (4, 4)], expected: [10_000, 0, 0]),
        .init(testDescription: "72 % suffice", health: [(72, 100), (1, 1), (1, 1)], expected: [10_000, 0, 0]),
        .init(testDescription: "71 % do not", health: [(71, 100), (1, 1), (1, 1)], expected: [9940, 60, 0]),
        .init(testDescription: "half of them", health: [(1, 2), (4, 4), (9, 9)], expected: [7000, 3000, 0]),
        .init(testDescription: "two tiers are ill", health: [(1, 4), (1, 4), (8, 8)], expected: [3500, 3500, 3000]),
        .init(
            testDescription: "all tiers are ill", health: [(1, 10), (1, 10), (2, 10)], expected: [2500, 2500, 5000]),
        .init(testDescription: "no such tier", health: [(0, 0), (2, 2), (5, 5)], expected: [0, 10_000, 0]),
        .init(testDescription: "only the last", health: [(0, 3), (0, 0), (1, 5)], expected: [0, 0, 10_000]),
        .init(testDescription: "the middle is dead", health: [(1, 2), (0, 2), (5, 5)], expected: [7000, 0, 3000]),
        .init(testDescription: "only an ill first", health: [(1, 3), (0, 2), (0, 5)], expected: [10_000, 0, 0]),
        .init(testDescription: "one of very many", health: [(0, 0), (0, 0), (1, 65_535)], expected: [0, 0, 10_000]),
        .init(
            testDescription: "one of very many first", health: [(1, 65_535), (0, 0), (0, 0)], expected: [10_000, 0, 0]),
        .init(testDescription: "nobody", health: [(0, 1), (0, 0), (0, 0)], expected: [0, 0, 0]),
    ]

    @Test(arguments: shares) func tiersGetTheirShare(_ row: Shares) {
        let tiers = row.health.map { LocalityShares.Health(available: $0.0, total: $0.1) }
        let shares = LocalityShares(tiers[0], tiers[1], tiers[2], overprovisioning: 140)
        let last = row.expected[2]
        #expect(shares.first == row.expected[0])
        #expect(
            shares.second
                == (last == 0 && row.expected[0] + row.expected[1] == 0 ? 0 : row.expected[0] + row.expected[1]))
        // No draw leads to a tier that has nobody.
        var randoms = Randoms(1)
        guard row.health.contains(where: { $0.0 > 0 }) else { return }
        for _ in 0..<2000 {
            let tier = shares.tier(randoms.next())
            #expect(row.health[Int(tier.rawValue)].0 > 0)
        }
        #expect(row.health[Int(shares.tier(.max).rawValue)].0 > 0)
        #expect(row.health[Int(shares.tier(0).rawValue)].0 > 0)
    }

    @Test(arguments: [BalancingAlgorithm.roundRobin, .leastRequest])
    func theNearerIsPreferred(_ algorithm: BalancingAlgorithm) {
        let all = [
            endpoint(1, zone: "a", node: "n"), endpoint(2, zone: "a", node: "n"), endpoint(3, zone: "a", node: "m"),
            endpoint(4, zone: "b", node: "o"), endpoint(5),
        ]
        func picked(_ endpoints: [ClusterEndpoint], _ origin: ClusterOrigin) -> [Int: Int] {
            let cluster = TestCluster.of(endpoints, algorithm, origin: origin)
            return cluster.counts(1000)
        }
        let node = ClusterOrigin(.node, zone: "a", node: "n")
        #expect(Set(picked(all, node).keys) == [1, 2])
        #expect(Set(picked(all, ClusterOrigin(.zone, zone: "a", node: "n")).keys) == [1, 2, 3])
        #expect(Set(picked(all, ClusterOrigin(.none, zone: "a", node: "n")).keys) == [1, 2, 3, 4, 5])
        #expect(Set(picked(all, ClusterOrigin(.node)).keys) == [1, 2, 3, 4, 5])
        // One of the two nearest is not ready: 0.5 * 1.4 = 70 % stay.
        var ill = all
        ill[1].state = .unready
        let spread = picked(ill, node)
        #expect(Set(spread.keys) == [1, 3])
        #expect((640...760).contains(spread[1, default: 0]))
        // It leaves on purpose: that is no reason to distrust the other.
        ill[1].state = .draining
        #expect(Set(picked(ill, node).keys) == [1])
        ill[0].state = .draining
        #expect(Set(picked(ill, node).keys) == [3])
    }
}

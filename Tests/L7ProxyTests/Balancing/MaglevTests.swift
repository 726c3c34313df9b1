// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Testing

@testable import L7Proxy

@Suite struct MaglevTests {
    static func picks(_ cluster: TestCluster, now: UInt64 = 0) -> [Int] {
        (0..<4000).map { cluster.pickNumber(1, key: Draw.next(UInt64($0)), now: now) ?? -1 }
    }

    @Test func everyWorkerHasTheSameTable() {
        let endpoints = (1...9).map { endpoint($0, weight: UInt32($0 % 3 + 1), zone: "z\($0 % 2)") }
        let one = TestCluster.of(endpoints, .maglev, seed: 1)
        let other = TestCluster.of(endpoints.reversed(), .maglev, origin: ClusterOrigin(.zone, zone: "z1"), seed: 2)
        #expect(Self.picks(one) == Self.picks(other))
    }

    @Test(arguments: [[1, 1, 1, 1, 1, 1, 1, 1], [1, 2, 4], [1, 50], [100, 100, 1]] as [[UInt32]])
    func sharesFollowTheWeights(_ weights: [UInt32]) {
        var table = MaglevTable(size: 16_381)
        table.build(weights.enumerated().map { (endpoint($0 + 1).identity, $1, UInt16($0)) })
        var counts = [Int](repeating: 0, count: weights.count)
        for entry in 0..<16_381 {
            // The middle of each entry's range.
            let hash = UInt64((Double(entry) + 0.5) / 16_381 * 0x1p64)
            counts[Int(table.slot(hash))] += 1
        }
        let sum = Double(weights.reduce(0, +))
        for (count, weight) in zip(counts, weights) {
            let share = 16_381 * Double(weight) / sum
            #expect(abs(Double(count) - share) < max(0.02 * share, 4), "\(counts)")
        }
    }

    /// Of the keys of those that stay, a few per cent at most move.
    @Test(arguments: [3, 10, 50]) func aChangeMovesHardlyMoreThanItsShare(_ count: Int) {
        let endpoints = (1...count).map { endpoint($0) }
        let cluster = TestCluster.of(endpoints, .maglev)
        let before = Self.picks(cluster)
        cluster.update(Array(endpoints.dropLast()))
        let without = Self.picks(cluster)
        let moved = zip(before, without).count { $0 != $1 && $0 != count }
        #expect(!without.contains(count))
        #expect(moved < 4000 * 6 / 100, "\(moved) of 4000")
        cluster.update(endpoints)
        #expect(Self.picks(cluster) == before)
    }

    @Test func anEjectionMovesOnlyItsOwnKeys() throws {
        let outliers = OutlierPolicy(consecutiveServerErrors: 1, baseEjection: 10 * second, maximumEjectionPercent: 100)
        let cluster = TestCluster.of((1...5).map { endpoint($0) }, .maglev, outliers: outliers)
        let before = Self.picks(cluster)
        let handle = try #require(cluster.pick(1, key: Draw.next(0), now: 0))
        let victim = cluster.number(handle)
        cluster.begin(handle)
        #expect(cluster.end(handle, .response(status: 500), now: 5) == .ejected(until: 10 * second + 5))
        let during = Self.picks(cluster, now: second)
        #expect(!during.contains(victim))
        #expect(zip(before, during).allSatisfy { $0 == $1 || $0 == victim })
        // Its keys are spread over all others.
        #expect(Set(zip(before, during).filter { $0 != $1 }.map(\.1)).count == 4)
        #expect(Self.picks(cluster, now: 11 * second) == before)
    }

    @Test func aRequestWithoutAKeyGoesAnywhere() {
        let cluster = TestCluster.of((1...4).map { endpoint($0) }, .maglev)
        #expect(Set((0..<200).map { cluster.pickNumber(Draw.next($0)) }) == [1, 2, 3, 4])
    }

    @Test func keysDependOnEveryByte() {
        var keys: Set<UInt64> = []
        let bytes = (0..<20).map { UInt8($0) }
        for length in 0...20 {
            keys.insert(bytes[..<length].withUnsafeBytes(BalancingKey.of))
            for index in 0..<length {
                var changed = Array(bytes[..<length])
                changed[index] ^= 0x80
                keys.insert(changed.withUnsafeBytes(BalancingKey.of))
            }
        }
        #expect(keys.count == 21 + 210)
        #expect(BalancingKey.of(IPAddress(v4: 1)) != BalancingKey.of(IPAddress(v4: 2)))
    }

    @Test func onlyPrimesAreSizes() {
        #expect([3, 5, 251, 2039, 16_381, 65_537].allSatisfy(MaglevTable.isPrime))
        #expect(![0, 1, 2, 4, 9, 16_384, 16_383].contains(where: MaglevTable.isPrime))
    }
}

// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Testing

@testable import L7Proxy

/// Who may be picked at all, by every algorithm.
@Suite struct ClusterTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let endpoints: [ClusterEndpoint]
        /// Empty: nobody.
        let picked: Set<Int>

        init(_ description: String, _ endpoints: [ClusterEndpoint], _ picked: Set<Int>) {
            testDescription = description
            self.endpoints = endpoints
            self.picked = picked
        }
    }

    static let cases: [Case] = [
        Case("no endpoint", [], []),
        Case("one endpoint", [endpoint(1)], [1]),
        Case("all draining", [endpoint(1, state: .draining), endpoint(2, state: .draining)], []),
        Case("all unready", [endpoint(1, state: .unready), endpoint(2, state: .unready)], []),
        Case("weight 0 and another", [endpoint(1, weight: 0), endpoint(2)], [2]),
        Case("weight 0 alone", [endpoint(1, weight: 0)], []),
        Case("the greatest weights", [endpoint(1, weight: .max), endpoint(2, weight: .max)], [1, 2]),
        Case("one of each state", [endpoint(1, state: .unready), endpoint(2), endpoint(3, state: .draining)], [2]),
        Case("of one identity the last counts", [endpoint(1), endpoint(1, state: .draining), endpoint(2)], [2]),
    ]

    @Test(arguments: cases, BalancingAlgorithm.allCases)
    func onlyReadyEndpointsArePicked(_ row: Case, _ algorithm: BalancingAlgorithm) {
        let cluster = TestCluster.of(row.endpoints, algorithm)
        #expect(Set(cluster.counts(200).keys) == row.picked)
    }

    @Test(arguments: BalancingAlgorithm.allCases)
    func anotherEndpointIsPickedThanTheOneThatFailed(_ algorithm: BalancingAlgorithm) throws {
        let cluster = TestCluster.of((1...3).map { endpoint($0) }, algorithm)
        var randoms = Randoms(5)
        var same = 0
        for _ in 0..<1000 {
            let key = randoms.next()
            let first = try #require(cluster.pick(randoms.next(), key: key, now: 0))
            let second = try #require(cluster.pick(randoms.next(), key: key, now: 0, avoiding: first))
            same += first == second ? 1 : 0
        }
        // A third of the draws is the same one, and four of them in a row one in 81.
        #expect(same < 35)
        let single = TestCluster.of([endpoint(1)], algorithm)
        let only = try #require(single.pick(1, key: 1, now: 0))
        #expect(single.pick(2, key: 1, now: 0, avoiding: only) == only)
    }

    @Test func whatIsKnownOfAnEndpointSurvivesItsChange() throws {
        let cluster = TestCluster.of([endpoint(1)])
        let handle = try #require(cluster.pick(1, now: 0))
        cluster.begin(handle)
        cluster.cluster.connected(handle)
        cluster.update([endpoint(2), endpoint(1, weight: 7, zone: "z")])
        #expect(cluster.activeRequests(handle) == 1)
        #expect(cluster.isReusable(handle))
        // It leaves, and what it has goes on.
        cluster.update([endpoint(2)])
        #expect(cluster.number(handle) == 1)
        #expect(!cluster.isReusable(handle))
        #expect(Set(cluster.counts(50).keys) == [2])
        // It returns before its last request ends, and is the same.
        cluster.update([endpoint(1)])
        #expect(cluster.pick(3, now: 0) == handle)
        _ = cluster.end(handle, .response(status: 200), now: 0)
        cluster.update([])
        cluster.cluster.disconnected(handle)
        cluster.update([endpoint(3)])
        let next = try #require(cluster.pick(3, now: 0))
        #expect(cluster.number(next) == 3 && next != handle)
    }

    @Test func aHandleOfAnEndpointThatIsGoneIsABug() async {
        await #expect(processExitsWith: .failure) {
            let cluster = TestCluster.of([endpoint(1)])
            guard let handle = cluster.pick(1, now: 0) else { return }
            cluster.update([endpoint(2)])
            cluster.begin(handle)
        }
        await #expect(processExitsWith: .failure) {
            let cluster = TestCluster.of([endpoint(1)])
            guard let handle = cluster.pick(1, now: 0) else { return }
            _ = cluster.end(handle, .cancelled, now: 0)
        }
    }

    @Test func whatThereIsNoRoomForIsReported() {
        let policy = ClusterPolicy()
        var cluster = Cluster(policy: policy, seed: 1)
        let many = (0..<EndpointTable.maximumEndpoints + 3).map { endpoint($0) }
        let leftOut = [many, Array(many.prefix(10)), many].map { cluster.update($0, policy: policy) }
        #expect(leftOut == [3, 0, 3])
        let ready = cluster.ready
        #expect(ready == UInt32(EndpointTable.maximumEndpoints))
    }

    /// Any sequence of configurations, requests, failures and times, against what the configuration allows.
    @Test(arguments: BalancingAlgorithm.allCases, 0..<4 as Range<UInt64>)
    func neverAnEndpointThatMayNotBePicked(_ algorithm: BalancingAlgorithm, _ seed: UInt64) throws {
        var randoms = Randoms(seed)
        let outliers = OutlierPolicy(
            consecutiveServerErrors: 2, interval: second, baseEjection: 3 * second, maximumEjectionPercent: 100,
            panicThreshold: 0)
        let cluster = TestCluster.of([], algorithm, outliers: outliers)
        var endpoints: [Int: ClusterEndpoint] = [:]
        var ejectedUntil: [Int: UInt64] = [:]
        var running: [(EndpointHandle, Int)] = []
        var active: [Int: UInt32] = [:]
        var now: UInt64 = 1
        var picks = 0
        for _ in 0..<4000 {
            now += UInt64(randoms.below(200_000_000))
            switch randoms.below(20) {
            case 0:
                endpoints = [:]
                for number in 1...6 where randoms.below(4) > 0 {
                    endpoints[number] = endpoint(
                        number, weight: UInt32(randoms.below(4)), zone: ["a", "b"][randoms.below(2)],
                        node: ["n", "m"][randoms.below(2)],
                        state: [.ready, .ready, .ready, .draining, .unready][randoms.below(5)])
                }
                let origin = ClusterOrigin([.none, .zone, .node][randoms.below(3)], zone: "a", node: "n")
                cluster.update(endpoints.values.shuffled(&randoms), origin: origin)
                for number in 1...6 where endpoints[number] == nil && active[number, default: 0] == 0 {
                    ejectedUntil[number] = nil
                }
            case 1..<8 where !running.isEmpty:
                let (handle, number) = running.remove(at: randoms.below(running.count))
                let outcome: AttemptOutcome = randoms.below(2) == 0 ? .response(status: 503) : .response(status: 200)
                #expect(cluster.activeRequests(handle) == active[number])
                active[number, default: 0] -= 1
                if case .ejected(let until) = cluster.end(handle, outcome, now: now) { ejectedUntil[number] = until }
                if endpoints[number] == nil, active[number] == 0 { ejectedUntil[number] = nil }
            default:
                let eligible = endpoints.values.filter { $0.state == .ready && $0.weight > 0 }.map(\.identity.number)
                let well = eligible.filter { ejectedUntil[$0, default: 0] <= now }
                let handle = cluster.pick(randoms.next(), key: randoms.next(), now: now)
                let number = handle.map { cluster.number($0) }
                let allowed = well.isEmpty ? eligible : well
                if let number, let handle {
                    #expect(allowed.contains(number))
                    cluster.begin(handle)
                    running.append((handle, number))
                    active[number, default: 0] += 1
                    picks += 1
                } else {
                    #expect(allowed.isEmpty)
                }
            }
        }
        #expect(picks > 1000)
    }
}

extension Sequence {
    fileprivate func shuffled(_ randoms: inout Randoms) -> [Element] {
        var list = Array(self)
        for index in list.indices.dropLast() { list.swapAt(index, index + randoms.below(list.count - index)) }
        return list
    }
}

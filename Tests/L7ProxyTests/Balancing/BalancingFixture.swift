// SPDX-License-Identifier: Apache-2.0

import MeshModel

@testable import L7Proxy

/// Random numbers that are the same in every run.
struct Randoms {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state = Draw.next(state)
        return state
    }

    mutating func below(_ bound: Int) -> Int { Int(Draw.below(UInt64(bound), next())) }
}

/// 10.0.0.`number`:8080.
func endpoint(
    _ number: Int, weight: UInt32 = 1, zone: String? = nil, node: String? = nil,
    state: ClusterEndpoint.State = .ready
) -> ClusterEndpoint {
    ClusterEndpoint(
        IPAddress(v4: 0x0a00_0000 + UInt32(number)), port: 8080, weight: weight, zone: zone, node: node, state: state)
}

extension ClusterEndpoint.Identity {
    var number: Int { Int(address.low & 0xff_ffff) }
}

/// A cluster that a test can share with closures.
final class TestCluster {
    var cluster: Cluster

    init(_ cluster: consuming Cluster) { self.cluster = cluster }

    /// A cluster with its endpoints, which nobody has used.
    static func of(
        _ endpoints: [ClusterEndpoint], _ algorithm: BalancingAlgorithm = .leastRequest,
        outliers: OutlierPolicy? = nil, origin: ClusterOrigin = ClusterOrigin(), seed: UInt64 = 1
    ) -> TestCluster {
        let policy = ClusterPolicy(algorithm: algorithm, maglevSize: 2039, outliers: outliers)
        var cluster = Cluster(policy: policy, seed: seed)
        cluster.update(endpoints, policy: policy, origin: origin)
        return TestCluster(cluster)
    }

    func update(
        _ endpoints: [ClusterEndpoint], policy: ClusterPolicy? = nil, origin: ClusterOrigin = ClusterOrigin()
    ) {
        let policy = policy ?? cluster.policy
        cluster.update(endpoints, policy: policy, origin: origin)
    }

    func pick(
        _ random: UInt64, key: UInt64? = nil, now: UInt64 = 0, avoiding: EndpointHandle? = nil
    ) -> EndpointHandle? {
        cluster.pick(random: random, key: key, now: now, avoiding: avoiding)
    }

    func number(_ handle: EndpointHandle) -> Int { cluster.destination(handle).number }

    func pickNumber(_ random: UInt64, key: UInt64? = nil, now: UInt64 = 0) -> Int? {
        pick(random, key: key, now: now).map(number)
    }

    func begin(_ handle: EndpointHandle) { cluster.begin(handle) }

    func end(_ handle: EndpointHandle, _ outcome: AttemptOutcome, now: UInt64 = 0) -> Cluster.AttemptEffect {
        cluster.end(handle, outcome, now: now)
    }

    func activeRequests(_ handle: EndpointHandle) -> UInt32 { cluster.activeRequests(handle) }

    func isReusable(_ handle: EndpointHandle) -> Bool { cluster.isReusable(handle) }

    var isPanicking: Bool { cluster.isPanicking }

    /// How often each endpoint is picked.
    func counts(_ picks: Int, seed: UInt64 = 7, now: UInt64 = 0) -> [Int: Int] {
        var randoms = Randoms(seed)
        var counts: [Int: Int] = [:]
        for _ in 0..<picks {
            guard let number = pickNumber(randoms.next(), key: randoms.next(), now: now) else { continue }
            counts[number, default: 0] += 1
        }
        return counts
    }
}

let second: UInt64 = 1_000_000_000

// SPDX-License-Identifier: Apache-2.0

/// How a request's endpoint is chosen. A further algorithm is one more case, here and in ``Cluster/pick(random:key:now:avoiding:)``.
public enum BalancingAlgorithm: UInt8, Hashable, Sendable, BitwiseCopyable, CaseIterable {
    /// By turns, in proportion to the weights.
    case roundRobin
    /// Of two that are drawn by weight, the one with fewer requests of this worker for its weight.
    case leastRequest
    /// By a key of the request, which always leads to the same endpoint wherever that is: without regard to
    /// ``ClusterOrigin``. A request that has no key goes by ``leastRequest``.
    case maglev
}

/// What the configuration says about a cluster besides its endpoints.
public struct ClusterPolicy: Hashable, Sendable, BitwiseCopyable {
    public var algorithm: BalancingAlgorithm
    /// A prime; entries of the table of ``BalancingAlgorithm/maglev``.
    public var maglevSize: Int
    /// Percent: see ``LocalityShares``.
    public var overprovisioning: UInt32
    public var limits: CircuitLimits
    public var retryBudget: RetryBudget.Policy
    /// `nil`: no endpoint is ever ejected.
    public var outliers: OutlierPolicy?

    /// - Precondition: `maglevSize` is a prime above 2, and `overprovisioning` 100 or more.
    public init(
        algorithm: BalancingAlgorithm = .leastRequest, maglevSize: Int = 16_381, overprovisioning: UInt32 = 140,
        limits: CircuitLimits = CircuitLimits(), retryBudget: RetryBudget.Policy = .init(),
        outliers: OutlierPolicy? = nil
    ) {
        precondition(overprovisioning >= 100, "an overprovisioning factor below 1 would keep healthy endpoints idle")
        self.algorithm = algorithm
        self.maglevSize = maglevSize
        self.overprovisioning = overprovisioning
        self.limits = limits
        self.retryBudget = retryBudget
        self.outliers = outliers
    }
}

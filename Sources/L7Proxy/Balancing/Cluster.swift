// SPDX-License-Identifier: Apache-2.0

/// The endpoints of one port of a service as one worker sees them: who gets the next request, how much may be going on,
/// and who has failed too often.
///
/// Belongs to its worker's thread. Decides, and does no I/O; times are nanoseconds of a monotonic clock and random
/// numbers are uniform over all values, both passed in. Only ``update(_:policy:origin:)`` allocates, and an ejection or
/// the end of one costs as much as there are endpoints; everything else is of constant cost, or of the logarithm of
/// their number where weights differ.
///
/// What else decides about an endpoint's share (a slow start, active health checks) changes its weight or its
/// ``ClusterEndpoint/State`` in ``update(_:policy:origin:)``; a further algorithm is a further list of eligible slots.
public struct Cluster: ~Copyable {
    public private(set) var policy: ClusterPolicy
    public var circuit: CircuitBreaker
    public private(set) var retryBudget: RetryBudget

    var table = EndpointTable()
    private var node = TierList()
    private var zone = TierList()
    private var anywhere = TierList()
    private var shares = LocalityShares()
    private var maglev: MaglevTable?
    private let seed: UInt64

    /// When the next ejection ends; `max`: there is none.
    var nextRelease = UInt64.max
    private(set) var ready: UInt32 = 0
    private(set) var configured: UInt32 = 0
    var ejected: UInt32 = 0
    /// Whether all ready endpoints are ejected. Then they get requests all the same: an ill service is better than none.
    public private(set) var isPanicking = false

    /// - Parameter seed: a random number; decides with whom round robin begins.
    public init(policy: ClusterPolicy = ClusterPolicy(), seed: UInt64) {
        self.policy = policy
        self.seed = seed
        circuit = CircuitBreaker(policy.limits)
        retryBudget = RetryBudget(policy.retryBudget)
    }

    /// Takes a new version of the configuration. What is known of an endpoint that stays is kept.
    ///
    /// - Returns: How many endpoints were left out, because there are more than a cluster has room for.
    @discardableResult
    public mutating func update(
        _ endpoints: [ClusterEndpoint], policy: ClusterPolicy, origin: ClusterOrigin = ClusterOrigin()
    ) -> Int {
        if policy.retryBudget != self.policy.retryBudget { retryBudget = RetryBudget(policy.retryBudget) }
        circuit.limits = policy.limits
        self.policy = policy
        let leftOut = table.update(endpoints, origin)
        node.reserve(table.count)
        zone.reserve(table.count)
        anywhere.reserve(table.count)
        if policy.outliers == nil { releaseAll() }
        buildMaglev()
        rebuild()
        return leftOut
    }

    private mutating func buildMaglev() {
        guard policy.algorithm == .maglev else {
            maglev = nil
            return
        }
        var endpoints: [(identity: ClusterEndpoint.Identity, weight: UInt32, slot: UInt16)] = []
        for slot in 0..<table.count where table[slot].isEligible {
            endpoints.append((table[slot].identity, table[slot].weight, UInt16(slot)))
        }
        var built = MaglevTable(size: policy.maglevSize)
        built.build(endpoints)
        maglev = consume built
    }

    /// Makes the lists say who may get requests now. Does not allocate.
    mutating func rebuild() {
        ready = 0
        configured = 0
        ejected = 0
        var available: UInt32 = 0
        for slot in 0..<table.count {
            let load = table[slot]
            configured += load.isMember ? 1 : 0
            guard load.isEligible else { continue }
            ready += 1
            if load.isEjected { ejected += 1 } else { available += 1 }
        }
        isPanicking = available == 0 && ready > 0
        let schedule = policy.algorithm == .roundRobin
        let nodeHealth = Self.fill(&node, .node, &table, isPanicking, schedule, seed)
        let zoneHealth = Self.fill(&zone, .zone, &table, isPanicking, schedule, seed)
        let restHealth = Self.fill(&anywhere, .anywhere, &table, isPanicking, schedule, seed)
        shares = LocalityShares(nodeHealth, zoneHealth, restHealth, overprovisioning: policy.overprovisioning)
    }

    private static func fill(
        _ list: inout TierList, _ tier: LocalityTier, _ table: inout EndpointTable, _ isPanicking: Bool,
        _ schedule: Bool, _ seed: UInt64
    ) -> LocalityShares.Health {
        var health = LocalityShares.Health()
        list.removeAll()
        for slot in 0..<table.count where table[slot].tier == tier && table[slot].isMember {
            health.total += 1
            guard table[slot].isEligible, isPanicking || !table[slot].isEjected else { continue }
            health.available += 1
            list.append(slot, weight: table[slot].weight)
        }
        list.finish(table.loads, schedule: schedule, seed: seed)
        return health
    }

    // MARK: - Choice

    /// The endpoint for a request, or for one more try. Nothing is counted yet: ``begin(_:)``.
    ///
    /// - Parameters:
    ///   - key: of ``BalancingKey``; `nil`: the request has none.
    ///   - avoided: the endpoint that the last try has failed at; it is chosen only if no other turns up.
    /// - Returns: `nil` if no endpoint is ready: 503, gRPC UNAVAILABLE.
    @inline(__always)
    public mutating func pick(
        random: UInt64, key: UInt64?, now: UInt64, avoiding avoided: EndpointHandle? = nil
    ) -> EndpointHandle? {
        if now >= nextRelease { releaseExpired(now) }
        guard ready > 0 else { return nil }
        var slot = choose(random, key)
        if let avoided {
            var random = random
            var key = key
            // An endpoint with nearly all the weight may come up again and again; a few draws are enough of the others.
            for _ in 0..<4 where table.handle(slot) == avoided {
                random = Draw.next(random)
                key = key.map(Draw.next)
                slot = choose(random, key)
            }
        }
        return table.handle(slot)
    }

    @inline(__always)
    private mutating func choose(_ random: UInt64, _ key: UInt64?) -> Int {
        if policy.algorithm == .maglev, let key { return consistent(key) }
        let isScheduled = policy.algorithm == .roundRobin
        // The draw of the tier must not say anything about the draw in it.
        switch shares.tier(Draw.next(~random)) {
        case .node: return Self.choose(&node, table.loads, isScheduled, random)
        case .zone: return Self.choose(&zone, table.loads, isScheduled, random)
        case .anywhere: return Self.choose(&anywhere, table.loads, isScheduled, random)
        }
    }

    @inline(__always)
    private static func choose(
        _ list: inout TierList, _ loads: UnsafeMutablePointer<EndpointLoad>, _ isScheduled: Bool, _ random: UInt64
    ) -> Int {
        isScheduled ? list.nextTurn(loads) : list.leastLoaded(loads, random)
    }

    /// Who is ejected is passed over by hashing the key again: only its own keys move, and each of them to a place of its
    /// own.
    private func consistent(_ key: UInt64) -> Int {
        var hash = key
        for _ in 0..<32 {
            guard let found = maglev?.slot(hash), found != MaglevTable.none else { break }
            if isPanicking || !table[Int(found)].isEjected { return Int(found) }
            hash = Draw.next(hash)
        }
        // All but a few are ejected. One of these, still by the key.
        let available = UInt64(node.count + zone.count + anywhere.count)
        let index = Int(truncatingIfNeeded: Draw.below(available, Draw.next(hash)))
        if index < node.count { return node.slot(at: index) }
        if index < node.count + zone.count { return zone.slot(at: index - node.count) }
        return anywhere.slot(at: index - node.count - zone.count)
    }

    // MARK: - Use

    /// Where to connect to.
    public func destination(_ handle: EndpointHandle) -> ClusterEndpoint.Identity {
        table[table.slot(of: handle)].identity
    }

    /// Counts a request that goes to an endpoint, until ``end(_:_:now:)``.
    @inline(__always)
    public mutating func begin(_ handle: EndpointHandle) { table[table.slot(of: handle)].activeRequests &+= 1 }

    /// Counts a connection to an endpoint, until ``disconnected(_:)``.
    public mutating func connected(_ handle: EndpointHandle) { table[table.slot(of: handle)].connections &+= 1 }

    public mutating func disconnected(_ handle: EndpointHandle) {
        let slot = table.slot(of: handle)
        precondition(table[slot].connections > 0, "a connection ended twice")
        table[slot].connections &-= 1
        table.releaseIfUnused(slot)
    }

    /// Requests of this worker that are going on at an endpoint.
    public func activeRequests(_ handle: EndpointHandle) -> UInt32 { table[table.slot(of: handle)].activeRequests }

    /// Whether an idle connection to an endpoint may still be used: whether it may get something new.
    public func isReusable(_ handle: EndpointHandle) -> Bool {
        let load = table[table.slot(of: handle)]
        return load.isEligible && (!load.isEjected || isPanicking)
    }

    /// Counts a first try against the retry budget.
    @inline(__always)
    public mutating func countRequest(now: UInt64) { retryBudget.countRequest(now: now) }

    /// Whether a request may be tried once more. If so, ``circuit`` has one more retry until its end.
    public mutating func beginRetry(now: UInt64) -> Bool {
        guard circuit.begin(.retry) else { return false }
        if retryBudget.takeRetry(now: now) { return true }
        circuit.end(.retry)
        return false
    }
}

// SPDX-License-Identifier: Apache-2.0

/// How much of the requests each tier gets, from how many of its endpoints are available.
///
/// A tier is thought to have more endpoints than it needs: with the factor 1.4, which is what the field uses, it keeps
/// all requests until less than 1/1.4 = 71.4 % of its endpoints are available. Below that, it gets 1.4 times its
/// available share, and the next tiers get the rest as far as they can take it. If all together cannot, every tier gets
/// in proportion. https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/priority
struct LocalityShares: Equatable, BitwiseCopyable {
    /// Available endpoints of a tier, and how many it has.
    struct Health: Equatable, BitwiseCopyable {
        var available: UInt32 = 0
        var total: UInt32 = 0
    }

    /// The whole of the requests.
    static let whole: UInt32 = 10_000

    /// The shares of the first, and of the first two tiers, of ``whole``.
    private(set) var first: UInt32 = 0
    private(set) var second: UInt32 = 0

    init() {}

    /// - Parameter overprovisioning: percent, 100 or more.
    init(_ node: Health, _ zone: Health, _ anywhere: Health, overprovisioning: UInt32) {
        let scores = (
            Self.score(node, overprovisioning), Self.score(zone, overprovisioning),
            Self.score(anywhere, overprovisioning)
        )
        let sum = min(UInt64(Self.whole), scores.0 + scores.1 + scores.2)
        guard sum > 0 else { return }
        first = UInt32(min(UInt64(Self.whole), scores.0 * UInt64(Self.whole) / sum))
        second = UInt32(min(UInt64(Self.whole), UInt64(first) + scores.1 * UInt64(Self.whole) / sum))
        // What rounding has left over must not go to a tier that has nothing available.
        if scores.2 == 0 { second = Self.whole }
        if scores.1 == 0, scores.2 == 0 { first = Self.whole }
    }

    private static func score(_ health: Health, _ overprovisioning: UInt32) -> UInt64 {
        guard health.available > 0 else { return 0 }
        let share = UInt64(health.available) * UInt64(overprovisioning) * UInt64(whole) / 100 / UInt64(health.total)
        // Few of very many are still some.
        return min(UInt64(whole), max(share, 1))
    }

    @inline(__always)
    func tier(_ random: UInt64) -> LocalityTier {
        if first == Self.whole { return .node }
        if second == 0 { return .anywhere }
        let draw = UInt32(truncatingIfNeeded: Draw.below(UInt64(Self.whole), random))
        return draw < first ? .node : draw < second ? .zone : .anywhere
    }
}

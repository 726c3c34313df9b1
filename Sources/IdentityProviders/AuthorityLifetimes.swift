// SPDX-License-Identifier: Apache-2.0

import Identity

/// How long the certificates of a local authority live, in seconds.
public struct AuthorityLifetimes: Hashable, Sendable {
    public var leaf: Int64
    public var intermediate: Int64
    public var root: Int64
    /// Between the day that a new root is told to everybody and the day that it signs.
    public var announcement: Int64
    /// Of certificates by which nodes prove themselves to the authority. Longer than that of a pod: a node whose own has
    /// expired needs a new token.
    public var node: Int64

    /// 24 hours, 60 days, 10 years; a new root is known for 7 days before it signs.
    ///
    /// - Parameter node: as a leaf if it is not given: there are no others then.
    public init(
        leaf: Int64 = 86_400, intermediate: Int64 = 60 * 86_400, root: Int64 = 3650 * 86_400,
        announcement: Int64 = 7 * 86_400, node: Int64? = nil
    ) {
        let longest = max(leaf, node ?? leaf)
        precondition(
            leaf > 0 && longest <= intermediate / 2 && intermediate <= root / 4 && announcement <= root / 8,
            "lifetimes: a leaf is at most half as long as an intermediate, that a quarter of a root")
        self.leaf = leaf
        self.intermediate = intermediate
        self.root = root
        self.announcement = announcement
        self.node = node ?? leaf
    }

    /// 7 days for nodes, the rest as usual: of an authority that nodes join.
    public static let shared = AuthorityLifetimes(node: 7 * 86_400)
}

/// What an authority's keeper does next, so that no certificate is ever without a root that everybody knows.
///
/// A root passes three stages: it is known (in the bundle) but does not sign; it signs; it is known but does not sign
/// any more, until what it has signed has expired.
enum AuthorityStep: Hashable {
    /// A root and its intermediate, in use at once: there is none, or the last one has expired.
    case begin
    /// A root that is known, and does not sign yet.
    case announce
    /// The last root signs from now on.
    case activate
    /// An intermediate of the root that signs, in the place of the one before.
    case renewIntermediate
    /// The first root is forgotten.
    case retire

    /// A generation as the decision sees it.
    struct Generation: Hashable {
        var rootMade: UnixTime
        var rootNotAfter: UnixTime
        /// Absent before it signs.
        var intermediateMade: UnixTime?
        var intermediateNotAfter: UnixTime?

        var signs: Bool { intermediateMade != nil }
    }

    /// - Parameter generations: oldest first.
    /// - Returns: what is due, `nil` if nothing is. To be asked again after each step.
    static func next(
        _ generations: [Generation], _ lifetimes: AuthorityLifetimes, at now: UnixTime, isAskedToRotate: Bool
    ) -> AuthorityStep? {
        guard let index = generations.lastIndex(where: \.signs), generations[index].rootNotAfter > now else {
            return .begin
        }
        let signing = generations[index]
        if index > 0 {
            // What the one before has signed lives no longer than this. Of leaves twice as long: a connection that was made
            // just before its other end had a new one carries new tunnels until its own end has the next.
            let expired = (signing.intermediateMade ?? now) + max(2 * lifetimes.leaf, lifetimes.node)
            if now > expired || generations[0].rootNotAfter <= now { return .retire }
        }
        if index < generations.count - 1 {
            let next = generations[index + 1]
            if now >= next.rootMade + lifetimes.announcement { return .activate }
        } else if index == 0, isAskedToRotate || signing.rootNotAfter - now <= lifetimes.root / 4 {
            return .announce
        }
        guard let made = signing.intermediateMade, let notAfter = signing.intermediateNotAfter else { return nil }
        return now - made >= (notAfter - made) / 2 ? .renewIntermediate : nil
    }
}

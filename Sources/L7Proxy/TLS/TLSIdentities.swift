// SPDX-License-Identifier: Apache-2.0

public import Identity
public import TLSEngine

/// Who the pods of this node are, and whom they believe: immutable, exchanged as a whole.
public final class TLSIdentities: Sendable {
    /// Of all states the newest has the highest.
    public let serial: UInt64
    public let svids: [SPIFFEID: X509SVID]
    public let bundles: TrustBundles
    public let profile: TLSProfile

    /// - Parameters:
    ///   - svids: One for each identity; of two the one that expires later is taken.
    ///   - bundles: The object that was there before if nothing in it has changed: what was made with it stays in use, and
    ///     live peers need not be checked again.
    public init(serial: UInt64, svids: [X509SVID], bundles: TrustBundles, profile: TLSProfile = .standard) {
        self.serial = serial
        self.svids = Dictionary(svids.map { ($0.id, $0) }) { one, other in
            one.notAfter < other.notAfter ? other : one
        }
        self.bundles = bundles
        self.profile = profile
    }

    /// Whether an identity of both has another certificate here.
    func renews(_ id: SPIFFEID, of earlier: TLSIdentities) -> Bool {
        guard let one = svids[id], let other = earlier.svids[id] else { return false }
        // An agent that starts may bring the same one again.
        return one !== other && one.chain != other.chain
    }
}

/// The TLS contexts of one worker, made when an identity is first used in a role.
struct TLSContextTable: ~Copyable {
    private struct Key: Hashable {
        let id: SPIFFEID
        let isServer: Bool
    }

    /// Holds a context by reference: a session under way must not move it.
    private final class Entry {
        let svid: X509SVID
        let context: TLSContext

        init(
            _ role: TLSContext.Role, _ svid: X509SVID, _ peers: VerifiedPeers, _ profile: TLSProfile
        ) throws(TLSError) {
            self.svid = svid
            context = try TLSContext(role, svid: svid, trusting: peers, profile: profile)
        }
    }

    private(set) var identities: TLSIdentities?
    /// Of all contexts: by the bundles of ``identities``.
    private(set) var peers: VerifiedPeers?
    private var entries: [Key: Entry] = [:]

    /// Uses `new` for handshakes that begin from now on; sessions go on with what they began with.
    ///
    /// - Returns: Whether live peers must be checked again.
    mutating func publish(_ new: TLSIdentities) -> Bool {
        let old = identities
        identities = new
        if peers?.bundles !== new.bundles { peers = VerifiedPeers(new.bundles) }
        guard let old, old.bundles === new.bundles, old.profile == new.profile else {
            entries = [:]
            return old.map { $0.bundles !== new.bundles } ?? false
        }
        entries = entries.filter { key, entry in new.svids[key.id] === entry.svid }
        return false
    }

    func has(_ id: SPIFFEID) -> Bool { identities?.svids[id] != nil }

    /// A session for a new connection of `id`.
    ///
    /// - Returns: `nil` if there is no certificate of it, or it has expired.
    mutating func session(
        _ role: TLSContext.Role, _ id: SPIFFEID, expecting peer: PeerExpectation, now: UnixTime
    ) throws(TLSError) -> TLSSession? {
        guard let identities, let peers, let svid = identities.svids[id], now <= svid.notAfter else { return nil }
        let key = Key(id: id, isServer: role == .server)
        if let entry = entries[key] { return TLSSession(entry.context, expecting: peer) }
        let entry = try Entry(role, svid, peers, identities.profile)
        entries[key] = entry
        return TLSSession(entry.context, expecting: peer)
    }
}

// SPDX-License-Identifier: Apache-2.0

public import Identity
public import LinuxIO
public import TLSEngine

/// The provider that needs nobody: an authority of this machine, in one file.
///
/// Made on first start: a root, an intermediate that signs leaves, and their keys, in a file that only its owner reads.
/// Keys of leaves are made here and stay in memory. Every change is on the disk before it is told.
public final class LocalAuthority: IdentityProvider {
    /// Most certificates that are made in one call, a few milliseconds; the rest is due at once.
    static let certificatesPerCall = 64
    /// Between two looks at the file of revocation lists, in seconds.
    public static let revocationSeconds: Int64 = 30

    public let trustDomain: TrustDomain
    let lifetimes: AuthorityLifetimes
    let file: AuthorityFile
    private let lock: FileLock?
    /// Oldest first. The last that has an intermediate signs.
    private(set) var generations: [AuthorityGeneration]
    private var table: RenewalTable
    private var updates: [IdentityUpdate] = []
    /// What was told last.
    private var trust: TrustMaterial?
    private var isAskedToRotate = false
    /// Of its own certificates.
    private var trouble: String?
    private var revocations: RevocationFile?
    private var revocationTrouble: String?
    /// Of both, what was told last.
    private var toldTrouble: String?
    /// When the file of revocation lists is read next.
    private var revocationsNext: UnixTime
    public var onNews: () -> Void = {}
    /// When the authority's own certificates are looked at next.
    private var ownNext: UnixTime

    /// Opens the authority of the file at `path`, or makes it.
    ///
    /// - Parameters:
    ///   - revocations: a file of revocation lists, which is read now and then; it need not be there.
    ///   - lock: of the file, held for as long as this lives (``lock(_:)``).
    ///   - random: spreads renewals over time; keys and serial numbers do not depend on it.
    /// - Throws: ``AuthorityFileError`` if there is a file that cannot be used: it is never replaced by a new authority,
    ///   because that would cut every node off.
    public init(
        _ trustDomain: TrustDomain, at path: String, holding lock: consuming FileLock? = nil,
        revocations: String? = nil,
        lifetimes: AuthorityLifetimes = AuthorityLifetimes(), now: UnixTime,
        random: any RandomNumberGenerator = SystemRandomNumberGenerator()
    ) throws(AuthorityFileError) {
        self.trustDomain = trustDomain
        self.lifetimes = lifetimes
        self.lock = lock
        table = RenewalTable(trustDomain, random: random)
        file = AuthorityFile(path: path, trustDomain: trustDomain)
        ownNext = now
        revocationsNext = now
        self.revocations = revocations.map { RevocationFile(path: $0, trustDomain: trustDomain) }
        generations = try file.read() ?? []
        do throws(TLSError) { try lookAfterItself(at: now) } catch {
            throw AuthorityFileError(path: path, reason: "\(error)")
        }
    }

    public var name: String { "local authority \(file.path)" }

    /// The certificates that chains end at, DER: the bundle of the trust domain.
    public var roots: [[UInt8]] { generations.map { $0.root.certificate.der } }

    /// A new root is announced now, takes over when everybody knows it, and the old one goes when nothing of it is left.
    ///
    /// - Precondition: none is under way, see ``isChangingRoot``.
    /// - Throws: ``TLSError`` if it cannot be made, or be kept: it is tried again.
    public func rotateRoot(at now: UnixTime) throws(TLSError) {
        precondition(!isChangingRoot, "one change of root at a time")
        isAskedToRotate = true
        defer { onNews() }
        try lookAfterItself(at: now)
    }

    /// The root that is announced signs from now on. - Precondition: there is one, see ``rootAnnounced``.
    ///
    /// - Throws: ``TLSError`` if that cannot be kept: everything is as before.
    public func useAnnouncedRoot(at now: UnixTime) throws(TLSError) {
        precondition(rootAnnounced != nil, "a root is announced before it signs")
        try take(.activate, at: now)
    }

    /// Another intermediate signs from now on. What the one before has signed is as good as it was.
    ///
    /// - Throws: ``TLSError`` if it cannot be made, or be kept: everything is as before.
    public func renewIntermediate(at now: UnixTime) throws(TLSError) { try take(.renewIntermediate, at: now) }

    /// Since when a root is announced that does not sign yet; `nil`: none is.
    public var rootAnnounced: UnixTime? {
        guard let last = generations.last?.times, !last.signs else { return nil }
        return last.rootMade
    }

    /// Whether a root is announced, or one is kept for what it has signed.
    public var isChangingRoot: Bool { generations.count > 1 }

    public func adopt(_ svids: [X509SVID], _ trust: TrustMaterial?, at now: UnixTime) {
        // Its own roots decide: another authority's certificates are not believed by anybody whom this one serves.
        table.adopt(svids, believedBy: TrustMaterial(roots: [trustDomain: roots]), at: now)
    }

    public func schedule(of id: SPIFFEID) -> RenewalSchedule? { table[id] }

    public func renew(_ identities: Set<SPIFFEID>, at now: UnixTime) { table.renew(identities, at: now) }

    public func request(_ identities: Set<SPIFFEID>) { updates += table.request(identities) }

    public var nextDue: UnixTime {
        if !updates.isEmpty || trust?.roots[trustDomain] != roots { return UnixTime(seconds: 0) }
        let own = revocations == nil ? ownNext : min(ownNext, revocationsNext)
        return min(own, table.nextAttempt ?? own)
    }

    public func advance(to now: UnixTime) -> [IdentityUpdate] {
        if now >= ownNext { try? lookAfterItself(at: now) }
        if now >= revocationsNext { lookForRevocations(at: now) }
        tellTrust()
        tellTrouble()
        for id in table.due(at: now, atMost: Self.certificatesPerCall) {
            do throws(TLSError) {
                if let update = table.obtained(try issue(id, at: now), at: now) { updates.append(update) }
            } catch {
                if let update = table.failed(id, reason: "\(error)", at: now) { updates.append(update) }
            }
        }
        defer { updates = [] }
        return updates
    }

    /// A certificate and its key, made here.
    func issue(_ id: SPIFFEID, at now: UnixTime) throws(TLSError) -> X509SVID {
        let key = try PrivateKey.make()
        let chain = try sign { issuer throws(TLSError) in
            try issuer.makeLeaf(id, holder: key, from: now, until: now + lifetimes.leaf)
        }
        return try X509SVID(chain: chain, key: key)
    }

    /// A certificate for the key of somebody else. Whether that one may have the identity was decided before.
    ///
    /// - Returns: The chain, leaf first, DER.
    func certify(
        _ id: SPIFFEID, for request: borrowing CertificateRequest, lasting seconds: Int64, at now: UnixTime
    ) throws(TLSError) -> [[UInt8]] {
        try sign { issuer throws(TLSError) in
            try issuer.makeLeaf(id, for: request, from: now, until: now + seconds)
        }
    }

    private func sign(
        _ makeLeaf: (borrowing CertificateIssuer) throws(TLSError) -> Certificate
    ) throws(TLSError) -> [[UInt8]] {
        let signing = generations.last { $0.times.signs }
        let chain = try signing?.withIntermediate { issuer throws(TLSError) in
            [try makeLeaf(issuer).der, issuer.certificate.der]
        }
        guard let chain else { throw TLSError("issue a certificate", reason: "no root signs") }
        return chain
    }
}

// MARK: - Its own certificates

extension LocalAuthority {
    /// Takes the steps that are due, and tells the bundle if it has changed.
    private func lookAfterItself(at now: UnixTime) throws(TLSError) {
        // After a failure again in a minute; else in an hour, as steps are days apart.
        ownNext = now + 60
        do throws(TLSError) {
            try takeSteps(at: now)
            trouble = nil
            ownNext = now + min(3600, max(1, lifetimes.leaf / 8))
        } catch {
            trouble = "\(error); what is in use stays in use until it expires"
            throw error
        }
    }

    private func takeSteps(at now: UnixTime) throws(TLSError) {
        while let step = AuthorityStep.next(
            generations.map(\.times), lifetimes, at: now, isAskedToRotate: isAskedToRotate)
        {
            try take(step, at: now)
            if step == .announce { isAskedToRotate = false }
        }
    }

    /// Takes the step, which is on the disk then.
    private func take(_ step: AuthorityStep, at now: UnixTime) throws(TLSError) {
        let next = try generations(after: step, at: now)
        do throws(AuthorityFileError) { try file.write(next) } catch {
            throw TLSError("keep the authority", reason: error.description)
        }
        generations = next
    }

    private func lookForRevocations(at now: UnixTime) {
        revocationsNext = now + Self.revocationSeconds
        do throws(TLSError) {
            try revocations?.look()
            revocationTrouble = nil
        } catch { revocationTrouble = "\(error)" }
    }

    /// Before all else that is told: certificates may need it.
    private func tellTrust() {
        let lists = revocations?.lists ?? []
        let new = TrustMaterial(
            roots: [trustDomain: roots], revocations: lists.isEmpty ? [:] : [trustDomain: lists])
        guard new != trust else { return }
        updates.insert(.trust(new), at: 0)
        trust = new
    }

    private func tellTrouble() {
        let all = [trouble, revocationTrouble].compactMap { $0 }
        let new = all.isEmpty ? nil : all.joined(separator: "; ")
        guard new != toldTrouble else { return }
        updates.append(.trouble(new))
        toldTrouble = new
    }

    private func generations(
        after step: AuthorityStep, at now: UnixTime
    ) throws(TLSError) -> [AuthorityGeneration] {
        var next = generations
        switch step {
        case .begin:
            let root = try makeRoot(at: now)
            let intermediate = try makeIntermediate(of: root, at: now)
            // What has expired is of no use to anybody.
            next.removeAll { $0.times.rootNotAfter <= now || !$0.times.signs }
            next.append(AuthorityGeneration(root: root, intermediate: intermediate))
        case .announce:
            next.append(AuthorityGeneration(root: try makeRoot(at: now), intermediate: nil))
        case .activate:
            let last = next.removeLast()
            next.append(try last.replacing(intermediate: makeIntermediate(of: last.root, at: now)))
        case .renewIntermediate:
            guard let index = next.lastIndex(where: { $0.times.signs }) else { return next }
            next[index] = try next[index].replacing(intermediate: makeIntermediate(of: next[index].root, at: now))
        case .retire: next.removeFirst()
        }
        return next
    }

    private func makeRoot(at now: UnixTime) throws(TLSError) -> CertificateIssuer {
        try CertificateIssuer.makeRoot(trustDomain, from: now, until: now + lifetimes.root)
    }

    private func makeIntermediate(
        of root: borrowing CertificateIssuer, at now: UnixTime
    ) throws(TLSError) -> CertificateIssuer {
        try root.makeIntermediate(trustDomain, from: now, until: now + lifetimes.intermediate)
    }
}

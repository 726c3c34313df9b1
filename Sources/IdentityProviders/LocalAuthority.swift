// SPDX-License-Identifier: Apache-2.0

public import Identity
public import TLSEngine

/// The provider that needs nobody: an authority of this machine, in one file.
///
/// Made on first start: a root, an intermediate that signs leaves, and their keys, in a file that only its owner reads.
/// Keys of leaves are made here and stay in memory. Every change is on the disk before it is told.
public final class LocalAuthority: IdentityProvider {
    /// Most identities that are kept at once; a node has as many as it has service accounts.
    public static let maximumIdentities = 16_384
    /// Most certificates that are made in one call, a few milliseconds; the rest is due at once.
    static let certificatesPerCall = 64
    /// Between two looks at the file of revocation lists, in seconds.
    public static let revocationSeconds: Int64 = 30
    /// How long pods that are not enrolled yet may come back for what an agent before had for them.
    public static let adoptionSeconds: Int64 = 300

    public let trustDomain: TrustDomain
    private let lifetimes: AuthorityLifetimes
    let file: AuthorityFile
    private var random: any RandomNumberGenerator
    /// Oldest first. The last that has an intermediate signs.
    private(set) var generations: [AuthorityGeneration]
    private var schedules: [SPIFFEID: RenewalSchedule] = [:]
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
    /// Of an agent before, until they are requested, or not wanted for long enough.
    private var adopted: [SPIFFEID: X509SVID] = [:]
    private var adoptionEnds = UnixTime(seconds: 0)
    public var onNews: () -> Void = {}
    /// When the authority's own certificates are looked at next.
    private var ownNext: UnixTime

    /// Opens the authority of the file at `path`, or makes it.
    ///
    /// - Parameters:
    ///   - revocations: a file of revocation lists, which is read now and then; it need not be there.
    ///   - random: spreads renewals over time; keys and serial numbers do not depend on it.
    /// - Throws: ``AuthorityFileError`` if there is a file that cannot be used: it is never replaced by a new authority,
    ///   because that would cut every node off.
    public init(
        _ trustDomain: TrustDomain, at path: String, revocations: String? = nil,
        lifetimes: AuthorityLifetimes = AuthorityLifetimes(), now: UnixTime,
        random: any RandomNumberGenerator = SystemRandomNumberGenerator()
    ) throws(AuthorityFileError) {
        self.trustDomain = trustDomain
        self.lifetimes = lifetimes
        self.random = random
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

    /// Whether a root is announced, or one is kept for what it has signed.
    public var isChangingRoot: Bool { generations.count > 1 }

    public func adopt(_ svids: [X509SVID], _ trust: TrustMaterial?, at now: UnixTime) {
        // Its own roots decide: another authority's certificates are not believed by anybody whom this one serves.
        let own = TrustMaterial(roots: [trustDomain: roots])
        for svid in svids where svid.isBelieved(by: own, at: now) { adopted[svid.id] = svid }
        adoptionEnds = now + Self.adoptionSeconds
    }

    public func schedule(of id: SPIFFEID) -> RenewalSchedule? { schedules[id] }

    public func request(_ identities: Set<SPIFFEID>) {
        for id in schedules.keys.sorted() where !identities.contains(id) {
            schedules[id] = nil
            updates.append(.withdrawn(id))
        }
        for id in identities.sorted() where schedules[id] == nil {
            if let reason = refusal(of: id) {
                updates.append(.failed(id, reason: reason, health: .missing(attempts: 0)))
            } else if let svid = adopted.removeValue(forKey: id) {
                schedules[id] = RenewalSchedule(
                    holdingFrom: svid.notBefore + CertificateIssuer.backdating, until: svid.notAfter,
                    random: random.next())
                updates.append(.issued(svid))
            } else {
                schedules[id] = RenewalSchedule(at: UnixTime(seconds: 0))
            }
        }
    }

    private func refusal(of id: SPIFFEID) -> String? {
        if id.trustDomain != trustDomain { return "it is not of the trust domain \(trustDomain)" }
        if id.path.isEmpty { return "it is a trust domain's ID, not a workload's" }
        if schedules.count >= Self.maximumIdentities {
            return "there are \(schedules.count) identities; that is the limit"
        }
        return nil
    }

    public var nextDue: UnixTime {
        if !updates.isEmpty || trust?.roots[trustDomain] != roots { return UnixTime(seconds: 0) }
        let own = revocations == nil ? ownNext : min(ownNext, revocationsNext)
        return schedules.values.reduce(own) { min($0, $1.nextAttempt) }
    }

    public func advance(to now: UnixTime) -> [IdentityUpdate] {
        if now >= adoptionEnds { adopted = [:] }
        if now >= ownNext { try? lookAfterItself(at: now) }
        if now >= revocationsNext { lookForRevocations(at: now) }
        tellTrust()
        tellTrouble()
        for id in schedules.filter({ $0.value.isDue(at: now) }).keys.sorted().prefix(Self.certificatesPerCall) {
            guard var schedule = schedules[id] else { continue }
            renew(id, &schedule, at: now)
            schedules[id] = schedule
        }
        defer { updates = [] }
        return updates
    }

    private func renew(_ id: SPIFFEID, _ schedule: inout RenewalSchedule, at now: UnixTime) {
        do throws(TLSError) {
            let svid = try issue(id, at: now)
            schedule.succeeded(at: now, notAfter: svid.notAfter, random: random.next())
            updates.append(.issued(svid))
        } catch {
            schedule.failed(at: now, random: random.next())
            updates.append(.failed(id, reason: "\(error)", health: schedule.health(at: now)))
        }
    }

    private func issue(_ id: SPIFFEID, at now: UnixTime) throws(TLSError) -> X509SVID {
        let key = try PrivateKey.make()
        let signing = generations.last { $0.times.signs }
        let chain = try signing?.withIntermediate { issuer throws(TLSError) in
            let leaf = try issuer.makeLeaf(id, holder: key, from: now, until: now + lifetimes.leaf)
            return [leaf.der, issuer.certificate.der]
        }
        guard let chain else { throw TLSError("issue a certificate", reason: "no root signs") }
        return try X509SVID(chain: chain, key: key)
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
            let next = try generations(after: step, at: now)
            do throws(AuthorityFileError) { try file.write(next) } catch {
                throw TLSError("keep the authority", reason: error.description)
            }
            generations = next
            if step == .announce { isAskedToRotate = false }
        }
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

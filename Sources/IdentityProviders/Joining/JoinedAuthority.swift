// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
public import Identity
public import LinuxIO
public import TLSEngine

/// The provider of a node that has joined an authority of another machine (`meshctl ca serve`).
///
/// The first contact exchanges the token of the join file for a certificate of the node; from then on both ends prove who
/// they are. Keys are made here and stay here: pods' in memory, the node's own in the state directory.
public final class JoinedAuthority: IdentityProvider {
    /// Between two looks at whom to believe, in seconds; revocations are in force on all nodes after that.
    public static let trustSeconds: Int64 = 30
    /// Most certificates that are asked for at once; the rest follows at once.
    static let certificatesPerExchange = 64
    /// Pause of a node that has asked more than it may, in seconds of a clock without fractions: a whole one at least.
    static let busySeconds: Int64 = 2

    public let trustDomain: TrustDomain
    public let name: String
    public var onNews: () -> Void = {}

    private let node: String
    private let joinFile: String
    private let loop: EventLoop
    /// The endpoint that a text means.
    private let endpoint: (String) -> StreamEndpoint?
    private let clock: () -> UnixTime
    private var random: any RandomNumberGenerator
    private var credentials: NodeCredentials
    private var table: RenewalTable
    /// When the authority is asked again whom to believe.
    private var contact: RenewalSchedule
    /// Of the node's own certificate.
    private var renewal: RenewalSchedule
    private var exchange: AuthorityExchange?
    /// Until when the rest of what was asked for waits, because it was too much at once.
    private var resumesAt = UnixTime(seconds: 0)
    private var updates: [IdentityUpdate] = []
    private var toldTrouble: String?
    /// Why the disk does not have what is believed; `nil`: it has.
    private var trustTrouble: String?

    /// - Parameters:
    ///   - joinFile: of `meshctl ca token`. It is read again before each attempt to join.
    ///   - directory: for the node's own key and certificate.
    ///   - endpoint: makes an address and port of a text.
    /// - Throws: ``JoinError``: the file is not for this node and this trust domain, or what is in the directory is
    ///   damaged.
    public init(
        _ trustDomain: TrustDomain, node: String, joinFile: String, keepingIn directory: String, on loop: EventLoop,
        endpoint: @escaping (String) -> StreamEndpoint?, clock: @escaping () -> UnixTime = { .now },
        random: any RandomNumberGenerator = SystemRandomNumberGenerator()
    ) throws(JoinError) {
        self.trustDomain = trustDomain
        self.node = node
        self.joinFile = joinFile
        self.loop = loop
        self.endpoint = endpoint
        self.clock = clock
        self.random = random
        table = RenewalTable(trustDomain, random: random)
        contact = RenewalSchedule(at: UnixTime(seconds: 0))
        renewal = RenewalSchedule(at: UnixTime(seconds: 0))
        credentials = try NodeCredentials(in: directory, trustDomain)
        let file = try Self.checked(joinFile, node, trustDomain, endpoint).file
        name = "certificate authority \(file.authority)"
        if let svid = credentials.svid {
            renewal = RenewalSchedule(
                holdingFrom: svid.notBefore + CertificateIssuer.backdating, until: svid.notAfter,
                random: self.random.next())
        }
        if let trust = credentials.trust { updates.append(.trust(trust)) }
    }

    private static func checked(
        _ path: String, _ node: String, _ trustDomain: TrustDomain, _ endpoint: (String) -> StreamEndpoint?
    ) throws(JoinError) -> (file: JoinFile, endpoint: StreamEndpoint) {
        let file = try JoinFile.read(path)
        guard file.node == node else {
            throw JoinError(
                "\(path): it is for node \(file.node), and this is \(node): meshctl ca token \(node) makes one")
        }
        guard file.trustDomain == trustDomain else {
            throw JoinError(
                "\(path): the authority's trust domain is \(file.trustDomain), this node's \(trustDomain): give "
                    + "--trust-domain \(file.trustDomain)")
        }
        guard let address = endpoint(file.authority) else {
            throw JoinError("\(path): '\(file.authority)' is no address with a port")
        }
        return (file, address)
    }

    // MARK: - What is wanted

    public func adopt(_ svids: [X509SVID], _ trust: TrustMaterial?, at now: UnixTime) {
        // What the authority has said last was kept when it was said: it is as new as what a proxy has.
        guard let own = credentials.trust else { return }
        table.adopt(svids, believedBy: own, at: now)
    }

    public func schedule(of id: SPIFFEID) -> RenewalSchedule? { table[id] }

    /// The node's own certificate too: what it was signed by is about to go, mostly.
    public func renew(_ identities: Set<SPIFFEID>, at now: UnixTime) {
        table.renew(identities, at: now)
        renewal.hasten(to: now)
        contact.hasten(to: now)
    }

    public func request(_ identities: Set<SPIFFEID>) { updates += table.request(identities) }

    public var nextDue: UnixTime {
        if !updates.isEmpty { return UnixTime(seconds: 0) }
        // News come when the exchange has ended.
        return exchange == nil ? nextExchange : UnixTime(seconds: .max / 2)
    }

    private var nextExchange: UnixTime {
        // While the authority gives nothing, its back-off is that of everything.
        if isFailing { return contact.nextAttempt }
        let due = min(contact.nextAttempt, renewal.nextAttempt, table.nextAttempt ?? contact.nextAttempt)
        return max(due, resumesAt)
    }

    public func advance(to now: UnixTime) -> [IdentityUpdate] {
        if exchange == nil, nextExchange <= now { begin(at: now) }
        defer { updates = [] }
        return updates
    }

    /// Whether the last contact has failed.
    private var isFailing: Bool {
        if case .missing(let attempts) = contact.health(at: clock()) { attempts > 0 } else { false }
    }

    // MARK: - Exchanges

    private func begin(at now: UnixTime) {
        do throws(JoinError) {
            let (file, address) = try Self.checked(joinFile, node, trustDomain, endpoint)
            if let svid = credentials.svid, svid.notAfter > now {
                let first = TrustMaterial(trustDomain, roots: file.roots, revocations: [])
                try ask(svid, credentials.trust ?? first, address, at: now)
            } else {
                try join(file, address)
            }
        } catch { fail(error.description, at: now) }
    }

    private func join(_ file: JoinFile, _ address: StreamEndpoint) throws(JoinError) {
        let key = credentials.key
        let call = AuthorityCall.join(token: file.token, node: node, request: try Self.request(for: key))
        // Whom the operator has said, whatever another authority may have said before.
        let trust = TrustMaterial(trustDomain, roots: file.roots, revocations: [])
        try start([call], as: nil, trust, address) { provider, answers, now throws(JoinError) in
            try provider.takeNodeCertificate(answers.first, key, trust, at: now)
            // What was believed before may be of an authority, or of a root, that is gone.
            provider.believe(trust)
            // The rest is asked for at once.
            provider.contact = RenewalSchedule(at: now)
        }
    }

    private func ask(
        _ svid: X509SVID, _ trust: TrustMaterial, _ address: StreamEndpoint, at now: UnixTime
    ) throws(JoinError) {
        var calls = [AuthorityCall.trust]
        var nodeKey: NodeCredentials.SharedKey?
        if renewal.isDue(at: now) {
            let key = try Self.makeKey()
            calls.append(.renew(request: try Self.request(for: key)))
            nodeKey = key
        }
        var wanted: [(id: SPIFFEID, key: NodeCredentials.SharedKey)] = []
        for id in table.due(at: now, atMost: Self.certificatesPerExchange, alsoFailing: isFailing) {
            let key = try Self.makeKey()
            calls.append(.issue(identity: id.description, request: try Self.request(for: key)))
            wanted.append((id, key))
        }
        let identities = wanted
        let renewalKey = nodeKey
        try start(calls, as: svid, trust, address) { provider, answers, now throws(JoinError) in
            var rest = answers[...]
            let known = try provider.takeTrust(rest.popFirst())
            provider.contact = RenewalSchedule(at: now + Self.trustSeconds)
            var trouble = provider.trustTrouble
            if let renewalKey, let answer = provider.next(&rest, at: now) {
                do throws(JoinError) {
                    try provider.takeNodeCertificate(answer, renewalKey, known, at: now)
                } catch {
                    provider.renewal.failed(at: now, random: provider.random.next())
                    trouble =
                        "this node's own certificate, which is valid until \(svid.notAfter), is not renewed: \(error)"
                }
            }
            for (id, key) in identities {
                guard let answer = provider.next(&rest, at: now) else { break }
                provider.take(answer, id, key, known, at: now)
            }
            provider.tell(trouble: trouble)
        }
    }

    private func start(
        _ calls: [AuthorityCall], as svid: X509SVID?, _ trust: TrustMaterial, _ address: StreamEndpoint,
        _ take: @escaping (JoinedAuthority, [AuthorityAnswer], UnixTime) throws(JoinError) -> Void
    ) throws(JoinError) {
        let bundles: TrustBundles
        let authority: SPIFFEID
        do throws(TLSError) { bundles = try trust.bundles() } catch { throw JoinError("\(error)") }
        do throws(SPIFFEIDError) { authority = try MeshMember.authority(trustDomain) } catch {
            throw JoinError("\(error)")
        }
        do throws(AuthorityExchange.Failure) {
            exchange = try AuthorityExchange(
                calls, to: address, as: svid, trusting: bundles, expecting: authority, on: loop
            ) { [weak self] outcome in
                // Not while the exchange calls: it goes with this.
                self?.loop.enqueue { [weak self] in self?.finish(outcome, take) }
            }
        } catch { throw JoinError(error.reason) }
    }

    private func finish(
        _ outcome: AuthorityExchange.Outcome,
        _ take: (JoinedAuthority, [AuthorityAnswer], UnixTime) throws(JoinError) -> Void
    ) {
        exchange = nil
        switch outcome {
        case .success(let answers):
            do throws(JoinError) { try take(self, answers, clock()) } catch { fail(error.description, at: clock()) }
        case .failure(let failure): fail(failure.reason, at: clock())
        }
        onNews()
    }

    /// The authority gives nothing to anybody: all that waits for it fails with the same reason.
    private func fail(_ reason: String, at now: UnixTime) {
        let pending = table.due(at: now, atMost: .max)
        contact.failed(at: now, random: random.next())
        contact.hasten(to: now + Self.trustSeconds)
        let text = "\(name) gives nothing: \(reason)"
        updates += pending.compactMap { table.failed($0, reason: text, at: now) }
        tell(trouble: text + (credentials.svid == nil ? "; this node has not joined" : ""))
    }

    private func tell(trouble: String?) {
        guard trouble != toldTrouble else { return }
        toldTrouble = trouble
        updates.append(.trouble(trouble))
    }

    // MARK: - Answers

    /// The next answer; `nil`: the authority has answered no more, because it was asked too much at once. What is left is
    /// as due as it was, and is asked for again after a pause.
    private func next(_ rest: inout ArraySlice<AuthorityAnswer>, at now: UnixTime) -> AuthorityAnswer? {
        if let answer = rest.popFirst(), !answer.isBusy { return answer }
        resumesAt = now + Self.busySeconds
        return nil
    }

    /// - Returns: Whom to believe from now on.
    private func takeTrust(_ answer: AuthorityAnswer?) throws(JoinError) -> TrustMaterial {
        guard case .trust(let roots, let revocations) = answer else { throw Self.refusal(answer) }
        let new = TrustMaterial(
            trustDomain, roots: roots.map { [UInt8]($0) }, revocations: revocations.map { [UInt8]($0) })
        do throws(TLSError) { _ = try new.bundles() } catch { throw JoinError("what it says cannot be used: \(error)") }
        guard !roots.isEmpty else { throw JoinError("it says that nobody is to be believed") }
        believe(new)
        return new
    }

    /// From now on. A disk that does not take it is told, and tried again at the next contact: until then a restart of the
    /// agent would go back to what was believed before.
    private func believe(_ new: TrustMaterial) {
        if new != credentials.trust { updates.append(.trust(new)) }
        do throws(JoinError) {
            try credentials.take(new)
            trustTrouble = nil
        } catch { trustTrouble = "whom to believe is not on the disk: \(error)" }
    }

    private func takeNodeCertificate(
        _ answer: AuthorityAnswer?, _ key: NodeCredentials.SharedKey, _ trust: TrustMaterial, at now: UnixTime
    ) throws(JoinError) {
        let id: SPIFFEID
        do throws(SPIFFEIDError) { id = try MeshMember.node(node, trustDomain) } catch { throw JoinError("\(error)") }
        let svid = try Self.certificate(answer, of: id, key, trust, at: now)
        try credentials.take(key, svid)
        renewal.succeeded(at: now, notAfter: svid.notAfter, random: random.next())
    }

    private func take(
        _ answer: AuthorityAnswer?, _ id: SPIFFEID, _ key: NodeCredentials.SharedKey, _ trust: TrustMaterial,
        at now: UnixTime
    ) {
        do throws(JoinError) {
            let svid = try Self.certificate(answer, of: id, key, trust, at: now)
            if let update = table.obtained(svid, at: now) { updates.append(update) }
        } catch {
            if let update = table.failed(id, reason: error.description, at: now) { updates.append(update) }
        }
    }

    private static func certificate(
        _ answer: AuthorityAnswer?, of id: SPIFFEID, _ key: NodeCredentials.SharedKey, _ trust: TrustMaterial,
        at now: UnixTime
    ) throws(JoinError) -> X509SVID {
        guard case .certificate(let chain) = answer else { throw refusal(answer) }
        do throws(TLSError) {
            let svid = try X509SVID(chain: chain.map { [UInt8]($0) }, key: key.key.share())
            guard svid.id == id else {
                throw TLSError("use a certificate", reason: "it is of \(svid.id), not of \(id)")
            }
            guard svid.isBelieved(by: trust, at: now) else {
                throw TLSError(
                    "use a certificate", reason: "the authority's own roots do not believe it; check the clocks")
            }
            return svid
        } catch { throw JoinError("\(error)") }
    }

    private static func refusal(_ answer: AuthorityAnswer?) -> JoinError {
        guard case .refused(_, let reason) = answer else { return JoinError("its answer is to another question") }
        return JoinError(reason)
    }

    private static func request(for key: NodeCredentials.SharedKey) throws(JoinError) -> Data {
        do throws(TLSError) { return Data(try CertificateRequest.make(for: key.key)) } catch {
            throw JoinError("\(error)")
        }
    }

    private static func makeKey() throws(JoinError) -> NodeCredentials.SharedKey {
        do throws(TLSError) { return NodeCredentials.SharedKey(try PrivateKey.make()) } catch {
            throw JoinError("\(error)")
        }
    }
}

@available(*, unavailable)
extension JoinedAuthority: Sendable {}

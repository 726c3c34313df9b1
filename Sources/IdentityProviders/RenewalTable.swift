// SPDX-License-Identifier: Apache-2.0

import Identity
import TLSEngine

/// The identities that are wanted of a provider, when the certificate of each is renewed, and what an agent before had.
///
/// Decides only; providers obtain certificates in different ways.
struct RenewalTable {
    /// Most identities that are kept at once; a node has as many as it has service accounts.
    static let maximumIdentities = 16_384
    /// How long pods that are not enrolled yet may come back for what an agent before had for them.
    static let adoptionSeconds: Int64 = 300

    private let trustDomain: TrustDomain
    private var random: any RandomNumberGenerator
    private var schedules: [SPIFFEID: RenewalSchedule] = [:]
    /// Of an agent before, until they are requested, or not wanted for long enough.
    private var adopted: [SPIFFEID: X509SVID] = [:]
    private var adoptionEnds = UnixTime(seconds: 0)

    init(_ trustDomain: TrustDomain, random: any RandomNumberGenerator) {
        self.trustDomain = trustDomain
        self.random = random
    }

    subscript(id: SPIFFEID) -> RenewalSchedule? { schedules[id] }

    /// When the first of them is due; `nil` if none is wanted.
    var nextAttempt: UnixTime? { schedules.values.lazy.map(\.nextAttempt).min() }

    /// The next certificates of those that are wanted are due now.
    mutating func renew(_ identities: Set<SPIFFEID>, at now: UnixTime) {
        for id in identities { schedules[id]?.hasten(to: now) }
    }

    /// - Parameter trust: by which certificates of an agent before are still good.
    mutating func adopt(_ svids: [X509SVID], believedBy trust: TrustMaterial, at now: UnixTime) {
        for svid in svids where svid.isBelieved(by: trust, at: now) { adopted[svid.id] = svid }
        adoptionEnds = now + Self.adoptionSeconds
    }

    /// Replaces the set of what is wanted. - Returns: What there is to say about it at once.
    mutating func request(_ identities: Set<SPIFFEID>) -> [IdentityUpdate] {
        var updates: [IdentityUpdate] = []
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
        return updates
    }

    private func refusal(of id: SPIFFEID) -> String? {
        if id.trustDomain != trustDomain { return "it is not of the trust domain \(trustDomain)" }
        if id.path.isEmpty { return "it is a trust domain's ID, not a workload's" }
        if schedules.count >= Self.maximumIdentities {
            return "there are \(schedules.count) identities; that is the limit"
        }
        return nil
    }

    /// In order.
    ///
    /// - Parameter alsoFailing: those too that wait for their next attempt after a failure: its cause may be gone.
    mutating func due(at now: UnixTime, atMost limit: Int, alsoFailing: Bool = false) -> [SPIFFEID] {
        if now >= adoptionEnds { adopted = [:] }
        let due = schedules.filter { $0.value.isDue(at: now) || alsoFailing && $0.value.health(at: now) != .current }
        return Array(due.keys.sorted().prefix(limit))
    }

    /// - Returns: `nil` if it is not wanted any more.
    mutating func obtained(_ svid: X509SVID, at now: UnixTime) -> IdentityUpdate? {
        guard schedules[svid.id] != nil else { return nil }
        schedules[svid.id]?.succeeded(at: now, notAfter: svid.notAfter, random: random.next())
        return .issued(svid)
    }

    /// - Returns: `nil` if it is not wanted any more.
    mutating func failed(_ id: SPIFFEID, reason: String, at now: UnixTime) -> IdentityUpdate? {
        guard var schedule = schedules[id] else { return nil }
        schedule.failed(at: now, random: random.next())
        schedules[id] = schedule
        return .failed(id, reason: reason, health: schedule.health(at: now))
    }
}

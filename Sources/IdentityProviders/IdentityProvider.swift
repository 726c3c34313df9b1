// SPDX-License-Identifier: Apache-2.0

public import Identity
public import TLSEngine

/// Where identities come from, shaped like the SPIFFE Workload and Broker APIs: one says which identities are wanted,
/// and gets updates, each of which replaces all that was said before about its subject.
///
/// Belongs to one thread, that of the agent. Does nothing by itself: it is called when something is due.
public protocol IdentityProvider: AnyObject {
    /// The trust domain whose identities it gives.
    var trustDomain: TrustDomain { get }

    /// What an operator calls it: `local authority /var/lib/sockmesh/n1/authority.pem`.
    var name: String { get }

    /// Called, from the provider's thread, when ``advance(to:)`` has something to say before ``nextDue``.
    var onNews: () -> Void { get set }

    /// Takes over what an agent before had, before anything is requested: what is still good for the provider is used
    /// when it is requested, and renewed when it is time.
    ///
    /// - Parameter trust: whom that agent believed; of use only while the provider cannot be asked.
    func adopt(_ svids: [X509SVID], _ trust: TrustMaterial?, at now: UnixTime)

    /// When an identity that is wanted is renewed, and how that goes; `nil` for one that is not wanted.
    func schedule(of id: SPIFFEID) -> RenewalSchedule?

    /// Obtains the next certificates of these now, instead of when it would be time. Those that are not wanted are passed
    /// over; what fails is tried again as ever.
    func renew(_ identities: Set<SPIFFEID>, at now: UnixTime)

    /// Replaces the set of the identities that are wanted. What is not of the trust domain, or not a workload's, is
    /// answered with ``IdentityUpdate/failed(_:reason:health:)``.
    func request(_ identities: Set<SPIFFEID>)

    /// When ``advance(to:)`` is to be called at the latest.
    var nextDue: UnixTime { get }

    /// Does what is due: obtains certificates, looks after its own.
    ///
    /// - Returns: What has changed since the last call, in order: a bundle before the certificates that need it.
    func advance(to now: UnixTime) -> [IdentityUpdate]
}

/// What a provider has to say.
public enum IdentityUpdate: Sendable {
    /// Whom to trust from now on.
    case trust(TrustMaterial)
    /// An identity's certificate, the first or a newer one.
    case issued(X509SVID)
    /// An identity's certificate is not to be used any more: the identity is not wanted now.
    case withdrawn(SPIFFEID)
    /// No certificate could be obtained. The last one, if there is one, stays in use until it expires.
    case failed(SPIFFEID, reason: String, health: RenewalSchedule.Health)
    /// The provider itself has a problem that an operator must remedy; `nil`: it has none any more.
    case trouble(String?)
}

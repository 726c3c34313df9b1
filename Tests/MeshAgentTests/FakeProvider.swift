// SPDX-License-Identifier: Apache-2.0

import Identity
import IdentityProviders
import TLSEngine

/// A provider that does what a test says: gives certificates of a root in memory, or fails.
final class FakeProvider: IdentityProvider {
    let trustDomain: TrustDomain
    let name = "a provider of the tests"
    var onNews: () -> Void = {}
    var wanted: Set<SPIFFEID> = []
    var adopted: [X509SVID] = []
    var renewed: Set<SPIFFEID> = []
    /// Said once by the next `advance`.
    var news: [IdentityUpdate] = []
    var schedules: [SPIFFEID: RenewalSchedule] = [:]
    private let issuer: CertificateIssuer

    init() throws {
        trustDomain = try TrustDomain("mesh.test")
        issuer = try CertificateIssuer.makeRoot(trustDomain, from: Self.start, until: Self.start + 1_000_000)
    }

    static let start = UnixTime(seconds: 1_780_272_000)

    var trust: TrustMaterial { TrustMaterial(roots: [trustDomain: [issuer.certificate.der]]) }

    func svid(_ id: SPIFFEID, lasting seconds: Int64 = 1000) throws -> X509SVID {
        let key = try PrivateKey.make()
        let leaf = try issuer.makeLeaf(id, holder: key, from: Self.start, until: Self.start + seconds)
        return try X509SVID(chain: [leaf.der], key: key)
    }

    func adopt(_ svids: [X509SVID], _ trust: TrustMaterial?, at now: UnixTime) { adopted += svids }
    func renew(_ identities: Set<SPIFFEID>, at now: UnixTime) { renewed.formUnion(identities) }
    func schedule(of id: SPIFFEID) -> RenewalSchedule? { schedules[id] }
    func request(_ identities: Set<SPIFFEID>) { wanted = identities }
    var nextDue: UnixTime { UnixTime(seconds: .max / 2) }

    func advance(to now: UnixTime) -> [IdentityUpdate] {
        defer { news = [] }
        return news
    }
}

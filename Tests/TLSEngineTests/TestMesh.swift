// SPDX-License-Identifier: Apache-2.0

import Identity
import TLSEngine

/// A trust domain with a root, an intermediate and as many workloads as a test wants.
final class TestMesh {
    /// Of all tests: no certificate of theirs depends on when they run.
    static let now = UnixTime(seconds: 1_780_272_000)

    let domain: TrustDomain
    let bundles: TrustBundles
    private let root: CertificateIssuer
    private let intermediate: CertificateIssuer

    init(_ name: String = "mesh.test", alsoTrusting others: [TestMesh] = [], from now: UnixTime = TestMesh.now) throws {
        domain = try TrustDomain(name)
        root = try CertificateIssuer.makeRoot(domain, from: now, until: now + 86_400 * 365)
        intermediate = try root.makeIntermediate(domain, from: now, until: now + 86_400 * 30)
        var all = [domain: [root.certificate.der]]
        for other in others { all[other.domain, default: []].append(other.root.certificate.der) }
        bundles = try TrustBundles(all)
    }

    var rootDER: [UInt8] { root.certificate.der }

    func id(_ account: String) throws -> SPIFFEID {
        try SPIFFEID(domain, namespace: "shop", serviceAccount: account)
    }

    func svid(
        _ account: String, from: UnixTime = TestMesh.now, until: UnixTime = TestMesh.now + 86_400,
        key: consuming PrivateKey? = nil
    ) throws -> X509SVID {
        let key = try key ?? PrivateKey.make()
        let leaf = try intermediate.makeLeaf(try id(account), holder: key, from: from, until: until)
        return try X509SVID(chain: [leaf.der, intermediate.certificate.der], key: key)
    }

    func context(
        _ role: TLSContext.Role, _ svid: X509SVID, profile: TLSProfile = .standard
    ) throws -> TLSContext {
        try TLSContext(role, svid: svid, trusting: bundles, profile: profile)
    }
}

// SPDX-License-Identifier: Apache-2.0

public import Identity
public import TLSEngine

/// Whom to believe, and whom not any more, as DER: what is passed on.
public struct TrustMaterial: Hashable, Sendable {
    /// Certificates that chains end at.
    public var roots: [TrustDomain: [[UInt8]]]
    /// Revocation lists of the authorities of a trust domain.
    public var revocations: [TrustDomain: [[UInt8]]]

    public init(roots: [TrustDomain: [[UInt8]]], revocations: [TrustDomain: [[UInt8]]] = [:]) {
        self.roots = roots
        self.revocations = revocations
    }

    /// - Throws: ``TLSError`` that names the certificate that cannot be used.
    public func bundles() throws(TLSError) -> TrustBundles {
        try TrustBundles(roots, revocations: revocations)
    }
}

extension X509SVID {
    /// Whether `trust` believes it at that time.
    func isBelieved(by trust: TrustMaterial, at now: UnixTime) -> Bool {
        guard let bundles = try? trust.bundles() else { return false }
        let verdict = SVIDVerifier.verify(
            chain: chain, usage: .client, at: now, trusting: bundles, expecting: .anyOf([id]))
        return (try? verdict.get()) != nil
    }
}

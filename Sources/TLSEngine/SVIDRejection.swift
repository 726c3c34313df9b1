// SPDX-License-Identifier: Apache-2.0

internal import COpenSSL
public import Identity

/// Why a certificate, or the one who shows it, is not accepted.
public enum SVIDRejection: Error, Hashable, Sendable {
    // The leaf alone (X509-SVID sections 2 to 5.2).
    case noCertificate
    /// An extension of the leaf cannot be read.
    case unreadable
    case noURI
    case severalURIs(Int)
    case identity(SPIFFEIDError)
    case authority
    case signingKeyUsage(String)
    case noDigitalSignature
    /// `serverAuth`, `clientAuth`: which of them an extended key usage that is there leaves out.
    case missingUsage(String)

    // Its path (RFC 5280 section 6).
    /// No bundle of this trust domain is known: it is none that we trust.
    case unknownTrustDomain(TrustDomain)
    case longChain(Int)
    case notYetValid(from: UnixTime)
    case expired(at: UnixTime)
    /// - Parameter depth: 0 is the leaf, 1 its issuer.
    case path(reason: String, code: Int32, depth: Int)
    /// Its issuer has taken it back.
    case revoked(serial: String, depth: Int)

    // Who it is.
    /// - Parameter expected: how many other identities would have been accepted, and the first of them.
    case otherIdentity(SPIFFEID, expected: SPIFFEID?, count: Int)
    case otherTrustDomain(SPIFFEID, expected: TrustDomain)

    /// What OpenSSL is told, from which it chooses the alert to the peer (RFC 8446 section 6.2).
    var code: CInt {
        switch self {
        case .path(_, let code, _): code
        case .notYetValid: X509_V_ERR_CERT_NOT_YET_VALID
        case .expired: X509_V_ERR_CERT_HAS_EXPIRED
        case .revoked: X509_V_ERR_CERT_REVOKED
        case .unknownTrustDomain: X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY
        case .longChain: X509_V_ERR_CERT_CHAIN_TOO_LONG
        case .otherIdentity, .otherTrustDomain: X509_V_ERR_APPLICATION_VERIFICATION
        case .missingUsage, .noDigitalSignature, .signingKeyUsage: X509_V_ERR_INVALID_PURPOSE
        case .noCertificate, .unreadable, .noURI, .severalURIs, .identity, .authority: X509_V_ERR_CERT_REJECTED
        }
    }
}

extension SVIDRejection: CustomStringConvertible {
    public var description: String {
        switch self {
        case .noCertificate: "there is no certificate"
        case .unreadable: "an extension of the certificate cannot be read, or is there twice"
        case .noURI: "the certificate has no URI name; a SPIFFE certificate has exactly one"
        case .severalURIs(let count): "the certificate has \(count) URI names; a SPIFFE certificate has exactly one"
        case .identity(let error): "the certificate's URI name is not a workload's SPIFFE ID: \(error)"
        case .authority: "the certificate may sign others; only a leaf says who somebody is"
        case .signingKeyUsage(let usage): "the certificate's key usage has \(usage), which a leaf must not have"
        case .noDigitalSignature: "the certificate's key usage lacks digitalSignature"
        case .missingUsage(let usage): "the certificate's extended key usage lacks \(usage)"
        case .unknownTrustDomain(let domain): "the trust domain \(domain) is not known here; there is no bundle of it"
        case .longChain(let count):
            "the chain has \(count) certificates; the limit is \(SVIDVerifier.maximumChain)"
        case .notYetValid(let time): "the certificate is not valid before \(time); check both clocks"
        case .expired(let time): "the certificate expired at \(time)"
        case .path(let reason, _, let depth):
            "\(reason) (certificate \(depth) of the chain, 0 is the leaf; only the bundle of its trust domain counts)"
        case .revoked(let serial, let depth):
            "the certificate with the serial number \(serial) is revoked (certificate \(depth) of the chain, 0 is the leaf)"
        case .otherIdentity(let id, let expected, let count):
            "the peer is \(id), expected was \(expected.map(String.init(describing:)) ?? "nobody")"
                + (count > 1 ? " or one of \(count - 1) others" : "")
        case .otherTrustDomain(let id, let expected): "the peer is \(id), not of the trust domain \(expected)"
        }
    }
}

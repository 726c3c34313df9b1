// SPDX-License-Identifier: Apache-2.0

internal import COpenSSL
public import Identity

/// A certificate that signs, with its key: a root, or an intermediate.
public struct CertificateIssuer: ~Copyable, Sendable {
    public let certificate: Certificate
    public let key: PrivateKey

    /// Certificates begin this many seconds before they are made, for peers whose clocks are behind.
    public static let backdating: Int64 = 300

    /// - Throws: ``TLSError`` if the key is not the certificate's, or the certificate may not sign.
    public init(certificate: consuming Certificate, key: consuming PrivateKey) throws(TLSError) {
        guard key.belongs(to: certificate) else {
            throw TLSError("use a signing certificate", reason: "the private key is not the certificate's")
        }
        guard certificate.isAuthority else {
            throw TLSError("use a signing certificate", reason: "the certificate does not say that it may sign")
        }
        self.certificate = certificate
        self.key = key
    }

    /// Makes a root: self-signed, with the ID of the trust domain.
    public static func makeRoot(
        _ trustDomain: TrustDomain, from now: UnixTime, until notAfter: UnixTime
    ) throws(TLSError) -> CertificateIssuer {
        let key = try PrivateKey.make()
        let draft = try CertificateDraft.make(from: now - backdating, until: notAfter)
        try draft.setName(trustDomain, kind: "root")
        try draft.setKey(key.key)
        try draft.addAuthorityExtensions(trustDomain, pathLength: nil, issuer: draft.x509)
        return try CertificateIssuer(certificate: draft.sign(with: key), key: key)
    }

    /// Makes an intermediate, which may sign leaves and no further authorities.
    public func makeIntermediate(
        _ trustDomain: TrustDomain, from now: UnixTime, until notAfter: UnixTime
    ) throws(TLSError) -> CertificateIssuer {
        let intermediateKey = try PrivateKey.make()
        let draft = try CertificateDraft.make(from: now - Self.backdating, until: min(notAfter, certificate.notAfter))
        try draft.setName(trustDomain, kind: "intermediate")
        try draft.setIssuer(certificate)
        try draft.setKey(intermediateKey.key)
        try draft.addAuthorityExtensions(trustDomain, pathLength: 0, issuer: certificate.x509)
        return try CertificateIssuer(certificate: draft.sign(with: key), key: intermediateKey)
    }

    /// Makes a leaf, as X509-SVID sections 3 and 4 want it: no subject, one URI, `digitalSignature`, both usages.
    ///
    /// - Parameters:
    ///   - id: of a workload. It comes from whoever decides who may have it, never from a request.
    ///   - holder: whose public half is certified.
    ///   - notAfter: at most; never later than this issuer's own.
    public func makeLeaf(
        _ id: SPIFFEID, holder: borrowing PrivateKey, from now: UnixTime, until notAfter: UnixTime
    ) throws(TLSError) -> Certificate {
        try makeLeaf(id, publicKey: holder.key, from: now, until: notAfter)
    }

    /// Makes a leaf for somebody who has proved that it has the key (``CertificateRequest``).
    public func makeLeaf(
        _ id: SPIFFEID, for request: borrowing CertificateRequest, from now: UnixTime, until notAfter: UnixTime
    ) throws(TLSError) -> Certificate {
        try makeLeaf(id, publicKey: request.publicKey, from: now, until: notAfter)
    }

    /// - Parameter publicKey: EVP_PKEY, lent.
    private func makeLeaf(
        _ id: SPIFFEID, publicKey: OpaquePointer, from now: UnixTime, until notAfter: UnixTime
    ) throws(TLSError) -> Certificate {
        guard !id.path.isEmpty else {
            throw TLSError("issue a certificate", reason: "\(id) is a trust domain's ID, not a workload's")
        }
        let draft = try CertificateDraft.make(from: now - Self.backdating, until: min(notAfter, certificate.notAfter))
        try draft.setIssuer(certificate)
        try draft.setKey(publicKey)
        try draft.add(NID_basic_constraints, "critical,CA:FALSE", issuer: certificate.x509)
        try draft.add(NID_key_usage, "critical,digitalSignature", issuer: certificate.x509)
        try draft.add(NID_ext_key_usage, "serverAuth,clientAuth", issuer: certificate.x509)
        try draft.add(NID_authority_key_identifier, "keyid:always", issuer: certificate.x509)
        // Critical, because there is no subject (RFC 5280 section 4.1.2.6).
        try draft.add(NID_subject_alt_name, "critical,URI:\(id)", issuer: certificate.x509)
        return try draft.sign(with: key)
    }
}

/// A certificate while it is being made.
private struct CertificateDraft: ~Copyable {
    let x509: OpaquePointer
    private let serial: UInt64

    private init(adopting x509: OpaquePointer, serial: UInt64) {
        self.x509 = x509
        self.serial = serial
    }

    static func make(from notBefore: UnixTime, until notAfter: UnixTime) throws(TLSError) -> CertificateDraft {
        ERR_clear_error()
        guard notBefore < notAfter else {
            throw TLSError("issue a certificate", reason: "it would expire at \(notAfter), before it begins")
        }
        // Positive, not zero, and 126 bits that nobody can guess (RFC 5280 section 4.1.2.2).
        var number: (UInt64, UInt64) = (0, 0)
        let isRandom = withUnsafeMutableBytes(of: &number) { bytes in
            RAND_bytes(bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), CInt(bytes.count)) == 1
        }
        guard isRandom, let x509 = X509_new() else { throw TLSError("issue a certificate") }
        let draft = CertificateDraft(adopting: x509, serial: number.1)
        let hasSerial = withUnsafeMutableBytes(of: &number) { bytes in
            bytes[0] = bytes[0] & 0x7f | 0x40
            let integer = BN_bin2bn(bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), CInt(bytes.count), nil)
            defer { BN_free(integer) }
            return BN_to_ASN1_INTEGER(integer, X509_get_serialNumber(x509)) != nil
        }
        guard hasSerial, X509_set_version(x509, Int(X509_VERSION_3)) == 1,
            ASN1_TIME_set(X509_getm_notBefore(x509), time_t(notBefore.seconds)) != nil,
            ASN1_TIME_set(X509_getm_notAfter(x509), time_t(notAfter.seconds)) != nil
        else { throw TLSError("issue a certificate") }
        return draft
    }

    deinit { X509_free(x509) }

    /// Subject and, until ``setIssuer(_:)``, issuer: unlike any other's, so that a chain can be found by name.
    func setName(_ trustDomain: TrustDomain, kind: String) throws(TLSError) {
        let name = X509_get_subject_name(x509)
        // X.520 allows 64 characters.
        let organization = String(trustDomain.name.prefix(64))
        guard X509_NAME_add_entry_by_txt(name, "O", MBSTRING_FLAG | 1, organization, -1, -1, 0) == 1,
            X509_NAME_add_entry_by_txt(
                name, "CN", MBSTRING_FLAG | 1, "\(kind) \(String(serial, radix: 16))", -1, -1, 0) == 1,
            X509_set_issuer_name(x509, name) == 1
        else { throw TLSError("name a certificate") }
    }

    func setIssuer(_ certificate: borrowing Certificate) throws(TLSError) {
        guard X509_set_issuer_name(x509, X509_get_subject_name(certificate.x509)) == 1 else {
            throw TLSError("name a certificate's issuer")
        }
    }

    func setKey(_ key: OpaquePointer) throws(TLSError) {
        guard X509_set_pubkey(x509, key) == 1 else { throw TLSError("put a key into a certificate") }
    }

    func addAuthorityExtensions(
        _ trustDomain: TrustDomain, pathLength: Int?, issuer: OpaquePointer
    ) throws(TLSError) {
        try add(
            NID_basic_constraints, "critical,CA:TRUE" + (pathLength.map { ",pathlen:\($0)" } ?? ""), issuer: issuer)
        try add(NID_key_usage, "critical,keyCertSign,cRLSign", issuer: issuer)
        try add(NID_subject_key_identifier, "hash", issuer: issuer)
        try add(NID_authority_key_identifier, "keyid:always", issuer: issuer)
        try add(NID_subject_alt_name, "URI:\(SPIFFEID(trustDomain))", issuer: issuer)
    }

    func add(_ kind: CInt, _ value: String, issuer: OpaquePointer) throws(TLSError) {
        guard mesh_x509_add_extension(x509, issuer, kind, value) == 1 else {
            throw TLSError("put an extension into a certificate")
        }
    }

    consuming func sign(with key: borrowing PrivateKey) throws(TLSError) -> Certificate {
        guard X509_sign(x509, key.key, EVP_sha256()) > 0 else { throw TLSError("sign a certificate") }
        return Certificate(sharing: x509)
    }
}

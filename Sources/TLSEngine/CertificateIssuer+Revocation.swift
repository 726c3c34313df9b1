// SPDX-License-Identifier: Apache-2.0

internal import COpenSSL
public import Identity

/// The serial number of a certificate, in hexadecimal digits.
public struct CertificateSerial: Hashable, Sendable, CustomStringConvertible {
    /// RFC 5280 section 4.1.2.2: 20 bytes.
    static let maximumDigits = 40

    /// As `openssl x509 -serial` has it: upper case, whole bytes.
    public let description: String

    /// - Parameter text: also with `0x`, or with colons between bytes, as other tools write it.
    /// - Returns: `nil` if it is no positive number of at most 20 bytes.
    public init?(_ text: some StringProtocol) {
        var digits = text.uppercased().filter { $0 != ":" }[...]
        if digits.hasPrefix("0X") { digits = digits.dropFirst(2) }
        digits = digits.drop { $0 == "0" }
        guard (1...Self.maximumDigits).contains(digits.count),
            digits.utf8.allSatisfy({ (0x30...0x39).contains($0) || (0x41...0x46).contains($0) })
        else { return nil }
        description = (digits.count % 2 == 0 ? "" : "0") + digits
    }
}

extension CertificateIssuer {
    /// Whether the certificate is one that this has signed.
    public func hasSigned(_ other: borrowing Certificate) -> Bool {
        ERR_clear_error()
        let isNamed = X509_NAME_cmp(X509_get_issuer_name(other.x509), X509_get_subject_name(certificate.x509)) == 0
        return isNamed && X509_verify(other.x509, key.key) == 1
    }

    /// Whether a revocation list is this issuer's, by name and signature.
    ///
    /// - Parameter list: DER.
    public func hasSigned(list: [UInt8]) -> Bool {
        guard let list = try? RevocationList(der: list) else { return false }
        return list.isSigned(by: certificate.x509)
    }

    /// Takes certificates back: a revocation list (RFC 5280 section 5) with what is in `list`, and with these.
    ///
    /// It says that the next one comes when the issuer itself has expired, as this one counts until then.
    ///
    /// - Parameters:
    ///   - list: DER; this issuer's last one, if there is one.
    /// - Returns: DER.
    public func revoke(
        _ serials: [CertificateSerial], adding list: [UInt8]?, at now: UnixTime
    ) throws(TLSError) -> [UInt8] {
        let draft = try RevocationDraft(copying: list)
        for serial in serials { try draft.add(serial, at: now) }
        return try draft.sign(by: self, at: now)
    }
}

/// A revocation list while it is being made.
private struct RevocationDraft: ~Copyable {
    private static let operation = "make a revocation list"
    private let crl: OpaquePointer

    init(copying list: [UInt8]?) throws(TLSError) {
        ERR_clear_error()
        let crl =
            list?.withUnsafeBufferPointer { bytes in
                var next = bytes.baseAddress
                return d2i_X509_CRL(nil, &next, bytes.count)
            } ?? (list == nil ? X509_CRL_new() : nil)
        guard let crl else { throw TLSError(Self.operation) }
        self.crl = crl
    }

    deinit { X509_CRL_free(crl) }

    func add(_ serial: CertificateSerial, at now: UnixTime) throws(TLSError) {
        var number: OpaquePointer?
        guard BN_hex2bn(&number, serial.description) > 0, let number else { throw TLSError(Self.operation) }
        defer { BN_free(number) }
        guard let integer = BN_to_ASN1_INTEGER(number, nil) else { throw TLSError(Self.operation) }
        defer { ASN1_INTEGER_free(integer) }
        var found: OpaquePointer?
        switch X509_CRL_get0_by_serial(crl, &found, integer) {
        case 0: break
        case 1: return  // It stays as it was first said.
        default:
            throw TLSError(
                Self.operation, reason: "the list has \(serial) taken off again (removeFromCRL): mend it first")
        }
        guard let entry = X509_REVOKED_new() else { throw TLSError(Self.operation) }
        guard let time = ASN1_TIME_set(nil, time_t(now.seconds)) else {
            X509_REVOKED_free(entry)
            throw TLSError(Self.operation)
        }
        defer { ASN1_TIME_free(time) }
        guard X509_REVOKED_set_serialNumber(entry, integer) == 1, X509_REVOKED_set_revocationDate(entry, time) == 1,
            X509_CRL_add0_revoked(crl, entry) == 1
        else {
            X509_REVOKED_free(entry)
            throw TLSError(Self.operation)
        }
    }

    consuming func sign(by issuer: borrowing CertificateIssuer, at now: UnixTime) throws(TLSError) -> [UInt8] {
        // A version that counts up, as RFC 5280 section 5.2.3 wants it: the time does.
        guard let made = ASN1_TIME_set(nil, time_t(now.seconds)),
            let next = ASN1_TIME_set(nil, time_t(issuer.certificate.notAfter.seconds)),
            let number = ASN1_INTEGER_new(), let key = AUTHORITY_KEYID_new()
        else { throw TLSError(Self.operation) }
        key.pointee.keyid = ASN1_OCTET_STRING_dup(X509_get0_subject_key_id(issuer.certificate.x509))
        defer {
            AUTHORITY_KEYID_free(key)
            ASN1_TIME_free(made)
            ASN1_TIME_free(next)
            ASN1_INTEGER_free(number)
        }
        guard X509_CRL_set_version(crl, Int(X509_CRL_VERSION_2)) == 1,
            X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer.certificate.x509)) == 1,
            X509_CRL_set1_lastUpdate(crl, made) == 1, X509_CRL_set1_nextUpdate(crl, next) == 1,
            ASN1_INTEGER_set_int64(number, now.seconds) == 1,
            X509_CRL_add1_ext_i2d(crl, NID_crl_number, UnsafeMutableRawPointer(number), 0, UInt(X509V3_ADD_REPLACE))
                == 1,
            X509_CRL_add1_ext_i2d(
                crl, NID_authority_key_identifier, UnsafeMutableRawPointer(key), 0, UInt(X509V3_ADD_REPLACE)) == 1,
            X509_CRL_sort(crl) == 1, X509_CRL_sign(crl, issuer.key.key, EVP_sha256()) > 0
        else { throw TLSError(Self.operation) }
        let count = Int(i2d_X509_CRL(crl, nil))
        guard count > 0 else { throw TLSError(Self.operation) }
        guard count <= RevocationList.maximumBytes else {
            throw TLSError(
                Self.operation,
                reason:
                    "it would have \(count) bytes; the limit is \(RevocationList.maximumBytes): change the intermediate"
            )
        }
        return [UInt8](unsafeUninitializedCapacity: count) { buffer, used in
            var place = buffer.baseAddress
            used = Int(i2d_X509_CRL(crl, &place))
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

internal import COpenSSL
public import Identity

/// Certificates that their issuer has taken back (RFC 5280 section 5).
///
/// Safe to use from several threads: OpenSSL sorts a list under a lock when it is first asked, and nothing else changes.
final class RevocationList: @unchecked Sendable {
    /// Largest list that is read, in bytes of DER: some ten thousand certificates.
    static let maximumBytes = 512 << 10

    /// X509_CRL.
    private let crl: OpaquePointer

    /// - Throws: ``TLSError``, also if bytes follow the list.
    init(der: [UInt8]) throws(TLSError) {
        let operation = "read a revocation list"
        guard der.count <= Self.maximumBytes else {
            throw TLSError(operation, reason: "it has \(der.count) bytes; the limit is \(Self.maximumBytes)")
        }
        ERR_clear_error()
        var used = 0
        let crl = der.withUnsafeBufferPointer { bytes in
            var next = bytes.baseAddress
            let read = d2i_X509_CRL(nil, &next, bytes.count)
            if let next, let start = bytes.baseAddress { used = next - start }
            return read
        }
        guard let crl else { throw TLSError(operation) }
        guard used == der.count else {
            X509_CRL_free(crl)
            throw TLSError(operation, reason: "\(der.count - used) bytes follow it")
        }
        self.crl = crl
    }

    deinit { X509_CRL_free(crl) }

    /// When the issuer's next list was to come; `nil` if it does not say.
    var nextUpdate: UnixTime? { X509_CRL_get0_nextUpdate(crl).flatMap { UnixTime($0) } }

    /// Whether the list is of this issuer and names the certificate. One that is out of date counts all the same: what
    /// was taken back stays so. The signature is checked last, as few certificates come so far.
    ///
    /// - Parameters:
    ///   - certificate: X509, lent.
    ///   - issuer: The same.
    func revokes(_ certificate: OpaquePointer, of issuer: OpaquePointer) -> Bool {
        guard isNamed(after: issuer) else { return false }
        var entry: OpaquePointer?
        // 2: taken off the list again (removeFromCRL).
        guard X509_CRL_get0_by_cert(crl, &entry, certificate) == 1 else { return false }
        return isVerified(by: issuer)
    }

    /// Whether the list is of this issuer, and its signature too.
    ///
    /// - Parameter issuer: X509, lent.
    func isSigned(by issuer: OpaquePointer) -> Bool { isNamed(after: issuer) && isVerified(by: issuer) }

    private func isNamed(after issuer: OpaquePointer) -> Bool {
        X509_NAME_cmp(X509_CRL_get_issuer(crl), X509_get_subject_name(issuer)) == 0
    }

    private func isVerified(by issuer: OpaquePointer) -> Bool {
        X509_get0_pubkey(issuer).map { X509_CRL_verify(crl, $0) == 1 } ?? false
    }
}

/// What a revocation list says about itself.
public enum RevocationDates {
    /// When the next one was to come (RFC 5280 section 5.1.2.5).
    ///
    /// - Parameter list: DER.
    /// - Returns: `nil` if it does not say, or is none.
    public static func nextUpdate(of list: [UInt8]) -> UnixTime? { (try? RevocationList(der: list))?.nextUpdate }
}

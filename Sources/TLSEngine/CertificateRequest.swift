// SPDX-License-Identifier: Apache-2.0

internal import COpenSSL

/// A request for a certificate (PKCS #10, RFC 2986): a public key, and the proof that whoever asks has the private one.
///
/// It names nobody: who is certified is decided by what the asker has proved otherwise.
public struct CertificateRequest: ~Copyable {
    /// Largest request that is read, in bytes of DER; one for a key on P-256 has about 200.
    public static let maximumBytes = 4 << 10

    /// X509_REQ.
    private let request: OpaquePointer

    /// Makes the request of a key.
    ///
    /// - Returns: DER.
    public static func make(for key: borrowing PrivateKey) throws(TLSError) -> [UInt8] {
        ERR_clear_error()
        guard let request = X509_REQ_new() else { throw TLSError("make a certificate request") }
        defer { X509_REQ_free(request) }
        guard X509_REQ_set_version(request, Int(X509_REQ_VERSION_1)) == 1,
            X509_REQ_set_pubkey(request, key.key) == 1, X509_REQ_sign(request, key.key, EVP_sha256()) > 0
        else { throw TLSError("make a certificate request") }
        let count = Int(i2d_X509_REQ(request, nil))
        guard count > 0 else { throw TLSError("make a certificate request") }
        return [UInt8](unsafeUninitializedCapacity: count) { buffer, used in
            var next = buffer.baseAddress
            used = Int(i2d_X509_REQ(request, &next))
        }
    }

    /// Reads a request, and checks the proof.
    ///
    /// - Throws: ``TLSError``, also if the key is not on the curve P-256, or bytes follow the request.
    public init(der: [UInt8]) throws(TLSError) {
        let operation = "read a certificate request"
        guard der.count <= Self.maximumBytes else {
            throw TLSError(operation, reason: "it has \(der.count) bytes; the limit is \(Self.maximumBytes)")
        }
        ERR_clear_error()
        var used = 0
        let request = der.withUnsafeBufferPointer { bytes in
            var next = bytes.baseAddress
            let read = d2i_X509_REQ(nil, &next, bytes.count)
            if let next, let start = bytes.baseAddress { used = next - start }
            return read
        }
        guard let request else { throw TLSError(operation) }
        do throws(TLSError) {
            guard used == der.count else {
                throw TLSError(operation, reason: "\(der.count - used) bytes follow it")
            }
            guard let key = X509_REQ_get0_pubkey(request) else { throw TLSError(operation) }
            // Before the signature is checked: what other keys would cost is not for the asker to choose.
            guard mesh_key_is_p256(key) == 1 else {
                throw TLSError(operation, reason: "its key is not an ECDSA key on the curve P-256")
            }
            guard X509_REQ_verify(request, key) == 1 else {
                ERR_clear_error()
                throw TLSError(operation, reason: "its signature is not of its own key")
            }
        } catch {
            X509_REQ_free(request)
            throw error
        }
        self.request = request
    }

    deinit { X509_REQ_free(request) }

    /// EVP_PKEY. Lent for as long as the request lives.
    var publicKey: OpaquePointer {
        guard let key = X509_REQ_get0_pubkey(request) else { preconditionFailure("the key was read before") }
        return key
    }

    /// SHA-256 of the public key's DER, in lower-case hexadecimal: names it among all keys.
    public var keyFingerprint: String {
        let key = publicKey
        let count = Int(i2d_PUBKEY(key, nil))
        precondition(count > 0, "a key that was read can be written")
        let der = [UInt8](unsafeUninitializedCapacity: count) { buffer, used in
            var next = buffer.baseAddress
            used = Int(i2d_PUBKEY(key, &next))
        }
        return SecureDigest.sha256(der)
    }
}

// SPDX-License-Identifier: Apache-2.0

internal import COpenSSL

/// What records of a cipher suite of TLS 1.3 are made with (RFC 8446 appendix B.4).
struct TLSSuite {
    /// EVP_CIPHER and EVP_MD, of the process.
    let cipher: OpaquePointer
    let digest: OpaquePointer
    let keyBytes: Int
    /// Of a secret, and of the digest.
    let secretBytes: Int
    /// What makes the records in place of OpenSSL.
    let wide: WideGCM?

    /// - Parameters:
    ///   - id: As in the hello: `0x1301`.
    ///   - wide: What makes records of AES-GCM; `nil`: OpenSSL.
    /// - Returns: `nil` for a suite whose records we do not make.
    init?(id: UInt16, wide: WideGCM?) {
        let (cipher, digest): (OpaquePointer?, OpaquePointer?)
        switch id {
        case 0x1301: (cipher, digest, keyBytes) = (Ciphers.all.aes128, EVP_sha256(), 16)
        case 0x1302: (cipher, digest, keyBytes) = (Ciphers.all.aes256, EVP_sha384(), 32)
        case 0x1303: (cipher, digest, keyBytes) = (Ciphers.all.chacha20, EVP_sha256(), 32)
        default: return nil
        }
        guard let cipher, let digest else { return nil }
        self.cipher = cipher
        self.digest = digest
        self.wide = id == 0x1303 ? nil : wide
        secretBytes = Int(EVP_MD_get_size(digest))
    }

    /// - Parameter name: OpenSSL's, as in ``TLSProfile/cipherSuites``.
    /// - Returns: Whether we make records of the suite. The suites of CCM are none of them.
    static func isMade(_ name: Substring) -> Bool {
        ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"].contains(name)
    }

    /// Whether OpenSSL's configuration leaves it to OpenSSL by what code AES-GCM is made.
    static var isOfDefaultProvider: Bool {
        [Ciphers.all.aes128, Ciphers.all.aes256].allSatisfy { cipher in
            cipher.flatMap { EVP_CIPHER_get0_provider($0) }.flatMap { OSSL_PROVIDER_get0_name($0) }
                .map { String(cString: $0) } == "default"
        }
    }

    /// Found once for the process: OpenSSL would look for them each time.
    private struct Ciphers: @unchecked Sendable {
        /// Never changes after it was made, and nor does what it has.
        static let all = Ciphers()

        let aes128 = EVP_CIPHER_fetch(nil, "AES-128-GCM", nil)
        let aes256 = EVP_CIPHER_fetch(nil, "AES-256-GCM", nil)
        let chacha20 = EVP_CIPHER_fetch(nil, "ChaCha20-Poly1305", nil)
    }
}

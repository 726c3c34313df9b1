// SPDX-License-Identifier: Apache-2.0

internal import COpenSSL

/// A private key, made or read here, that cannot be printed: it has no text, and cannot be copied into something that
/// has one.
///
/// OpenSSL wipes it when its last owner goes; ``TLSLibrary/keepKeysApart(bytes:)`` keeps it out of swap and core files.
/// Safe to use from several threads: OpenSSL counts the references atomically, and nothing here changes a key.
public struct PrivateKey: ~Copyable, @unchecked Sendable {
    let key: OpaquePointer

    /// Takes ownership.
    private init(adopting key: OpaquePointer) { self.key = key }

    /// Makes an ECDSA key on the curve P-256.
    public static func make() throws(TLSError) -> PrivateKey {
        ERR_clear_error()
        guard let key = mesh_key_new_p256() else { throw TLSError("make a private key") }
        return PrivateKey(adopting: key)
    }

    /// Reads PKCS #8, not encrypted (RFC 5208). The caller wipes the bytes.
    ///
    /// - Throws: ``TLSError``, also if bytes follow the key.
    public init(pkcs8: UnsafeRawBufferPointer) throws(TLSError) {
        ERR_clear_error()
        var next = pkcs8.baseAddress?.assumingMemoryBound(to: UInt8.self)
        let start = next
        guard let info = d2i_PKCS8_PRIV_KEY_INFO(nil, &next, pkcs8.count) else { throw TLSError("read a private key") }
        defer { PKCS8_PRIV_KEY_INFO_free(info) }
        guard let start, let next, next - start == pkcs8.count else {
            throw TLSError("read a private key", reason: "bytes follow it")
        }
        guard let key = EVP_PKCS82PKEY(info) else { throw TLSError("read a private key") }
        self.key = key
    }

    deinit { EVP_PKEY_free(key) }

    /// Another reference to the same key.
    public func share() -> PrivateKey {
        EVP_PKEY_up_ref(key)
        return PrivateKey(adopting: key)
    }

    /// Lends the key as PKCS #8, for a file that nobody else reads or for the process that takes over. The bytes are
    /// wiped when `body` returns.
    public func withPKCS8<Value, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Value
    ) throws(Failure) -> Value {
        guard let info = EVP_PKEY2PKCS8(key) else { preconditionFailure("a key that was made can be written") }
        defer { PKCS8_PRIV_KEY_INFO_free(info) }
        var bytes: UnsafeMutablePointer<UInt8>?
        let count = Int(i2d_PKCS8_PRIV_KEY_INFO(info, &bytes))
        guard count > 0, let bytes else { preconditionFailure("a key that was made can be written") }
        defer { mesh_wipe_free(bytes, count) }
        return try body(UnsafeRawBufferPointer(start: bytes, count: count))
    }

    /// Whether this is the key of `certificate`.
    public func belongs(to certificate: borrowing Certificate) -> Bool {
        ERR_clear_error()
        let answer = X509_check_private_key(certificate.x509, key) == 1
        ERR_clear_error()
        return answer
    }
}

// SPDX-License-Identifier: Apache-2.0

internal import COpenSSL

/// Digests, and bytes that nobody can guess.
public enum SecureDigest {
    /// SHA-256, in lower-case hexadecimal.
    public static func sha256(_ bytes: [UInt8]) -> String {
        var digest = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
        var count: UInt32 = 0
        let isDone = EVP_Digest(bytes, bytes.count, &digest, &count, EVP_sha256(), nil) == 1
        precondition(isDone, "SHA-256 needs nothing but memory")
        return hexadecimal(digest[..<Int(count)])
    }

    /// - Throws: ``TLSError`` if the random generator has no seed.
    public static func randomBytes(_ count: Int) throws(TLSError) -> [UInt8] {
        ERR_clear_error()
        var bytes = [UInt8](repeating: 0, count: count)
        guard RAND_priv_bytes(&bytes, CInt(count)) == 1 else { throw TLSError("draw random bytes") }
        return bytes
    }

    /// Two digits for each byte.
    public static func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
        bytes.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
    }
}

// SPDX-License-Identifier: Apache-2.0

internal import COpenSSL

/// The OpenSSL library of this process.
public enum TLSLibrary {
    /// Loads what OpenSSL would load when it is first needed: its configuration, its algorithms, the random generator.
    ///
    /// To be called by a process that gives its rights up, before it does: they are files.
    ///
    /// - Throws: ``TLSError`` if OpenSSL's own configuration cannot be used.
    public static func prepare() throws(TLSError) {
        ERR_clear_error()
        guard OPENSSL_init_ssl(UInt64(OPENSSL_INIT_LOAD_CONFIG), nil) == 1, RAND_status() == 1 else {
            throw TLSError("load OpenSSL")
        }
    }

    /// The library's version, as it says it: `OpenSSL 3.0.19 27 Jan 2026`.
    public static var version: String { String(cString: OpenSSL_version(OPENSSL_VERSION)) }

    public enum SecureHeap: Sendable {
        /// Private keys are kept apart, never swapped out, never in a core file, wiped when they go.
        case locked
        /// The same, but mlock(2) was refused, so that they may be swapped out: raise RLIMIT_MEMLOCK.
        case unlocked
        /// Not available. Keys are in the ordinary heap; they are still wiped.
        case refused
    }

    /// Sets a heap for private keys apart. To be called once, before the first key.
    ///
    /// - Parameter bytes: A power of two. When it is full, keys and handshakes are refused, which
    ///   ``keptApartBytes`` warns of.
    public static func keepKeysApart(bytes: Int = 1 << 20) -> SecureHeap {
        precondition(bytes > 0 && bytes & (bytes - 1) == 0, "the size of the secure heap must be a power of two")
        if CRYPTO_secure_malloc_initialized() == 1 { return .locked }
        switch CRYPTO_secure_malloc_init(bytes, 32) {
        case 1: return .locked
        case 2: return .unlocked
        default: return .refused
        }
    }

    /// Bytes of the secure heap that are in use; 0 without one.
    public static var keptApartBytes: Int {
        // OpenSSL 3.0 takes a lock that only a secure heap has.
        CRYPTO_secure_malloc_initialized() == 1 ? CRYPTO_secure_used() : 0
    }
}

// SPDX-License-Identifier: Apache-2.0

internal import COpenSSL

extension TLSLibrary {
    /// How well private keys are kept.
    public enum KeyMemory: Hashable, Sendable {
        /// Never swapped, never in a core file, wiped when freed.
        case locked
        /// The same, but the system does not let the process lock memory.
        case unlocked
    }

    /// Bytes that hold some ten thousand keys of P-256.
    public static let usualKeyBytes = 1 << 20

    /// From now on, private keys that are made or read lie in memory of their own, between pages that nobody can touch.
    ///
    /// To be called once, before the first key: one that exists stays where it is. When it is full, no further key can
    /// be made.
    ///
    /// - Parameter bytes: a power of two.
    /// - Throws: ``TLSError`` if there is no memory.
    @discardableResult
    public static func keepKeysApart(bytes: Int = usualKeyBytes) throws(TLSError) -> KeyMemory {
        if CRYPTO_secure_malloc_initialized() == 1 { return .locked }
        ERR_clear_error()
        switch CRYPTO_secure_malloc_init(bytes, 32) {
        case 1: return .locked
        case 2: return .unlocked
        default: throw TLSError("set memory for private keys apart", otherwise: "there is no memory")
        }
    }
}

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
}

// SPDX-License-Identifier: Apache-2.0

internal import COpenSSL
import Identity

/// The rules for a leaf certificate alone (X509-SVID sections 2, 3.1, 4 and 5.2).
enum SVIDLeaf {
    /// - Returns: The one identity, of a workload, of a certificate that may say who somebody is.
    static func identity(of leaf: OpaquePointer) -> Result<SPIFFEID, SVIDRejection> {
        // Reads the extensions; their flags are not valid before.
        X509_check_purpose(leaf, -1, 0)
        let flags = X509_get_extension_flags(leaf)
        if flags & UInt32(EXFLAG_INVALID) != 0 { return .failure(.unreadable) }
        if flags & UInt32(EXFLAG_CA) != 0 { return .failure(.authority) }
        if let rejection = usageRejection(leaf, flags) { return .failure(rejection) }
        return identityByName(leaf)
    }

    private static func usageRejection(_ leaf: OpaquePointer, _ flags: UInt32) -> SVIDRejection? {
        if flags & UInt32(EXFLAG_KUSAGE) != 0 {
            let usage = X509_get_key_usage(leaf)
            if usage & UInt32(KU_KEY_CERT_SIGN) != 0 { return .signingKeyUsage("keyCertSign") }
            if usage & UInt32(KU_CRL_SIGN) != 0 { return .signingKeyUsage("cRLSign") }
            if usage & UInt32(KU_DIGITAL_SIGNATURE) == 0 { return .noDigitalSignature }
        }
        if flags & UInt32(EXFLAG_XKUSAGE) != 0 {
            let usage = X509_get_extended_key_usage(leaf)
            if usage & UInt32(XKU_SSL_SERVER) == 0 { return .missingUsage("serverAuth") }
            if usage & UInt32(XKU_SSL_CLIENT) == 0 { return .missingUsage("clientAuth") }
        }
        return nil
    }

    private static func identityByName(_ leaf: OpaquePointer) -> Result<SPIFFEID, SVIDRejection> {
        CertificateURIs.read(leaf).flatMap { uris in
            guard uris.count <= 1 else { return .failure(.severalURIs(uris.count)) }
            guard let uri = uris.first else { return .failure(.noURI) }
            do throws(SPIFFEIDError) {
                let id = try SPIFFEID(uri)
                guard !id.path.isEmpty else { throw SPIFFEIDError.noPath(uri.utf8.count) }
                return .success(id)
            } catch {
                return .failure(.identity(error))
            }
        }
    }
}

/// The URI names of a certificate (RFC 5280 section 4.2.1.6).
enum CertificateURIs {
    /// Every byte that is not ASCII, which a URI must not have, becomes U+FFFD: no SPIFFE ID has it either. With their
    /// whole lengths: a NUL ends nothing.
    static func read(_ certificate: OpaquePointer) -> Result<[String], SVIDRejection> {
        var found: CInt = 0
        ERR_clear_error()
        defer { ERR_clear_error() }
        guard let names = mesh_x509_names(certificate, &found) else {
            return found == -1 ? .success([]) : .failure(.unreadable)
        }
        defer { GENERAL_NAMES_free(names) }
        var uris: [String] = []
        for index in 0..<mesh_names_count(names) {
            guard let name = mesh_names_uri(names, index) else { continue }
            uris.append(
                String(
                    decoding: UnsafeBufferPointer(
                        start: ASN1_STRING_get0_data(name), count: Int(ASN1_STRING_length(name))), as: UTF8.self))
        }
        return .success(uris)
    }
}

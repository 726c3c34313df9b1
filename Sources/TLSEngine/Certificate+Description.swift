// SPDX-License-Identifier: Apache-2.0

internal import COpenSSL

extension Certificate {
    /// The serial number in hexadecimal, without leading zeros: as `openssl x509 -serial` has it.
    public var serial: String {
        guard let number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(x509), nil) else { return "" }
        defer { BN_free(number) }
        guard let text = BN_bn2hex(number) else { return "" }
        defer { mesh_free(text) }
        return String(cString: text)
    }

    /// SHA-256 of its DER, in lower-case hexadecimal: names it among all certificates.
    public var fingerprint: String {
        var digest = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
        var count: UInt32 = 0
        guard X509_digest(x509, EVP_sha256(), &digest, &count) == 1 else { return "" }
        return SecureDigest.hexadecimal(digest[..<Int(count)])
    }
}

extension X509SVID {
    /// Of the leaf.
    public var serial: String { leaf.serial }
}

extension PEMWriter {
    /// Certificates one after another.
    ///
    /// - Parameter certificates: DER.
    public static func text(_ certificates: [[UInt8]]) -> String {
        var text: [UInt8] = []
        for der in certificates { der.withUnsafeBytes { write("CERTIFICATE", $0, to: &text) } }
        return String(decoding: text, as: UTF8.self)
    }
}

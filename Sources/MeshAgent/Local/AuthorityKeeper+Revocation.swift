// SPDX-License-Identifier: Apache-2.0

import Identity
import IdentityProviders
import LinuxIO
public import MeshAdmin
import TLSEngine

extension AuthorityKeeper {
    /// Takes certificates back. Whoever keeps the authority reads the lists within half a minute.
    ///
    /// - Parameters:
    ///   - serials: in hexadecimal.
    ///   - certificates: paths of PEM files, of each of which the first certificate counts.
    /// - Throws: ``AdminError``; nothing has changed then.
    public func revoke(serials: [String], certificates: [String]) throws(AdminError) -> RevocationReport {
        try LocalNode.requireRoot("take a certificate back")
        // Keys may be read: the authority's are, and a file may have one beside its certificate.
        _ = try readAuthority()
        var subjects: [RevocationSubject] = []
        for text in serials {
            guard let serial = CertificateSerial(text) else {
                throw AdminError(
                    .invalidRequest, "\(text) is no serial number: up to 40 hexadecimal digits",
                    hint: "meshctl identity lists those of a node's certificates")
            }
            subjects.append(.serial(serial))
        }
        for path in certificates { subjects.append(.certificate(try Self.certificate(path))) }
        do throws(RevocationRefusal) {
            let done = try LocalAuthority.revoke(
                subjects, of: configuration.file, configuration.trustDomain, in: configuration.revocationFile, at: .now)
            return RevocationReport(
                file: configuration.revocationFile,
                revoked: done.map {
                    .init(serial: $0.serial.description, issuers: $0.issuers, since: $0.since.map { Timestamp($0) })
                })
        } catch { throw AdminError(error.isConflict ? .conflict : .failed, error.reason, hint: error.hint) }
    }

    private static func certificate(_ path: String) throws(AdminError) -> [UInt8] {
        var found: [UInt8]?
        do {
            var text = try SmallFile.read(path, limit: SecretFile.maximumBytes)
            defer { text.withUnsafeMutableBytes { SecretFile.wipe($0) } }
            try text.withUnsafeBytes { bytes in
                try PEMReader.read(bytes) { item throws(TLSError) in
                    guard case .certificate(let certificate) = consume item else { return }
                    if found == nil { found = certificate.der }
                }
            }
        } catch { throw AdminError(.invalidRequest, "\(path): \(error)") }
        guard let found else { throw AdminError(.invalidRequest, "\(path) has no certificate in it") }
        return found
    }
}

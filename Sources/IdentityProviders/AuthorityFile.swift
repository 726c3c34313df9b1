// SPDX-License-Identifier: Apache-2.0

import Identity
import LinuxIO
import TLSEngine

/// Why an authority's file cannot be used, and what to do.
public struct AuthorityFileError: Error, Hashable, Sendable, CustomStringConvertible {
    public let path: String
    public let reason: String
    /// It may be as good as ever, but it is not ours now.
    public let isInUse: Bool

    init(path: String, reason: String, isInUse: Bool = false) {
        self.path = path
        self.reason = reason
        self.isInUse = isInUse
    }

    public var description: String {
        if isInUse {
            return
                "\(path): \(reason). An authority has one keeper: an agent with --identity local, or meshctl ca serve, "
                + "which serves its own node too (meshctl ca token NODE, mesh-agent --identity join:FILE)"
        }
        return
            "\(path): \(reason). Nothing was changed. Restore the file from a backup; without one, move it away, and a new "
            + "authority is made, which no other node trusts until it is told"
    }
}

/// A root with its key, and the intermediate that it signs leaves with, once it signs.
final class AuthorityGeneration {
    let root: CertificateIssuer
    let intermediate: CertificateIssuer?

    init(root: consuming CertificateIssuer, intermediate: consuming CertificateIssuer?) {
        self.root = root
        self.intermediate = intermediate
    }

    /// The root again, with another intermediate.
    func replacing(intermediate: consuming CertificateIssuer) throws(TLSError) -> AuthorityGeneration {
        AuthorityGeneration(
            root: try CertificateIssuer(certificate: root.certificate.share(), key: root.key.share()),
            intermediate: intermediate)
    }

    var times: AuthorityStep.Generation {
        var times = AuthorityStep.Generation(
            rootMade: root.certificate.notBefore + CertificateIssuer.backdating,
            rootNotAfter: root.certificate.notAfter)
        if let made = intermediateTimes { (times.intermediateMade, times.intermediateNotAfter) = made }
        return times
    }

    private var intermediateTimes: (UnixTime, UnixTime)? {
        withIntermediate {
            ($0.certificate.notBefore + CertificateIssuer.backdating, $0.certificate.notAfter)
        }
    }

    /// Lends the intermediate, if there is one.
    func withIntermediate<Value, Failure: Error>(
        _ body: (borrowing CertificateIssuer) throws(Failure) -> Value
    ) throws(Failure) -> Value? {
        switch intermediate {
        case .some(let issuer): try body(issuer)
        case .none: nil
        }
    }
}

/// The file of a local authority: PEM, for each generation the root's certificate and key, and those of the intermediate
/// if it signs. Oldest first; a root is a certificate that is its own issuer.
struct AuthorityFile {
    let path: String
    let trustDomain: TrustDomain

    /// - Returns: `nil` if there is no such file.
    func read() throws(AuthorityFileError) -> [AuthorityGeneration]? {
        var result: Result<[AuthorityGeneration], AuthorityFileError>?
        do throws(SystemError) {
            _ = try SecretFile.withBytes(of: path) { text in
                result = Result { () throws(AuthorityFileError) in try decode(text) }
            }
        } catch { throw AuthorityFileError(path: path, reason: "\(error)") }
        return try result?.get()
    }

    private func decode(_ text: UnsafeRawBufferPointer) throws(AuthorityFileError) -> [AuthorityGeneration] {
        var reader = Reader()
        do throws(TLSError) {
            try PEMReader.read(text) { item throws(TLSError) in try reader.take(item) }
            try reader.finish()
        } catch { throw AuthorityFileError(path: path, reason: "\(error)") }
        guard !reader.generations.isEmpty else { throw AuthorityFileError(path: path, reason: "it is empty") }
        for generation in reader.generations {
            let names = generation.root.certificate.uris
            guard names == [SPIFFEID(trustDomain).description] else {
                throw AuthorityFileError(
                    path: path,
                    reason: "its root is for \(names.joined(separator: ", ")), not for \(SPIFFEID(trustDomain))")
            }
        }
        return reader.generations
    }

    /// Puts certificates and keys together.
    private struct Reader: ~Copyable {
        var generations: [AuthorityGeneration] = []
        private var certificate: Certificate?
        private var root: CertificateIssuer?

        mutating func take(_ item: consuming PEMItem) throws(TLSError) {
            switch consume item {
            case .certificate(let next):
                guard certificate == nil else { throw Self.order("a certificate has no key after it") }
                if next.isSelfIssued { try finishGeneration() }
                certificate = consume next
            case .privateKey(let key):
                guard let own = certificate.take() else { throw Self.order("a key has no certificate before it") }
                let isRoot = own.isSelfIssued
                let issuer = try CertificateIssuer(certificate: own, key: key)
                if isRoot {
                    root = consume issuer
                } else {
                    guard let above = root.take() else { throw Self.order("an intermediate has no root before it") }
                    generations.append(AuthorityGeneration(root: above, intermediate: issuer))
                }
            case .revocationList: throw Self.order("a revocation list is in it, which has a file of its own")
            }
        }

        mutating func finish() throws(TLSError) {
            guard certificate == nil else { throw Self.order("the last certificate has no key after it") }
            try finishGeneration()
        }

        private mutating func finishGeneration() throws(TLSError) {
            guard let alone = root.take() else { return }
            generations.append(AuthorityGeneration(root: alone, intermediate: nil))
        }

        private static func order(_ reason: String) -> TLSError { TLSError("read an authority", reason: reason) }
    }

    func write(_ generations: [AuthorityGeneration]) throws(AuthorityFileError) {
        var text: [UInt8] = []
        // No reallocation: it would leave a copy of a key behind.
        text.reserveCapacity(SecretFile.maximumBytes)
        defer { text.withUnsafeMutableBytes { SecretFile.wipe($0) } }
        for generation in generations {
            Self.append(generation.root, to: &text)
            generation.withIntermediate { Self.append($0, to: &text) }
        }
        var failure: SystemError?
        text.withUnsafeBytes { bytes in
            do throws(SystemError) { try SecretFile.replace(path, bytes) } catch { failure = error }
        }
        if let failure { throw AuthorityFileError(path: path, reason: "\(failure)") }
    }

    private static func append(_ issuer: borrowing CertificateIssuer, to text: inout [UInt8]) {
        issuer.certificate.der.withUnsafeBytes { PEMWriter.write("CERTIFICATE", $0, to: &text) }
        issuer.key.withPKCS8 { PEMWriter.write("PRIVATE KEY", $0, to: &text) }
    }
}

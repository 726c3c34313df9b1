// SPDX-License-Identifier: Apache-2.0

public import Identity
import TLSEngine

/// What there is of an authority, for people. Never its keys.
public struct AuthorityDescription: Sendable {
    public enum Stage: Sendable {
        /// In the bundle; does not sign yet.
        case announced
        case signing
        /// In the bundle until what it has signed has expired.
        case retiring
    }

    /// A certificate that signs.
    public struct Issuer: Sendable {
        public let serial: String
        public let fingerprint: String
        public let notBefore: UnixTime
        public let notAfter: UnixTime
        public let der: [UInt8]

        init(_ certificate: borrowing Certificate) {
            serial = certificate.serial
            fingerprint = certificate.fingerprint
            notBefore = certificate.notBefore
            notAfter = certificate.notAfter
            der = certificate.der
        }

        public var pem: String { PEMWriter.text([der]) }
    }

    public struct Generation: Sendable {
        public let stage: Stage
        public let root: Issuer
        /// Absent before the root signs.
        public let intermediate: Issuer?
    }

    public let trustDomain: TrustDomain
    public let file: String
    /// Oldest first.
    public let generations: [Generation]
}

extension AuthorityDescription {
    init(_ trustDomain: TrustDomain, file: String, _ generations: [AuthorityGeneration]) {
        self.trustDomain = trustDomain
        self.file = file
        let signing = generations.lastIndex { $0.times.signs }
        self.generations = generations.enumerated().map { index, generation in
            Generation(
                stage: signing.map { index < $0 ? .retiring : index == $0 ? .signing : .announced } ?? .announced,
                root: Issuer(generation.root.certificate),
                intermediate: generation.withIntermediate { Issuer($0.certificate) })
        }
    }
}

extension LocalAuthority {
    public var description: AuthorityDescription { AuthorityDescription(trustDomain, file: file.path, generations) }
}

extension AuthorityDescription {
    /// What the file of an authority has, while somebody else may be using it.
    ///
    /// - Returns: `nil` if there is no such file.
    public static func read(
        _ path: String, _ trustDomain: TrustDomain
    ) throws(AuthorityFileError) -> AuthorityDescription? {
        let file = AuthorityFile(path: path, trustDomain: trustDomain)
        return try file.read().map { AuthorityDescription(trustDomain, file: path, $0) }
    }
}

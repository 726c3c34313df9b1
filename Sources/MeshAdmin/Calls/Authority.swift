// SPDX-License-Identifier: Apache-2.0

/// Asks for the certificate authority: one item.
///
/// Refused with `conflict` where the agent has none of its own.
public struct AuthorityRequest: AdminCall {
    public typealias Item = AuthorityReport
    public static let method = "authority"
    public static let access = AdminAccess.read

    public init() {}
}

/// Changes what signs. Answered with what there is then.
public struct RotateAuthorityRequest: AdminCall {
    public typealias Item = AuthorityReport
    public static let method = "authority.rotate"
    public static let access = AdminAccess.write

    public enum Step: String, Codable, Sendable {
        /// The next root is announced now, and signs when everybody knows it.
        case announceRoot
        /// The root that is announced signs from now on.
        case useRoot
        /// The root that signs has another intermediate from now on.
        case renewIntermediate
    }

    public var step: Step
    /// To use a root also before it has been known for long enough that every node must have heard of it.
    public var force: Bool

    public init(_ step: Step = .announceRoot, force: Bool = false) {
        self.step = step
        self.force = force
    }

    /// Callers of before say nothing.
    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        step = try container.decodeIfPresent(Step.self, forKey: .step) ?? .announceRoot
        force = try container.decodeIfPresent(Bool.self, forKey: .force) ?? false
    }
}

/// A certificate authority. Never its keys.
public struct AuthorityReport: Codable, Equatable, Sendable {
    public struct Certificate: Codable, Equatable, Sendable {
        public var serial: String
        /// SHA-256 of the DER, in hexadecimal.
        public var fingerprint: String
        public var notBefore: Timestamp
        public var notAfter: Timestamp
        public var pem: String

        public init(
            serial: String, fingerprint: String, notBefore: Timestamp, notAfter: Timestamp, pem: String
        ) {
            self.serial = serial
            self.fingerprint = fingerprint
            self.notBefore = notBefore
            self.notAfter = notAfter
            self.pem = pem
        }
    }

    public enum Stage: String, Codable, Sendable {
        /// In the bundle; does not sign yet.
        case announced
        case signing
        /// In the bundle until what it has signed has expired.
        case retiring
    }

    public struct Generation: Codable, Equatable, Sendable {
        public var stage: Stage
        public var root: Certificate
        /// Absent before the root signs.
        public var intermediate: Certificate?

        public init(stage: Stage, root: Certificate, intermediate: Certificate? = nil) {
            self.stage = stage
            self.root = root
            self.intermediate = intermediate
        }
    }

    public var trustDomain: String
    /// Where it is kept.
    public var file: String
    /// Oldest first.
    public var generations: [Generation]

    public init(trustDomain: String, file: String, generations: [Generation]) {
        self.trustDomain = trustDomain
        self.file = file
        self.generations = generations
    }
}

/// A file that was made for a node that is to join an authority. Never its token.
public struct JoinReport: Codable, Equatable, Sendable {
    /// Path of the file, on this machine.
    public var file: String
    public var node: String
    /// Where the node reaches the authority.
    public var authority: String
    public var trustDomain: String
    /// Of the token in it.
    public var expires: Timestamp
    /// SHA-256 of the DER of each root that the node will believe.
    public var fingerprints: [String]

    public init(
        file: String, node: String, authority: String, trustDomain: String, expires: Timestamp, fingerprints: [String]
    ) {
        self.file = file
        self.node = node
        self.authority = authority
        self.trustDomain = trustDomain
        self.expires = expires
        self.fingerprints = fingerprints
    }
}

/// Certificates that were taken back.
public struct RevocationReport: Codable, Equatable, Sendable {
    public struct Certificate: Codable, Equatable, Sendable {
        /// Serial number in hexadecimal.
        public var serial: String
        /// Serial numbers of the certificates on whose lists it is.
        public var issuers: [String]
        /// Where only a serial number was given: what was signed before is not meant by these lists.
        public var since: Timestamp?

        public init(serial: String, issuers: [String], since: Timestamp? = nil) {
            self.serial = serial
            self.issuers = issuers
            self.since = since
        }
    }

    /// Path of the file of lists.
    public var file: String
    public var revoked: [Certificate]

    public init(file: String, revoked: [Certificate]) {
        self.file = file
        self.revoked = revoked
    }
}

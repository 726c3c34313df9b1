// SPDX-License-Identifier: Apache-2.0

/// Asks for the identities of the node's pods and their certificates; one item per identity.
///
/// Refused with `conflict` where pods have no certificates.
public struct IdentitiesRequest: AdminCall {
    public typealias Item = CertificateReport
    public static let method = "identities"
    public static let access = AdminAccess.read

    /// Only identities of this namespace.
    public var namespace: String?

    public init(namespace: String? = nil) {
        self.namespace = namespace
    }
}

/// Asks the provider for new certificates now, instead of at half of the lives of those in use, which stay in use until the
/// new ones are there. Answered at once, with the identities as they are then.
///
/// Refused as ``IdentitiesRequest`` is.
public struct RenewIdentitiesRequest: AdminCall {
    public typealias Item = CertificateReport
    public static let method = "identities.renew"
    public static let access = AdminAccess.write

    /// Only identities of this namespace.
    public var namespace: String?

    public init(namespace: String? = nil) {
        self.namespace = namespace
    }
}

/// An identity and its certificate. Never its key.
public struct CertificateReport: Codable, Equatable, Sendable {
    public enum State: String, Codable, Sendable {
        /// There is none yet.
        case missing
        case current
        /// The one in use is valid, but no newer one can be obtained.
        case renewalFails
        case expired
    }

    /// A SPIFFE ID.
    public var identity: String
    /// `NAMESPACE/NAME` of the enrolled pods that have it.
    public var pods: [String]
    public var state: State
    /// Where its certificates come from.
    public var provider: String
    /// Somebody should look: the certificate has expired, or could not be obtained for a minute.
    public var alarming: Bool
    /// Serial number in hexadecimal, as `openssl x509 -serial` has it.
    public var serial: String?
    public var notBefore: Timestamp?
    public var notAfter: Timestamp?
    /// When the next one is asked for.
    public var nextRenewal: Timestamp?
    /// Why there is no newer one.
    public var error: String?
    public var failingSince: Timestamp?
    /// The certificate and its intermediates, PEM.
    public var chain: String?

    public init(
        identity: String, pods: [String], state: State, provider: String, alarming: Bool = false,
        serial: String? = nil, notBefore: Timestamp? = nil, notAfter: Timestamp? = nil, nextRenewal: Timestamp? = nil,
        error: String? = nil,
        failingSince: Timestamp? = nil, chain: String? = nil
    ) {
        self.identity = identity
        self.pods = pods
        self.state = state
        self.provider = provider
        self.alarming = alarming
        self.serial = serial
        self.notBefore = notBefore
        self.notAfter = notAfter
        self.nextRenewal = nextRenewal
        self.error = error
        self.failingSince = failingSince
        self.chain = chain
    }
}

/// What `status` says about certificates.
public struct IdentitySummaryReport: Codable, Equatable, Sendable {
    /// Where they come from.
    public var provider: String
    public var trustDomain: String
    /// What the provider itself complains of.
    public var trouble: String?
    public var identities: Int
    /// With a certificate that is valid.
    public var current: Int
    /// Whose certificate has expired, or could not be obtained for a minute.
    public var alarming: Int
    public var earliestExpiry: Timestamp?

    public init(
        provider: String, trustDomain: String, trouble: String? = nil, identities: Int, current: Int, alarming: Int,
        earliestExpiry: Timestamp? = nil
    ) {
        self.provider = provider
        self.trustDomain = trustDomain
        self.trouble = trouble
        self.identities = identities
        self.current = current
        self.alarming = alarming
        self.earliestExpiry = earliestExpiry
    }
}

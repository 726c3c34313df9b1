// SPDX-License-Identifier: Apache-2.0

/// Why a text is not a SPIFFE ID, and at which of its bytes.
public struct SPIFFEIDError: Error, Hashable, Sendable {
    /// Rules of the SPIFFE-ID standard, sections 2 to 2.3.
    public enum Reason: Hashable, Sendable {
        case empty
        case long(bytes: Int)
        case scheme
        case emptyTrustDomain
        case longTrustDomain(bytes: Int)
        case upperCaseTrustDomain(UInt8)
        case trustDomainByte(UInt8)
        case userInformation
        case port
        case percentEncoding
        case query
        case fragment
        case emptySegment
        case trailingSlash
        case dotSegment
        case pathByte(UInt8)
        /// No path, where a workload's ID is wanted (X509-SVID, section 3.1).
        case noPath
        /// A path, but not `/ns/NAMESPACE/sa/SERVICE-ACCOUNT`.
        case notNamespaceAndServiceAccount
    }

    public let reason: Reason
    /// Of the first byte that breaks the rule.
    public let offset: Int

    init(_ reason: Reason, at offset: Int) {
        self.reason = reason
        self.offset = offset
    }

    /// A workload's ID is wanted, and the text of `count` bytes ends before a path.
    public static func noPath(_ count: Int) -> Self { Self(.noPath, at: count) }

    /// The same, in a text that has `count` bytes before.
    func moved(by count: Int) -> Self { Self(reason, at: offset + count) }
}

extension SPIFFEIDError: CustomStringConvertible {
    public var description: String { "byte \(offset): \(reason)" }
}

extension SPIFFEIDError.Reason: CustomStringConvertible {
    /// What, and what would be right. Never the text itself: it may come from a stranger.
    public var description: String {
        switch self {
        case .empty: "the SPIFFE ID is empty; write spiffe://TRUST-DOMAIN/PATH"
        case .long(let bytes):
            "the SPIFFE ID has \(bytes) bytes; the limit is \(SPIFFEID.maximumBytes)"
        case .scheme: "the scheme is not spiffe; write spiffe://TRUST-DOMAIN/PATH"
        case .emptyTrustDomain: "the trust domain is empty"
        case .longTrustDomain(let bytes):
            "the trust domain has \(bytes) bytes; the limit is \(TrustDomain.maximumBytes)"
        case .upperCaseTrustDomain(let byte):
            "the trust domain has the upper-case letter \(Self.shown(byte)); use a-z, 0-9, '.', '-' and '_'"
        case .trustDomainByte(let byte):
            "the trust domain has \(Self.shown(byte)); use a-z, 0-9, '.', '-' and '_'"
        case .userInformation: "user information before the trust domain is not allowed"
        case .port: "a port after the trust domain is not allowed"
        case .percentEncoding: "percent-encoding is not allowed; use a-z, A-Z, 0-9, '.', '-' and '_'"
        case .query: "a query is not allowed"
        case .fragment: "a fragment is not allowed"
        case .emptySegment: "the path has an empty segment"
        case .trailingSlash: "the path ends with a slash"
        case .dotSegment: "the path has a segment that is '.' or '..'"
        case .pathByte(let byte):
            "the path has \(Self.shown(byte)); use a-z, A-Z, 0-9, '.', '-' and '_'"
        case .noPath: "there is no path; a workload's ID has one"
        case .notNamespaceAndServiceAccount: "the path is not /ns/NAMESPACE/sa/SERVICE-ACCOUNT"
        }
    }

    private static func shown(_ byte: UInt8) -> String {
        if (0x21...0x7e).contains(byte) { return "'\(Character(Unicode.Scalar(byte)))'" }
        let digits = String(byte, radix: 16)
        return "the byte 0x\(digits.count == 1 ? "0" : "")\(digits)"
    }
}

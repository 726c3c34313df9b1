// SPDX-License-Identifier: Apache-2.0

/// What both ends of a connection may agree on. Names are OpenSSL's.
public struct TLSProfile: Hashable, Sendable {
    /// Key exchange, the preferred first: `X25519:P-256`.
    public var groups: String
    /// Cipher suites of TLS 1.3, the preferred first.
    public var cipherSuites: String
    /// Signatures that a peer may prove itself with; `nil` for the library's own list.
    public var signatures: String?

    /// Whether the library has all of it is known when a ``TLSContext`` is made with it.
    public init(groups: String, cipherSuites: String, signatures: String? = nil) {
        self.groups = groups
        self.cipherSuites = cipherSuites
        self.signatures = signatures
    }

    private static let aes = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384"

    /// What ztunnel and Istio's proxies agree to; AES-128 first, which costs less.
    public static let standard = TLSProfile(groups: "X25519:P-256", cipherSuites: aes)

    /// Only algorithms of FIPS 140-3. That they come from a validated module is a matter of OpenSSL's configuration.
    public static let fips = TLSProfile(
        groups: "P-256:P-384", cipherSuites: aes,
        signatures: "ECDSA+SHA256:ECDSA+SHA384:RSA-PSS+SHA256:RSA-PSS+SHA384")

    /// Key exchange that a quantum computer does not break, and nothing else; OpenSSL 3.5 or newer.
    public static let postQuantum = TLSProfile(groups: "X25519MLKEM768", cipherSuites: aes)
}

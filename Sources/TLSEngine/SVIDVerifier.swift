// SPDX-License-Identifier: Apache-2.0

internal import COpenSSL
public import Identity

/// Who a peer must be.
public enum PeerExpectation: Hashable, Sendable {
    /// One of these. An empty list accepts nobody.
    case anyOf([SPIFFEID])
    /// Anybody of the trust domain; policy decides about the identity.
    case memberOf(TrustDomain)

    func rejection(of id: SPIFFEID) -> SVIDRejection? {
        switch self {
        case .anyOf(let ids):
            ids.contains(id) ? nil : .otherIdentity(id, expected: ids.first, count: ids.count)
        case .memberOf(let domain):
            id.trustDomain == domain ? nil : .otherTrustDomain(id, expected: domain)
        }
    }
}

/// Checks certificates as the X509-SVID standard has it. Handshakes and offline checks use this one function.
///
/// Strict about what is there, lenient about what is not: a certificate without key usage or extended key usage is
/// accepted, because issuers that speak HBONE leave them out; one with the wrong ones is not.
public enum SVIDVerifier {
    /// What the certificate is used for.
    public enum Usage: Sendable {
        case client, server
    }

    /// Most certificates that a peer may send, the leaf included.
    public static let maximumChain = 8

    /// Checks a chain, leaf first, DER.
    ///
    /// - Returns: Whose certificate it is.
    public static func verify(
        chain: [[UInt8]], usage: Usage, at time: UnixTime, trusting bundles: TrustBundles,
        expecting peer: PeerExpectation
    ) -> Result<SPIFFEID, SVIDRejection> {
        read(chain) {
            verify(mesh_stack_at($0, 0), $0, usage: usage, at: time, trusting: bundles, expecting: peer)
        }
    }

    /// Calls `body` with a stack of X509, which is lent.
    static func read<Value>(
        _ chain: [[UInt8]], _ body: (OpaquePointer) -> Result<Value, SVIDRejection>
    ) -> Result<Value, SVIDRejection> {
        guard let stack = mesh_stack_new() else { return .failure(.unreadable) }
        defer { mesh_stack_free(stack) }
        for (depth, der) in chain.enumerated() {
            guard let certificate = try? Certificate(der: der), mesh_stack_add(stack, certificate.x509) == 1 else {
                return .failure(
                    .path(reason: "cannot be read", code: X509_V_ERR_CERT_REJECTED, depth: depth))
            }
        }
        return body(stack)
    }

    /// - Parameters:
    ///   - leaf: X509. Lent, as everything else.
    ///   - chain: Stack of what the peer sent, the leaf among it or not.
    static func verify(
        _ leaf: OpaquePointer?, _ chain: OpaquePointer?, usage: Usage, at time: UnixTime,
        trusting bundles: TrustBundles, expecting peer: PeerExpectation
    ) -> Result<SPIFFEID, SVIDRejection> {
        path(of: leaf, chain, usage: usage, at: time, trusting: bundles).flatMap { path in
            peer.rejection(of: path.id).map(Result.failure) ?? .success(path.id)
        }
    }

    /// Whose the certificate is, whoever is expected, and for how long that is known.
    ///
    /// - Parameters: As those of `verify`.
    static func path(
        of leaf: OpaquePointer?, _ chain: OpaquePointer?, usage: Usage, at time: UnixTime,
        trusting bundles: TrustBundles
    ) -> Result<VerifiedPath, SVIDRejection> {
        guard let leaf else { return .failure(.noCertificate) }
        if let chain, mesh_stack_count(chain) > maximumChain {
            return .failure(.longChain(Int(mesh_stack_count(chain))))
        }
        // The cheap rules first: what fails them costs no signature.
        return SVIDLeaf.identity(of: leaf).flatMap { id in
            guard let anchors = bundles.anchors(of: id.trustDomain) else {
                return .failure(.unknownTrustDomain(id.trustDomain))
            }
            let revoked = { bundles.revokedDepth($0, of: id.trustDomain) }
            return validity(leaf, chain, anchors, usage, time, revoked).map {
                VerifiedPath(id: id, notBefore: $0.notBefore, notAfter: $0.notAfter, isAll: $0.isAll)
            }
        }
    }

    /// When the path from the leaf to one of `anchors` is valid (RFC 5280 section 6), or what is wrong with it at `time`.
    ///
    /// - Parameter revokedDepth: Says which certificate of the path was taken back.
    private static func validity(
        _ leaf: OpaquePointer, _ chain: OpaquePointer?, _ anchors: OpaquePointer, _ usage: Usage, _ time: UnixTime,
        _ revokedDepth: (OpaquePointer?) -> Int?
    ) -> Result<(notBefore: UnixTime, notAfter: UnixTime, isAll: Bool), SVIDRejection> {
        ERR_clear_error()
        defer { ERR_clear_error() }
        let internalError = SVIDRejection.path(
            reason: "OpenSSL cannot check it", code: X509_V_ERR_UNSPECIFIED, depth: 0)
        guard let context = X509_STORE_CTX_new() else { return .failure(internalError) }
        defer { X509_STORE_CTX_free(context) }
        guard X509_STORE_CTX_init(context, nil, leaf, chain) == 1 else { return .failure(internalError) }
        X509_STORE_CTX_set0_trusted_stack(context, anchors)
        let parameters = X509_STORE_CTX_get0_param(context)
        // An anchor need not be self-signed: the bundle says what is trusted.
        X509_VERIFY_PARAM_set_flags(parameters, UInt(X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_TRUSTED_FIRST))
        X509_VERIFY_PARAM_set_time(parameters, time_t(time.seconds))
        X509_VERIFY_PARAM_set_depth(parameters, CInt(maximumChain))
        // 112 bits: no SHA-1, no RSA below 2048.
        X509_VERIFY_PARAM_set_auth_level(parameters, 2)
        let purpose = usage == .client ? X509_PURPOSE_SSL_CLIENT : X509_PURPOSE_SSL_SERVER
        guard X509_STORE_CTX_set_purpose(context, purpose) == 1 else { return .failure(internalError) }
        let isVerified = X509_verify_cert(context) == 1
        let code = X509_STORE_CTX_get_error(context)
        guard isVerified, code == X509_V_OK else { return .failure(rejection(code, context)) }
        let path = X509_STORE_CTX_get0_chain(context)
        if let depth = revokedDepth(path) {
            let serial = mesh_stack_at(path, CInt(depth)).map { Certificate(sharing: $0).serial }
            return .failure(.revoked(serial: serial ?? "", depth: depth))
        }
        let times = validity(of: path)
        return .success((times.notBefore, times.notAfter, isAll(of: chain, in: path)))
    }

    /// Whether each certificate that was sent is one of the path, of which there are no more.
    private static func isAll(of chain: OpaquePointer?, in path: OpaquePointer?) -> Bool {
        guard let chain, let path else { return true }
        guard mesh_stack_count(chain) <= mesh_stack_count(path) else { return false }
        return (0..<mesh_stack_count(chain)).allSatisfy { index in
            let sent = mesh_stack_at(chain, index)
            return (0..<mesh_stack_count(path)).contains { X509_cmp(sent, mesh_stack_at(path, $0)) == 0 }
        }
    }

    /// When all certificates of a path are valid: OpenSSL looks at the anchor's times too.
    private static func validity(of path: OpaquePointer?) -> (notBefore: UnixTime, notAfter: UnixTime) {
        var found = (notBefore: UnixTime(seconds: .min), notAfter: UnixTime(seconds: .max))
        for depth in 0..<(path.map { mesh_stack_count($0) } ?? 0) {
            guard let x509 = mesh_stack_at(path, depth) else { continue }
            let certificate = Certificate(sharing: x509)
            found = (max(found.notBefore, certificate.notBefore), min(found.notAfter, certificate.notAfter))
        }
        return found
    }

    private static func rejection(_ code: CInt, _ context: OpaquePointer) -> SVIDRejection {
        let depth = Int(X509_STORE_CTX_get_error_depth(context))
        if depth == 0, let leaf = X509_STORE_CTX_get0_cert(context) {
            let certificate = Certificate(sharing: leaf)
            switch code {
            case X509_V_ERR_CERT_NOT_YET_VALID: return .notYetValid(from: certificate.notBefore)
            case X509_V_ERR_CERT_HAS_EXPIRED: return .expired(at: certificate.notAfter)
            default: break
            }
        }
        let reason = X509_verify_cert_error_string(Int(code)).map { String(cString: $0) } ?? "error \(code)"
        return .path(reason: reason, code: code == X509_V_OK ? X509_V_ERR_UNSPECIFIED : code, depth: depth)
    }
}

// SPDX-License-Identifier: Apache-2.0

internal import COpenSSL
public import Identity

/// What sessions of one role and one identity have in common.
///
/// Belongs to a worker and the thread that shakes hands for it: sessions of more would share OpenSSL's counters and locks. A renewed certificate or a
/// changed bundle is a new context; sessions of the old one go on.
public struct TLSContext: ~Copyable {
    public enum Role: Sendable {
        case client, server
    }

    public let role: Role
    /// Whom this end shows itself as; `nil`: it has no certificate.
    public let id: SPIFFEID?
    /// Whom this end believes, and whom it has lately.
    let peers: VerifiedPeers
    let application: TLSApplication
    let allowsStrangers: Bool
    private let owned: OwnedContext

    var context: OpaquePointer { owned.context }

    /// - Parameters:
    ///   - svid: what this end shows; `nil`: nothing, which only a client may do, and only some servers allow.
    ///   - peers: whom it believes; shared by contexts of one worker.
    ///   - application: what is spoken.
    ///   - allowsStrangers: a server's peers may show no certificate (``TLSSession/peer`` is then `nil`); one that they
    ///     show is checked all the same.
    /// - Throws: ``TLSError``; it names the group, suite or signature that this OpenSSL does not have.
    public init(
        _ role: Role, svid: X509SVID?, trusting peers: VerifiedPeers, profile: TLSProfile = .standard,
        application: TLSApplication = .h2, allowsStrangers: Bool = false
    ) throws(TLSError) {
        precondition(role == .client ? !allowsStrangers : svid != nil, "a server is always somebody, and proved")
        ERR_clear_error()
        guard let context = SSL_CTX_new(role == .client ? TLS_client_method() : TLS_server_method()) else {
            throw TLSError("make a TLS context")
        }
        let owned = OwnedContext(adopting: context)
        try owned.restrict(allowsStrangers: allowsStrangers)
        try owned.apply(profile)
        if let svid { try owned.show(svid) }
        try owned.setProtocols(role, application)
        self.role = role
        self.id = svid?.id
        self.application = application
        self.allowsStrangers = allowsStrangers
        self.peers = peers
        self.owned = owned
    }

    /// The same, for a context that shares with no other what it knows of peers.
    public init(
        _ role: Role, svid: X509SVID?, trusting bundles: TrustBundles, profile: TLSProfile = .standard,
        application: TLSApplication = .h2, allowsStrangers: Bool = false
    ) throws(TLSError) {
        try self.init(
            role, svid: svid, trusting: VerifiedPeers(bundles), profile: profile, application: application,
            allowsStrangers: allowsStrangers)
    }
}

/// Owner of an SSL_CTX, and its settings.
private struct OwnedContext: ~Copyable {
    /// Bytes of the certificates that a peer may send; more ends the handshake.
    static let maximumPeerChainBytes = 32 << 10

    let context: OpaquePointer

    init(adopting context: OpaquePointer) { self.context = context }

    deinit { SSL_CTX_free(context) }

    func restrict(allowsStrangers: Bool) throws(TLSError) {
        guard mesh_ssl_ctx_restrict(context, Self.maximumPeerChainBytes) == 1 else {
            throw TLSError("allow TLS 1.3 only")
        }
        SSL_CTX_set_security_level(context, 2)
        // Both ends show a certificate, and nobody goes on without, unless that was said: what is checked stands in one
        // place.
        let needed = allowsStrangers ? 0 : SSL_VERIFY_FAIL_IF_NO_PEER_CERT
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER | needed, nil)
        SSL_CTX_set_cert_verify_callback(context, TLSCallbacks.verify, nil)
        SSL_CTX_set_keylog_callback(context, TLSCallbacks.keepSecret)
    }

    func apply(_ profile: TLSProfile) throws(TLSError) {
        guard SSL_CTX_set_ciphersuites(context, profile.cipherSuites) == 1 else {
            throw TLSError("choose cipher suites \(profile.cipherSuites)", otherwise: "this OpenSSL does not have them")
        }
        for name in profile.cipherSuites.split(separator: ":") where !TLSSuite.isMade(name) {
            throw TLSError(
                "choose cipher suites \(profile.cipherSuites)", reason: "records of \(name) are not made here")
        }
        guard mesh_ssl_ctx_set_groups(context, profile.groups) == 1 else {
            throw TLSError("choose groups \(profile.groups)", otherwise: "this OpenSSL does not have them")
        }
        guard let signatures = profile.signatures else { return }
        guard mesh_ssl_ctx_set_signatures(context, signatures) == 1 else {
            throw TLSError("choose signatures \(signatures)", otherwise: "this OpenSSL does not have them")
        }
    }

    func show(_ svid: X509SVID) throws(TLSError) {
        guard SSL_CTX_use_certificate(context, svid.leaf.x509) == 1, SSL_CTX_use_PrivateKey(context, svid.key.key) == 1
        else { throw TLSError("use the certificate of \(svid.id)") }
        for der in svid.chain.dropFirst() {
            let intermediate = try Certificate(der: der)
            guard mesh_ssl_ctx_add_chain(context, intermediate.x509) == 1 else {
                throw TLSError("use the chain of \(svid.id)")
            }
        }
    }

    func setProtocols(_ role: TLSContext.Role, _ application: TLSApplication) throws(TLSError) {
        switch role {
        case .client:
            // The one function of OpenSSL's that answers 0 for success.
            let offered = application.wireName
            guard SSL_CTX_set_alpn_protos(context, offered, UInt32(offered.count)) == 0 else {
                throw TLSError("offer the protocol \(application.name)")
            }
        case .server:
            SSL_CTX_set_alpn_select_cb(
                context, TLSCallbacks.selectProtocol, UnsafeMutableRawPointer(bitPattern: application.rawValue))
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

internal import COpenSSL
public import Identity

/// What OpenSSL's callbacks need of a session, in memory that stays where it is.
struct TLSSessionState: ~Copyable {
    var wire: TLSWire
    /// During the handshake: what is remembered by bundles that are no longer in force goes with them.
    var peers: VerifiedPeers?
    let expectation: PeerExpectation
    /// Of the call that is going on.
    var now = UnixTime(seconds: 0)
    /// The peer's, once it was accepted.
    var chain: PeerChain?
    /// When the peer's certificate was accepted.
    var peerAcceptedAt = UnixTime(seconds: 0)
    var rejection: SVIDRejection?
    var secrets = TLSSecrets()

    static func of(_ ssl: OpaquePointer) -> UnsafeMutablePointer<TLSSessionState>? {
        mesh_ssl_data(ssl)?.assumingMemoryBound(to: TLSSessionState.self)
    }
}

/// One end of a TLS 1.3 connection between two SPIFFE identities, without I/O.
///
/// Each call is lent memory with what was received and room for what is to be sent (``TLSWire``), and says how far it
/// came. Belongs to one thread. After an error it is of no more use but for ``close(_:)``; what the last call has produced,
/// an alert, may be sent.
///
/// OpenSSL shakes hands. Its state, 20 KB, is freed when that is done, and ``TLSRecordLayer`` makes and reads records with
/// the keys that were agreed on.
public struct TLSSession: ~Copyable {
    /// What the caller must do before the operation can go on.
    public enum Progress: Hashable, Sendable, BitwiseCopyable {
        /// Bytes of the application that were read or written.
        case transferred(Int)
        case needsInput
        /// Send what is in the output, and come again with room.
        case needsOutput
        /// The peer has said that nothing follows (close_notify, RFC 8446 section 6.1).
        case endOfStream
    }

    public enum Handshake: Hashable, Sendable, BitwiseCopyable {
        case done, needsInput, needsOutput
    }

    /// Most bytes of the application in one record (RFC 8446 section 5.1).
    public static let maximumRecord = 16384
    /// A record is longer than what it carries by this: header, type, tag (RFC 8446 section 5.2).
    public static let recordOverhead = 22
    /// Room that a record is begun with: for itself, and a KeyUpdate before it.
    public static let leastRoom = 96
    /// After that many records of one key we take the next, half of what RFC 8446 section 5.5 allows AES-GCM.
    static let recordsPerKey: UInt64 = 1 << 23

    private var owned: Owned
    public let role: TLSContext.Role
    private let application: TLSApplication
    private let allowsStrangers: Bool
    private let recordsPerKey: UInt64
    /// From the end of the handshake on.
    private var records: TLSRecordLayer?
    /// What was agreed on, in OpenSSL's tables.
    private var agreed: (suite: OpaquePointer?, group: UnsafePointer<CChar>?) = (nil, nil)

    /// What is freed. By itself, because an initializer cannot throw once something with a `deinit` is complete.
    ///
    /// Not private: optimised code of other modules destroys sessions in place, and must find its metadata when linked.
    struct Owned: ~Copyable {
        /// SSL_CTX, with a reference of our own.
        private let context: OpaquePointer
        /// From the first step of the handshake until it is done.
        private(set) var ssl: OpaquePointer?
        let state: UnsafeMutablePointer<TLSSessionState>

        init(_ context: OpaquePointer, _ state: consuming TLSSessionState) {
            SSL_CTX_up_ref(context)
            self.context = context
            self.state = .allocate(capacity: 1)
            self.state.initialize(to: state)
        }

        mutating func makeSSL(_ role: TLSContext.Role) throws(TLSError) -> OpaquePointer {
            ERR_clear_error()
            guard let made = SSL_new(context) else { throw TLSError("make a TLS session") }
            ssl = made
            guard mesh_ssl_set_data(made, state) == 1, let bio = TLSWireBIO.make(state) else {
                throw TLSError("make a TLS session")
            }
            SSL_set_bio(made, bio, bio)
            if role == .client { SSL_set_connect_state(made) } else { SSL_set_accept_state(made) }
            return made
        }

        mutating func freeSSL() {
            SSL_free(ssl)
            ssl = nil
        }

        deinit {
            SSL_free(ssl)
            SSL_CTX_free(context)
            state.deinitialize(count: 1)
            state.deallocate()
        }
    }

    private var isReady: Bool {
        switch records {
        case .some: true
        case .none: false
        }
    }

    @inline(__always)
    private var state: UnsafeMutablePointer<TLSSessionState> { owned.state }

    /// - Parameters:
    ///   - peer: whom to accept.
    ///   - recordsPerKey: 0 for the usual number.
    public init(_ context: borrowing TLSContext, expecting peer: PeerExpectation, recordsPerKey: UInt64 = 0) {
        let nothing = TLSWire(
            input: UnsafeRawBufferPointer(start: nil, count: 0),
            output: UnsafeMutableRawBufferPointer(start: nil, count: 0))
        owned = Owned(
            context.context, TLSSessionState(wire: nothing, peers: context.peers, expectation: peer))
        role = context.role
        application = context.application
        allowsStrangers = context.allowsStrangers
        self.recordsPerKey = recordsPerKey == 0 ? Self.recordsPerKey : recordsPerKey
    }

    /// Goes on with the handshake: one step of bounded work, a flight of messages at most.
    ///
    /// - Parameter now: by which certificates are judged.
    /// - Throws: ``TLSError`` with the rejection if it is the peer's certificate.
    public mutating func handshake(_ wire: inout TLSWire, now: UnixTime) throws(TLSError) -> Handshake {
        if isReady { return .done }
        // Who has said nothing yet costs no more than this.
        if owned.ssl == nil, role == .server, wire.input.isEmpty, !wire.inputHasEnded { return .needsInput }
        let ssl: OpaquePointer
        if let made = owned.ssl { ssl = made } else { ssl = try owned.makeSSL(role) }
        state.pointee.wire = wire
        state.pointee.now = now
        // SSL_get_error looks at this thread's queue: what another session left there would be blamed on this one.
        ERR_clear_error()
        let result = SSL_do_handshake(ssl)
        let answer = SSL_get_error(ssl, result)
        wire.consumed = state.pointee.wire.consumed
        wire.produced = state.pointee.wire.produced
        switch answer {
        case SSL_ERROR_NONE: break
        case SSL_ERROR_WANT_READ: return .needsInput
        case SSL_ERROR_WANT_WRITE: return .needsOutput
        default: throw failure()
        }
        guard hasAgreed(ssl) else {
            throw TLSError(
                "handshake", reason: "the peer does not speak \(application.name): no ALPN (RFC 7301 section 3.2)")
        }
        try takeOver(ssl)
        return .done
    }

    /// Decrypts what has been received, whole records only.
    ///
    /// Call until it is ``Progress/needsInput``: a record that did not fit into `buffer` is held.
    ///
    /// - Parameter buffer: May be memory of the wire's input, from where this call begins to use it or before.
    public mutating func read(
        _ wire: inout TLSWire, into buffer: UnsafeMutableRawBufferPointer
    ) throws(TLSError) -> Progress {
        precondition(isReady && !buffer.isEmpty, "read before the handshake was done, or into nothing")
        do throws(TLSViolation) { return try records!.read(&wire, into: buffer) } catch {
            throw records!.fail(error, &wire)
        }
    }

    /// Encrypts the front of `bytes`, one record, as much as there is room for: never half a record.
    public mutating func write(
        _ wire: inout TLSWire, _ bytes: UnsafeRawBufferPointer
    ) throws(TLSError) -> Progress {
        precondition(isReady, "written before the handshake was done")
        guard !bytes.isEmpty else { return .transferred(0) }
        let room = wire.room &- Self.leastRoom
        guard room > 0 else { return .needsOutput }
        let count = min(bytes.count, room, Self.maximumRecord)
        try records!.write(UnsafeRawBufferPointer(rebasing: bytes[..<count]), to: &wire)
        return .transferred(count)
    }

    /// Says that nothing follows (close_notify), and what the peer still sends can be read; or why reading has failed, if the
    /// wire had no room for it then.
    ///
    /// - Returns: ``Handshake/done``, or ``Handshake/needsOutput`` to come again.
    public mutating func close(_ wire: inout TLSWire) throws(TLSError) -> Handshake {
        // RFC 8446 section 6.1: nothing to close before the handshake.
        guard isReady else { return .done }
        return records!.close(&wire) ? .done : .needsOutput
    }

    /// The next record goes with a new key (KeyUpdate, RFC 8446 section 4.6.3).
    public mutating func renewKey(askingPeer: Bool) {
        precondition(isReady, "a key is renewed before there is one")
        records!.renewKey(askingPeer: askingPeer)
    }
}

// MARK: - While it lives

extension TLSSession {
    /// Gives back what ciphers need, until the next record: for a connection that is idle.
    public mutating func releaseBuffers() { records?.rest() }

    /// Whether the peer would be accepted by other bundles, as it was by those of the handshake.
    ///
    /// The certificates are judged at the time of the handshake: one that has expired since is renewed by a new
    /// connection, and does not end this one.
    ///
    /// - Returns: Why not; `nil` if it would.
    public func peerRejection(trusting peers: VerifiedPeers) -> SVIDRejection? {
        precondition(isReady, "a peer is checked again before it was checked")
        let chain = state.pointee.chain
        let result = peers.accept(
            chain?.leaf, chain?.certificates, usage: role == .server ? .client : .server,
            at: state.pointee.peerAcceptedAt, expecting: state.pointee.expectation)
        switch result {
        case .success(let known):
            // One for all connections of this peer.
            peers.remember(known, usage: role == .server ? .client : .server)
            state.pointee.chain = known
            return nil
        case .failure(let rejection): return rejection
        }
    }
}

// MARK: - What it is

extension TLSSession {
    /// Whose the other end is; `nil` before its certificate was accepted.
    public var peer: SPIFFEID? { state.pointee.chain?.path.id }

    /// What both ends agreed on: `TLSv1.3`, `TLS_AES_128_GCM_SHA256`. For people and counters.
    public var agreement: (version: String, cipherSuite: String, group: String?) {
        (
            String(cString: SSL_CIPHER_get_version(agreed.suite)), String(cString: SSL_CIPHER_get_name(agreed.suite)),
            agreed.group.map { String(cString: $0) }
        )
    }
}

// MARK: - Handshake

extension TLSSession {
    /// Records are ours from now on.
    private mutating func takeOver(_ ssl: OpaquePointer) throws(TLSError) {
        // OpenSSL has read to the end of the last record of the handshake, and no byte of the next.
        guard SSL_has_pending(ssl) == 0 else {
            throw TLSError("handshake", reason: "something is amid its last record")
        }
        let suite = SSL_get_current_cipher(ssl)
        guard let made = suite.flatMap({ TLSSuite(id: SSL_CIPHER_get_protocol_id($0), wide: .inUse) }) else {
            throw TLSError(
                "handshake", reason: "its records cannot be made: \(String(cString: SSL_CIPHER_get_name(suite)))")
        }
        let isServer = role == .server
        let chain = state.pointee.chain
        guard chain != nil || allowsStrangers else {
            throw TLSError("handshake", reason: "no certificate of the peer's has been accepted")
        }
        guard let own = traffic(made, ofServer: isServer, isSending: true),
            let peers = traffic(made, ofServer: !isServer, isSending: false)
        else { throw TLSError("handshake", reason: "OpenSSL has not said what its secrets are") }
        records = TLSRecordLayer(isServer: isServer, reading: peers, writing: own, recordsPerKey: recordsPerKey)
        agreed = (suite, mesh_ssl_group(ssl))
        if let chain { state.pointee.peers?.remember(chain, usage: isServer ? .client : .server) }
        state.pointee.peers = nil
        state.pointee.secrets.forget()
        owned.freeSSL()
    }

    private func traffic(_ suite: TLSSuite, ofServer isServer: Bool, isSending: Bool) -> TLSTraffic? {
        guard let secret = state.pointee.secrets.secret(ofServer: isServer, bytes: suite.secretBytes) else {
            return nil
        }
        return TLSTraffic.make(suite, secret: secret, isSending: isSending)
    }

    private func hasAgreed(_ ssl: OpaquePointer) -> Bool {
        var name: UnsafePointer<UInt8>?
        var length: UInt32 = 0
        SSL_get0_alpn_selected(ssl, &name, &length)
        return application.isNamed(UnsafeBufferPointer(start: name, count: Int(length)))
    }

    private func failure() -> TLSError {
        if let rejection = state.pointee.rejection {
            ERR_clear_error()
            return TLSError("handshake", rejection)
        }
        return TLSError("handshake", otherwise: "the peer ended the connection without saying so")
    }
}

// SPDX-License-Identifier: Apache-2.0

internal import COpenSSL
public import Identity

/// What OpenSSL's callbacks need of a session, in memory that stays where it is.
struct TLSSessionState {
    var wire: TLSWire
    let bundles: TrustBundles
    let expectation: PeerExpectation
    /// Of the call that is going on.
    var now = UnixTime(seconds: 0)
    var peer: SPIFFEID?
    /// When the peer's certificate was accepted.
    var peerAcceptedAt = UnixTime(seconds: 0)
    var rejection: SVIDRejection?

    static func of(_ ssl: OpaquePointer) -> UnsafeMutablePointer<TLSSessionState>? {
        mesh_ssl_data(ssl)?.assumingMemoryBound(to: TLSSessionState.self)
    }
}

/// One end of a TLS 1.3 connection between two SPIFFE identities, without I/O.
///
/// Each call is lent memory with what was received and room for what is to be sent (``TLSWire``), and says how far it
/// came. Belongs to one thread. After an error it is of no more use; what the last call has produced, an alert, may be
/// sent.
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

    private let owned: Owned
    public let role: TLSContext.Role
    private let application: TLSApplication
    private var records: UInt64 = 0
    private let recordsPerKey: UInt64
    private var isReady = false

    /// What is freed. By itself, because an initializer cannot throw once something with a `deinit` is complete.
    ///
    /// Not private: optimised code of other modules destroys sessions in place, and must find its metadata when linked.
    struct Owned: ~Copyable {
        let ssl: OpaquePointer
        let state: UnsafeMutablePointer<TLSSessionState>

        init(adopting ssl: OpaquePointer, _ state: consuming TLSSessionState) {
            self.ssl = ssl
            self.state = .allocate(capacity: 1)
            self.state.initialize(to: state)
        }

        deinit {
            SSL_free(ssl)
            state.deinitialize(count: 1)
            state.deallocate()
        }
    }

    @inline(__always)
    private var ssl: OpaquePointer { owned.ssl }
    @inline(__always)
    private var state: UnsafeMutablePointer<TLSSessionState> { owned.state }

    /// - Parameters:
    ///   - peer: whom to accept.
    ///   - recordsPerKey: 0 for the usual number.
    /// - Throws: ``TLSError`` if there is no memory.
    public init(
        _ context: borrowing TLSContext, expecting peer: PeerExpectation, recordsPerKey: UInt64 = 0
    ) throws(TLSError) {
        ERR_clear_error()
        guard let ssl = SSL_new(context.context) else { throw TLSError("make a TLS session") }
        let nothing = TLSWire(
            input: UnsafeRawBufferPointer(start: nil, count: 0),
            output: UnsafeMutableRawBufferPointer(start: nil, count: 0))
        let owned = Owned(
            adopting: ssl, TLSSessionState(wire: nothing, bundles: context.bundles, expectation: peer))
        let wire = UnsafeMutableRawPointer(owned.state) + MemoryLayout<TLSSessionState>.offset(of: \.wire)!
        guard let bio = TLSWireBIO.make(wire.assumingMemoryBound(to: TLSWire.self)) else {
            throw TLSError("make a TLS session")
        }
        SSL_set_bio(ssl, bio, bio)
        guard mesh_ssl_set_data(ssl, owned.state) == 1 else { throw TLSError("make a TLS session") }
        if context.role == .client { SSL_set_connect_state(ssl) } else { SSL_set_accept_state(ssl) }
        role = context.role
        application = context.application
        self.recordsPerKey = recordsPerKey == 0 ? Self.recordsPerKey : recordsPerKey
        self.owned = owned
    }

    /// Goes on with the handshake: one step of bounded work, a flight of messages at most.
    ///
    /// - Parameter now: by which certificates are judged.
    /// - Throws: ``TLSError`` with the rejection if it is the peer's certificate.
    public mutating func handshake(_ wire: inout TLSWire, now: UnixTime) throws(TLSError) -> Handshake {
        if isReady { return .done }
        lend(wire, now)
        let result = SSL_do_handshake(ssl)
        let answer = SSL_get_error(ssl, result)
        takeBack(&wire)
        switch answer {
        case SSL_ERROR_NONE: break
        case SSL_ERROR_WANT_READ: return .needsInput
        case SSL_ERROR_WANT_WRITE: return .needsOutput
        default: throw failure("handshake", answer)
        }
        guard hasAgreed else {
            throw TLSError(
                "handshake", reason: "the peer does not speak \(application.name): no ALPN (RFC 7301 section 3.2)")
        }
        isReady = true
        return .done
    }

    /// Decrypts what has been received.
    ///
    /// Call until it is ``Progress/needsInput``: OpenSSL may hold a record that did not fit into `buffer`. That may be memory
    /// of the wire's input from where this call begins to use it, or before: OpenSSL has taken a record out before it writes
    /// what was in it, which is shorter.
    public mutating func read(
        _ wire: inout TLSWire, into buffer: UnsafeMutableRawBufferPointer
    ) throws(TLSError) -> Progress {
        precondition(isReady && !buffer.isEmpty, "read before the handshake was done, or into nothing")
        lend(wire, state.pointee.now)
        let count = SSL_read(ssl, buffer.baseAddress, CInt(clamping: buffer.count))
        let answer = count > 0 ? SSL_ERROR_NONE : SSL_get_error(ssl, count)
        takeBack(&wire)
        switch answer {
        case SSL_ERROR_NONE: return .transferred(Int(count))
        case SSL_ERROR_WANT_READ: return .needsInput
        case SSL_ERROR_WANT_WRITE: return .needsOutput
        case SSL_ERROR_ZERO_RETURN: return .endOfStream
        default: throw failure("read", answer)
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
        if records >= recordsPerKey { renewKey(askingPeer: false) }
        lend(wire, state.pointee.now)
        let count = SSL_write(ssl, bytes.baseAddress, CInt(min(bytes.count, room, Self.maximumRecord)))
        let answer = count > 0 ? SSL_ERROR_NONE : SSL_get_error(ssl, count)
        takeBack(&wire)
        switch answer {
        case SSL_ERROR_NONE:
            records &+= 1
            return .transferred(Int(count))
        case SSL_ERROR_WANT_READ: return .needsInput
        case SSL_ERROR_WANT_WRITE: return .needsOutput
        default: throw failure("write", answer)
        }
    }

    /// Says that nothing follows (close_notify). What the peer still sends can be read.
    ///
    /// - Returns: ``Handshake/done``, or ``Handshake/needsOutput`` to come again.
    public mutating func close(_ wire: inout TLSWire) throws(TLSError) -> Handshake {
        // RFC 8446 section 6.1: nothing to close before the handshake.
        guard isReady else { return .done }
        lend(wire, state.pointee.now)
        let result = SSL_shutdown(ssl)
        let answer = result >= 0 ? SSL_ERROR_NONE : SSL_get_error(ssl, result)
        takeBack(&wire)
        switch answer {
        case SSL_ERROR_NONE, SSL_ERROR_WANT_READ, SSL_ERROR_ZERO_RETURN: return .done
        case SSL_ERROR_WANT_WRITE: return .needsOutput
        default: throw failure("close", answer)
        }
    }

    /// The next record goes with a new key (KeyUpdate, RFC 8446 section 4.6.3).
    public mutating func renewKey(askingPeer: Bool) {
        precondition(isReady, "a key is renewed before there is one")
        // Refused only while another one waits for room, which does as well.
        _ = SSL_key_update(ssl, askingPeer ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED)
        records = 0
    }
}

// MARK: - While it lives

extension TLSSession {
    /// Gives the memory for records back, until the next one comes: for a connection that is idle.
    ///
    /// Call it only when all of what was received was used, and consisted of whole records: OpenSSL before 3.0.14 frees
    /// the beginning of a record that it still needs (CVE-2024-4741).
    public mutating func releaseBuffers() { _ = SSL_free_buffers(ssl) }

    /// Whether the peer would be accepted by other bundles, as it was by those of the handshake.
    ///
    /// The certificates are judged at the time of the handshake: one that has expired since is renewed by a new
    /// connection, and does not end this one.
    ///
    /// - Returns: Why not; `nil` if it would.
    public func peerRejection(trusting bundles: TrustBundles) -> SVIDRejection? {
        precondition(isReady, "a peer is checked again before it was checked")
        let result = SVIDVerifier.verify(
            SSL_get0_peer_certificate(ssl), SSL_get_peer_cert_chain(ssl), usage: role == .server ? .client : .server,
            at: state.pointee.peerAcceptedAt, trusting: bundles, expecting: state.pointee.expectation)
        guard case .failure(let rejection) = result else { return nil }
        return rejection
    }
}

// MARK: - What it is

extension TLSSession {
    /// Whose the other end is; `nil` before its certificate was accepted.
    public var peer: SPIFFEID? { state.pointee.peer }

    /// What both ends agreed on: `TLSv1.3`, `TLS_AES_128_GCM_SHA256`. For people and counters.
    public var agreement: (version: String, cipherSuite: String, group: String?) {
        (
            String(cString: SSL_get_version(ssl)), String(cString: SSL_CIPHER_get_name(SSL_get_current_cipher(ssl))),
            mesh_ssl_group(ssl).map { String(cString: $0) }
        )
    }
}

// MARK: - Calls

extension TLSSession {
    @inline(__always)
    private func lend(_ wire: TLSWire, _ now: UnixTime) {
        state.pointee.wire = wire
        state.pointee.now = now
        // SSL_get_error looks at this thread's queue: what another session left there would be blamed on this one. Mostly
        // nothing is there, and to look costs less than to clear all of its places.
        if ERR_peek_error() != 0 { ERR_clear_error() }
    }

    @inline(__always)
    private func takeBack(_ wire: inout TLSWire) {
        wire.consumed = state.pointee.wire.consumed
        wire.produced = state.pointee.wire.produced
    }

    private var hasAgreed: Bool {
        var name: UnsafePointer<UInt8>?
        var length: UInt32 = 0
        SSL_get0_alpn_selected(ssl, &name, &length)
        return application.isNamed(UnsafeBufferPointer(start: name, count: Int(length)))
    }

    private func failure(_ operation: String, _ answer: CInt) -> TLSError {
        if let rejection = state.pointee.rejection {
            ERR_clear_error()
            return TLSError(operation, rejection)
        }
        return TLSError(operation, otherwise: "the peer ended the connection without saying so")
    }
}

// SPDX-License-Identifier: Apache-2.0

internal import COpenSSL
import Identity

/// What OpenSSL calls during a handshake.
enum TLSCallbacks {
    /// Replaces OpenSSL's own check of the peer's chain.
    ///
    /// - Returns: 1 if the peer is accepted, 0 if the handshake is to end.
    static let verify: @convention(c) (OpaquePointer?, UnsafeMutableRawPointer?) -> CInt = { store, _ in
        guard let store, let ssl = mesh_store_ctx_ssl(store), let state = TLSSessionState.of(ssl),
            let peers = state.pointee.peers
        else { return 0 }
        let result = peers.accept(
            X509_STORE_CTX_get0_cert(store), X509_STORE_CTX_get0_untrusted(store),
            usage: SSL_is_server(ssl) == 1 ? .client : .server, at: state.pointee.now,
            expecting: state.pointee.expectation)
        switch result {
        case .success(let chain):
            state.pointee.chain = chain
            state.pointee.peerAcceptedAt = state.pointee.now
            X509_STORE_CTX_set_error(store, X509_V_OK)
            return 1
        case .failure(let rejection):
            state.pointee.rejection = rejection
            X509_STORE_CTX_set_error(store, rejection.code)
            return 0
        }
    }

    /// Keeps the secrets from which the keys of records are derived (RFC 8446 section 7.1). OpenSSL gives them to this
    /// callback only, as a line for a debugger's file: label, random of the client, secret, in hexadecimal. No file is
    /// written; the line is wiped by OpenSSL, and the secret by its owner.
    static let keepSecret: @convention(c) (OpaquePointer?, UnsafePointer<CChar>?) -> Void = { ssl, line in
        guard let ssl, let line, let state = TLSSessionState.of(ssl) else { return }
        state.pointee.secrets.take(line)
    }

    typealias SelectProtocol =
        @convention(c) (
            OpaquePointer?, UnsafeMutablePointer<UnsafePointer<UInt8>?>?, UnsafeMutablePointer<UInt8>?,
            UnsafePointer<UInt8>?, UInt32, UnsafeMutableRawPointer?
        ) -> CInt

    /// Chooses the context's protocol of what the client offers (RFC 7301 section 3.2).
    static let selectProtocol: SelectProtocol = { _, chosen, chosenLength, offered, count, argument in
        guard let chosen, let chosenLength, let offered,
            let application = TLSApplication(rawValue: Int(bitPattern: argument))
        else { return SSL_TLSEXT_ERR_ALERT_FATAL }
        var index = 0
        while index < Int(count) {
            let length = Int(offered[index])
            guard index + 1 + length <= Int(count) else { break }
            if application.isNamed(UnsafeBufferPointer(start: offered + index + 1, count: length)) {
                chosen.pointee = offered + index + 1
                chosenLength.pointee = UInt8(length)
                return SSL_TLSEXT_ERR_OK
            }
            index += 1 + length
        }
        return SSL_TLSEXT_ERR_ALERT_FATAL
    }
}

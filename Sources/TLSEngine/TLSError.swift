// SPDX-License-Identifier: Apache-2.0

internal import COpenSSL

/// What OpenSSL refused, in its words, or the peer.
public struct TLSError: Error, Hashable, Sendable {
    /// What was to be done: `handshake`, `read a certificate`.
    public let operation: String
    /// Why, as OpenSSL says it, or we.
    public let reason: String
    /// The peer ended the connection with this alert, not we (RFC 8446 section 6.2).
    public let isPeersAlert: Bool
    /// Why the peer's certificate was not accepted, if that is it.
    public let rejection: SVIDRejection?

    /// - Parameter reason: in the words of the caller, who is not OpenSSL.
    public init(_ operation: String, reason: String) {
        self.operation = operation
        self.reason = reason
        isPeersAlert = false
        rejection = nil
    }

    /// The peer's certificate was not accepted.
    init(_ operation: String, _ rejection: SVIDRejection) {
        self.operation = operation
        reason = rejection.description
        isPeersAlert = false
        self.rejection = rejection
    }

    /// The peer has ended the connection with this alert.
    init(_ operation: String, alertOfPeer alert: UInt8) {
        self.operation = operation
        reason = mesh_alert_reason(CInt(alert)).map { String(cString: $0) } ?? "alert \(alert)"
        isPeersAlert = true
        rejection = nil
    }

    /// With what OpenSSL's queue of errors on this thread says first; empties the queue.
    init(_ operation: String, otherwise: String = "OpenSSL does not say why") {
        let code = ERR_get_error()
        ERR_clear_error()
        self.operation = operation
        rejection = nil
        let number = Int(code & UInt(ERR_REASON_MASK))
        isPeersAlert = Self.library(of: code) == Int(ERR_LIB_SSL) && number >= Int(SSL_AD_REASON_OFFSET)
        guard code != 0 else {
            reason = otherwise
            return
        }
        reason = ERR_reason_error_string(code).map { String(cString: $0) } ?? "OpenSSL's error \(code)"
    }

    /// ERR_GET_LIB: a function of the header only. The uppermost bit says that the code is an errno.
    private static func library(of code: UInt) -> Int {
        let isErrno = code & UInt(1 << 31) != 0
        return isErrno ? Int(ERR_LIB_SYS) : Int((code >> UInt(ERR_LIB_OFFSET)) & UInt(ERR_LIB_MASK))
    }
}

extension TLSError: CustomStringConvertible {
    public var description: String {
        "\(operation): \(isPeersAlert ? "the peer refused: " : "")\(reason)"
    }
}

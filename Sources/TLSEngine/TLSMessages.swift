// SPDX-License-Identifier: Apache-2.0

/// Alerts that we send, and those that mean no failure (RFC 8446 section 6).
public enum TLSAlert: UInt8, Sendable {
    case closeNotify = 0
    case unexpectedMessage = 10
    case badRecord = 20
    case recordOverflow = 22
    case illegalParameter = 47
    case decodeError = 50
    case internalError = 80
    case userCanceled = 90
}

/// Why nothing more can be read of a peer.
public enum TLSViolation: Error, Hashable, Sendable {
    /// The peer has ended the connection with this alert.
    case refused(UInt8)
    /// The socket has ended without a word.
    case endOfInput
    /// What came is not TLS, or not what the peer has sent: what the peer is told, and why.
    case broken(TLSAlert, String)
}

/// What a peer may send after the handshake beside the application's bytes: alerts, tickets, new keys (RFC 8446 sections
/// 4.6, 5.1 and 6).
public struct TLSMessages: Sendable {
    public enum Effect: Hashable, Sendable {
        case nothing
        /// The peer sends no more.
        case ended
        /// The next record comes with a new key. - Parameter isAsked: Ours is to be new too.
        case newKey(isAsked: Bool)
    }

    /// Types of content.
    static let alert: UInt8 = 21
    static let handshake: UInt8 = 22
    static let application: UInt8 = 23
    /// Types of message.
    static let newSessionTicket: UInt8 = 4
    static let keyUpdate: UInt8 = 24
    /// Records without a byte of the application that may follow one another: tickets, new keys, empty ones.
    static let mostQuietRecords = 32
    /// Bytes of a ticket, which is not looked at.
    private static let longestTicket = UInt32(1 << 17)

    private let isServer: Bool
    private var quietRecords = 0
    /// The front of a message's header that has come, and how many bytes of it.
    private var header: UInt32 = 0
    private var headerCount = 0
    /// Bytes of a ticket that have not come.
    private var skipped = 0
    /// The one byte of a KeyUpdate has not come.
    private var awaitsRequest = false

    /// - Parameter isServer: Whether it is a client that sends.
    public init(isServer: Bool) { self.isServer = isServer }

    private var isAmidAMessage: Bool { headerCount > 0 || skipped > 0 || awaitsRequest }

    /// Takes note of bytes of the application. - Returns: Whether they may come now.
    @inline(__always)
    mutating func takeApplication() -> Bool {
        quietRecords = 0
        return !isAmidAMessage
    }

    /// Takes the content of a record that has no byte for the application.
    public mutating func take(_ type: UInt8, _ content: UnsafeRawBufferPointer) throws(TLSViolation) -> Effect {
        quietRecords += 1
        guard quietRecords <= Self.mostQuietRecords else {
            throw .broken(.unexpectedMessage, "\(quietRecords) records without a byte of the application")
        }
        // RFC 8446 section 5.1: nothing comes between the parts of a message.
        guard type == Self.handshake || !isAmidAMessage else {
            throw .broken(.unexpectedMessage, "a record of type \(type) is amid a message")
        }
        switch type {
        case Self.application: return .nothing
        case Self.alert:
            guard content.count == 2 else { throw .broken(.decodeError, "an alert has \(content.count) bytes") }
            switch TLSAlert(rawValue: content[1]) {
            case .closeNotify: return .ended
            case .userCanceled: return .nothing
            default: throw .refused(content[1])
            }
        case Self.handshake:
            guard !content.isEmpty else { throw .broken(.unexpectedMessage, "a part of a message is empty") }
            return try takeMessages(content)
        default: throw .broken(.unexpectedMessage, "a record is of type \(type)")
        }
    }

    private mutating func takeMessages(_ content: UnsafeRawBufferPointer) throws(TLSViolation) -> Effect {
        var rest = content[...]
        while !rest.isEmpty {
            if awaitsRequest { return try takeRequest(rest) }
            if skipped > 0 {
                let count = min(skipped, rest.count)
                skipped -= count
                rest = rest.dropFirst(count)
                continue
            }
            while headerCount < 4, let byte = rest.popFirst() {
                header = header << 8 | UInt32(byte)
                headerCount += 1
            }
            guard headerCount == 4 else { break }
            let (type, length) = (UInt8(header >> 24), header & 0xff_ffff)
            (header, headerCount) = (0, 0)
            switch type {
            case Self.newSessionTicket where !isServer:
                guard length <= Self.longestTicket else {
                    throw .broken(.decodeError, "a ticket has \(length) bytes")
                }
                skipped = Int(length)
            case Self.keyUpdate:
                guard length == 1 else { throw .broken(.decodeError, "a KeyUpdate has \(length) bytes") }
                awaitsRequest = true
            default: throw .broken(.unexpectedMessage, "a message is of type \(type)")
            }
        }
        return .nothing
    }

    /// The byte of a KeyUpdate (RFC 8446 section 4.6.3).
    private mutating func takeRequest(_ rest: Slice<UnsafeRawBufferPointer>) throws(TLSViolation) -> Effect {
        // RFC 8446 section 5.1: a key changes where a record ends.
        guard rest.count == 1, let request = rest.first else {
            throw .broken(.unexpectedMessage, "a KeyUpdate does not end its record")
        }
        guard request <= 1 else { throw .broken(.illegalParameter, "a KeyUpdate asks for \(request)") }
        awaitsRequest = false
        return .newKey(isAsked: request == 1)
    }
}

// SPDX-License-Identifier: Apache-2.0

/// What a head says about its connection and its message, apart from framing.
public struct HeadOptions: OptionSet, Sendable, BitwiseCopyable {
    public let rawValue: UInt16

    public init(rawValue: UInt16) { self.rawValue = rawValue }

    /// `Connection: close` (RFC 9112 section 9.6).
    public static let close = HeadOptions(rawValue: 1 << 0)
    /// `Connection: keep-alive` (RFC 9112 appendix C.2.2), which matters to HTTP/1.0 only.
    public static let keepAlive = HeadOptions(rawValue: 1 << 1)
    /// `Connection: upgrade` and an `Upgrade` field, in HTTP/1.1 (RFC 9110 section 7.8).
    public static let upgrade = HeadOptions(rawValue: 1 << 2)
    /// `Expect: 100-continue` in HTTP/1.1 (RFC 9110 section 10.1.1).
    public static let expectContinue = HeadOptions(rawValue: 1 << 3)
    /// `TE: trailers`: the sender of the request wants trailers (RFC 9110 section 10.1.4).
    public static let acceptsTrailers = HeadOptions(rawValue: 1 << 4)
    /// `Connection` names fields that must not be forwarded (RFC 9110 section 7.6.1).
    public static let nominatesFields = HeadOptions(rawValue: 1 << 5)
    /// The framing was contradictory but has one lawful reading: do not use the connection again.
    public static let suspiciousFraming = HeadOptions(rawValue: 1 << 6)
    /// A `Content-Length` was received and is valid. It need not be the framing: think of an answer to HEAD.
    public static let hasContentLength = HeadOptions(rawValue: 1 << 7)
    /// The target holds a `?`.
    public static let hasQuery = HeadOptions(rawValue: 1 << 8)
    /// The target was in absolute form with the scheme `https`.
    public static let httpsScheme = HeadOptions(rawValue: 1 << 9)

    /// The request came as an extended CONNECT (RFC 8441): it asks for a tunnel, and what is a body in HTTP/2 is in it.
    static let extendedConnect = HeadOptions(rawValue: 1 << 12)

    // Seen while parsing; of no meaning to anybody else.
    static let connectionUpgrade = HeadOptions(rawValue: 1 << 10)
    static let upgradeField = HeadOptions(rawValue: 1 << 11)
}

/// How the end of a message's body is found (RFC 9112 section 6.3).
public enum BodyFraming: Equatable, Sendable, BitwiseCopyable {
    case none
    /// Exactly so many bytes: more than zero, but for a response that HTTP/2 ended with its head and that names no
    /// length, of which HTTP/1 has to be told that there is nothing.
    case length(UInt64)
    case chunked
    /// All that comes until the connection is closed. Responses only.
    case untilClose
    /// No body: the connection stops being HTTP after this head (101, or 2xx to CONNECT).
    case tunnel
}

/// The forms of a request target (RFC 9112 section 3.2).
public enum TargetForm: UInt8, Sendable, BitwiseCopyable {
    case origin, absolute, authority, asterisk
}

/// The head of a request. Ranges are offsets from the message's first byte; its fields are in a ``FieldTable``.
public struct RequestHead: Sendable, BitwiseCopyable {
    public internal(set) var method: Method = .other
    public internal(set) var form: TargetForm = .origin
    /// 0 or 1. A higher minor version counts as 1 (RFC 9110 section 2.5).
    public internal(set) var minorVersion: UInt8 = 1
    public internal(set) var options: HeadOptions = []
    public internal(set) var framing: BodyFraming = .none
    public internal(set) var methodRange: ByteRange = .empty
    /// As received.
    public internal(set) var target: ByteRange = .empty
    /// The absolute path without the query. Empty for authority form, and for an absolute form that ends with the
    /// authority: that one means `/`, or `*` for OPTIONS (RFC 9112 sections 3.2.1 and 3.2.4).
    public internal(set) var path: ByteRange = .empty
    /// What follows the `?`.
    public internal(set) var query: ByteRange = .empty
    /// Where the request is meant for: of the target if that has one, else the `Host` field's value (RFC 9112
    /// section 3.3). Empty if the client gave an empty `Host`, or none in HTTP/1.0.
    public internal(set) var authority: ByteRange = .empty
    /// All of the head, in bytes: from its first byte to the end of the empty line, a leading empty line included.
    public internal(set) var length: UInt32 = 0
    /// The received `Content-Length`, if there was one.
    public internal(set) var contentLength: UInt64 = 0

    init() {}
}

/// The head of a response. Ranges are offsets from the message's first byte; its fields are in a ``FieldTable``.
public struct ResponseHead: Sendable, BitwiseCopyable {
    /// 100...599.
    public internal(set) var status: UInt16 = 0
    /// 0 or 1. A higher minor version counts as 1 (RFC 9110 section 2.5).
    public internal(set) var minorVersion: UInt8 = 1
    public internal(set) var options: HeadOptions = []
    public internal(set) var framing: BodyFraming = .none
    public internal(set) var reason: ByteRange = .empty
    /// All of the head, in bytes.
    public internal(set) var length: UInt32 = 0
    /// The received `Content-Length`, if there was one. For an answer to HEAD and a 304 it is about another message.
    public internal(set) var contentLength: UInt64 = 0

    init() {}

    /// Whether another head follows for the same request (RFC 9110 section 15.2).
    public var isInterim: Bool { status < 200 && status != 101 }
}

/// Where a parser stands after a call.
public enum HeadProgress: Equatable, Sendable, BitwiseCopyable {
    /// More bytes are needed.
    case incomplete
    /// The head is whole; its length is in bytes, and the body begins after it.
    case complete(length: Int)
    /// The connection is of no more use; see ``MalformedMessage``.
    case failed(MalformedMessage)
}

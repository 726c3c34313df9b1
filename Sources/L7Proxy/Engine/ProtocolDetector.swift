// SPDX-License-Identifier: Apache-2.0

/// Tells by a connection's first bytes what its client speaks, where nobody has said so.
///
/// Every request that the parser of HTTP/1 would accept is told as HTTP, and so is the preface of HTTP/2, which looks like
/// a request to that parser: no request passes for something else. What is told does not change when more bytes come.
public enum ProtocolDetector {
    public enum Verdict: Equatable, Sendable {
        /// More bytes are needed.
        case undecided
        /// HTTP/1 or HTTP/2; a parser will say whether it is a request.
        case http
        /// The handshake of TLS begins (RFC 8446 section 5.1).
        case tls
        case other
    }

    /// Bytes after which it is known, whatever they are: an empty line, the longest method, a space and `https://`.
    public static let longest = 2 + longestMethod + 1 + 8
    /// Of a method (``HTTP1Limits/methodBytes``).
    private static let longestMethod = 32
    /// The content type `handshake` of a record, and the message type `client_hello`.
    private static let handshake: UInt8 = 22
    private static let clientHello: UInt8 = 1

    /// - Parameter bytes: all that the client has sent so far.
    public static func verdict(on bytes: UnsafeRawBufferPointer) -> Verdict {
        guard let first = bytes.first else { return .undecided }
        return first == handshake ? record(bytes) : requestLine(bytes)
    }

    /// A record of TLS with the begin of a ClientHello.
    private static func record(_ bytes: UnsafeRawBufferPointer) -> Verdict {
        if bytes.count > 1, bytes[1] != 3 { return .other }
        // Clients say 1.0 or 1.2 here (RFC 8446 section 5.1); what the record is of stands further inside.
        if bytes.count > 2, bytes[2] > 4 { return .other }
        if bytes.count > 4 {
            let length = Int(bytes[3]) << 8 | Int(bytes[4])
            // RFC 8446 section 5.1: at most 2^14; a message has a header of four bytes.
            guard (4...16_384).contains(length) else { return .other }
        }
        guard bytes.count > 5 else { return .undecided }
        return bytes[5] == clientHello ? .tls : .other
    }

    /// `method SP` and the begin of a target (RFC 9112 sections 2.2 and 3.2).
    private static func requestLine(_ bytes: UnsafeRawBufferPointer) -> Verdict {
        var start = 0
        if bytes[0] == ASCII.carriageReturn {
            guard bytes.count > 1 else { return .undecided }
            guard bytes[1] == ASCII.lineFeed else { return .other }
            start = 2
        } else if bytes[0] == ASCII.lineFeed {
            start = 1
        }
        var end = start
        while end < bytes.count, end - start <= longestMethod, ASCII.isToken(bytes[end]) { end += 1 }
        guard end - start <= longestMethod else { return .other }
        guard end < bytes.count else { return .undecided }
        guard end > start, bytes[end] == ASCII.space else { return .other }
        guard end + 1 < bytes.count else { return .undecided }
        let target = UnsafeRawBufferPointer(rebasing: bytes[(end + 1)...])
        switch target[0] {
        case ASCII.slash, ASCII.asterisk: return .http
        default: break
        }
        if let base = bytes.baseAddress, Method(base + start, end - start) == .connect {
            // `CONNECT host:port`; that of other protocols (STOMP, NATS) is followed by something else.
            return ASCII.isRegName(target[0]) || target[0] == UInt8(ascii: "[") ? .http : .other
        }
        return scheme(target)
    }

    /// `http://` or `https://`, in any case (RFC 3986 section 3.1).
    private static func scheme(_ target: UnsafeRawBufferPointer) -> Verdict {
        let plain = comparison(target, "http://")
        return plain == .other ? comparison(target, "https://") : plain
    }

    private static func comparison(_ target: UnsafeRawBufferPointer, _ text: StaticString) -> Verdict {
        let length = text.utf8CodeUnitCount
        let count = min(target.count, length)
        for index in 0..<count where ASCII.lowercased(target[index]) != text.utf8Start[index] { return .other }
        return count == length ? .http : .undecided
    }
}

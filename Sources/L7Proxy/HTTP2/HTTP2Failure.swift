// SPDX-License-Identifier: Apache-2.0

/// Why an HTTP/2 connection must end. Send what the session still has to send, a GOAWAY among it, then close.
public enum HTTP2Failure: Error, Equatable, Sendable {
    /// The peer did what only an attack or a defect does; it is told with ENHANCE_YOUR_CALM or what the violation says.
    case abuse(HTTP2Violation)
    /// The peer broke the protocol, and has been told so in a GOAWAY (RFC 9113 section 5.4.1).
    case connectionError(HTTP2ErrorCode)
    /// The first bytes are not HTTP/2 (RFC 9113 section 3.4).
    case badPreface
}

extension HTTP2Failure: CustomStringConvertible {
    public var description: String {
        switch self {
        case .abuse(let violation): "HTTP/2 connection: \(violation); closed with \(violation.code)"
        case .connectionError(let code): "HTTP/2 connection: the peer broke the protocol; closed with \(code)"
        case .badPreface: "HTTP/2 connection: it does not begin with the client preface (is it HTTP/1 or TLS?)"
        }
    }
}

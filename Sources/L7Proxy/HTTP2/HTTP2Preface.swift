// SPDX-License-Identifier: Apache-2.0

/// Tells HTTP/2 with prior knowledge from other protocols by a connection's first bytes (RFC 9113 section 3.4).
public enum HTTP2Preface {
    public enum Verdict: Equatable, Sendable {
        case http2
        case other
        /// So far it could be the preface: more bytes are needed.
        case undecided
    }

    /// What every client sends first, 24 bytes. No HTTP/1 request begins so: `PRI` was reserved for it.
    public static let text: StaticString = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

    /// Whether the bytes begin with the preface's first line, which a parser of HTTP/1 takes for a request line of a
    /// version that it does not know: so telling the protocols apart costs HTTP/1 nothing.
    static func begins(_ bytes: UnsafeRawBufferPointer) -> Bool { bytes.count >= 16 && verdict(on: bytes) != .other }

    /// - Parameter bytes: All that the client has sent so far.
    public static func verdict(on bytes: UnsafeRawBufferPointer) -> Verdict {
        let length = text.utf8CodeUnitCount
        for index in 0..<min(length, bytes.count) where bytes[index] != text.utf8Start[index] { return .other }
        return bytes.count >= length ? .http2 : .undecided
    }
}

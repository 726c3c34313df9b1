// SPDX-License-Identifier: Apache-2.0

/// What an HTTP/2 connection announces and accepts. Each bounds memory or work that a peer could otherwise demand.
///
/// How often frames without work in them may come is in ``HTTP2Guard/Rates``.
public struct HTTP2Limits: Sendable, BitwiseCopyable {
    /// Streams that the peer may have open at once, SETTINGS_MAX_CONCURRENT_STREAMS (RFC 9113 section 6.5.2); on a
    /// client's side, those that it opens itself, if the server allows as many.
    public var concurrentStreams: UInt32 = 100

    /// SETTINGS_INITIAL_WINDOW_SIZE in bytes: what one stream may send before what it sent is consumed. So much of our
    /// memory a peer can fill with each stream that is not forwarded.
    public var streamWindow: UInt32 = 64 * 1024 - 1

    /// Window of the connection, in bytes; larger than that of a stream, so that one stream that stands still does not
    /// stop the others (RFC 9113 section 5.2.2).
    public var connectionWindow: UInt32 = 1024 * 1024

    /// SETTINGS_MAX_FRAME_SIZE in bytes, 16384...16777215 (RFC 9113 section 4.2).
    public var frameBytes: UInt32 = 16 * 1024

    /// SETTINGS_MAX_HEADER_LIST_SIZE in bytes: names, values, and 32 for each field (RFC 9113 section 6.5.2). A request
    /// above it is answered with 431; four times as much ends the connection, because compression makes it cheap to
    /// send and dear to read ("HPACK bomb", CVE-2016-6581).
    public var headerListBytes: UInt32 = 64 * 1024

    /// Field lines of a message, pseudo-header fields not counted.
    public var fields: UInt16 = 100

    /// Field lines of a trailer section.
    public var trailerFields: UInt16 = 32

    /// Bytes of a trailer section, counted as ``headerListBytes``.
    public var trailerListBytes: UInt32 = 16 * 1024

    /// Bytes of one header block as it comes, all its frames together.
    public var headerBlockBytes: UInt32 = 64 * 1024

    /// CONTINUATION frames after one HEADERS frame (CVE-2024-27316, CVE-2024-28182).
    public var continuations: UInt8 = 8

    /// `:path`, in bytes.
    public var targetBytes: UInt32 = 8 * 1024

    /// `:method`, in bytes.
    public var methodBytes: UInt32 = 32

    /// SETTINGS entries of one frame; there are seven registered for HTTP itself (CVE-2020-11080).
    public var settings: Int = 32

    /// Acknowledgements of SETTINGS and PING that wait because the peer does not read (CVE-2019-9512, CVE-2019-9515).
    public var waitingAcknowledgements: Int = 64

    /// Table of the peer's compressor that we keep too, SETTINGS_HEADER_TABLE_SIZE in bytes (RFC 7541 section 4.2).
    public var tableBytes: UInt32 = 4096

    /// Table of our compressor, in bytes, whatever more the peer would let us use (RFC 7541 section 4.2).
    public var compressorTableBytes: Int = 4096

    /// Whether clients may open tunnels by extended CONNECT, SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441 section 3).
    public var takesExtendedConnect = true

    public var rates = HTTP2Guard.Rates()

    public init() {}
}

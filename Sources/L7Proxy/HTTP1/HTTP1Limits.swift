// SPDX-License-Identifier: Apache-2.0

/// What the parser of a connection accepts. Each bounds memory or work that a peer could otherwise demand.
///
/// The number of field lines is bounded by the ``FieldTable`` of the connection.
public struct HTTP1Limits: Sendable, BitwiseCopyable {
    /// First line, fields and empty line together, in bytes. A peer that sends a head slowly holds this much of our
    /// memory for as long as the timeout of heads lets it.
    public var headBytes: UInt32 = 64 * 1024

    /// The request target, in bytes. RFC 9112 section 3 recommends support for request lines of 8000 bytes at least.
    public var targetBytes: UInt32 = 8 * 1024

    /// The request method, in bytes. The longest registered one, UPDATEREDIRECTREF, has 17.
    public var methodBytes: UInt32 = 32

    /// One field name, in bytes. Longer ones serve only to make others compare or hash them.
    public var fieldNameBytes: UInt16 = 256

    /// Elements of all `Connection` fields of a message. Each that names a field costs a pass over the fields.
    public var connectionOptions: UInt8 = 32

    /// Extensions of all chunks of a message together, in bytes. Nobody uses them; unbounded, they are a flood that
    /// costs the peer little and carries no data (CVE-2023-39326).
    public var chunkExtensionBytes: UInt32 = 16 * 1024

    /// The trailer section, in bytes.
    public var trailerBytes: UInt32 = 16 * 1024

    public init() {}
}

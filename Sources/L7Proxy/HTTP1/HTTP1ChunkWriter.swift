// SPDX-License-Identifier: Apache-2.0

/// Writes what the chunked coding puts around a body (RFC 9112 section 7.1). The data itself is never copied here: a
/// chunk goes out as ``begin(_:into:)``, its data, ``end``.
public enum HTTP1ChunkWriter {
    /// The most that ``begin(_:into:)`` writes, in bytes.
    public static let longestBegin = 18

    /// What follows the data of each chunk.
    public static let end: StaticString = "\r\n"

    /// Writes the line before `count` bytes of data.
    ///
    /// - Precondition: `count` is not zero, which would end the body; `buffer` has ``longestBegin`` bytes.
    /// - Returns: How many bytes were written.
    public static func begin(_ count: Int, into buffer: UnsafeMutableRawBufferPointer) -> Int {
        precondition(count > 0 && buffer.count >= longestBegin, "an empty chunk, or a buffer that may be too small")
        var out = ByteWriter(buffer)
        out.append(hexadecimal: UInt64(count))
        out.appendLineEnd()
        return out.count
    }

    /// Writes the end of a body without trailers.
    public static func finish(into buffer: UnsafeMutableRawBufferPointer) -> Result<Int, WriteFailure> {
        var out = ByteWriter(buffer)
        out.append("0\r\n\r\n")
        if let failure = out.failure { return .failure(failure) }
        return .success(out.count)
    }

    /// Writes the end of a body with the trailers that ``HTTP1BodyReader`` has left in `trailers`.
    ///
    /// - Parameter message: The memory that the offsets of the trailers are for.
    public static func finish(
        _ trailers: borrowing FieldTable, in message: UnsafeRawPointer, into buffer: UnsafeMutableRawBufferPointer
    ) -> Result<Int, WriteFailure> {
        var writer = HTTP1TrailerWriter(buffer)
        for position in 0..<trailers.count where !trailers.fields[position].isDropped {
            let field = trailers.fields[position]
            writer.field(named: field.nameRange.bytes(in: message), field.valueRange.bytes(in: message))
        }
        return writer.finish()
    }
}

/// Writes the last chunk and trailers that did not come by HTTP/1.1 (RFC 9112 section 7.1.2).
public struct HTTP1TrailerWriter {
    private var out: ByteWriter

    public init(_ buffer: UnsafeMutableRawBufferPointer) {
        out = ByteWriter(buffer)
        out.append("0\r\n")
    }

    /// Adds a trailer. One that a trailer section must not hold (RFC 9110 section 6.5.1) makes the message fail.
    public mutating func field(named name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
        guard let text = name.baseAddress, ASCII.isToken(name) else { return out.fail(.unsafeName) }
        let known = FieldNameIndex.shared.recognise(text, name.count)
        guard !FieldNameSet.refusedInTrailers.contains(known), !FieldNameSet.droppedInTrailers.contains(known) else {
            return out.fail(.unsafeName)
        }
        out.appendField(name, value)
    }

    /// Ends the body. - Returns: How many bytes were written, or why they must not be sent.
    public mutating func finish() -> Result<Int, WriteFailure> {
        out.appendLineEnd()
        if let failure = out.failure { return .failure(failure) }
        return .success(out.count)
    }
}

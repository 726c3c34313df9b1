// SPDX-License-Identifier: Apache-2.0

/// Finds the lines of a head or trailer section, each byte looked at once however the bytes arrive.
///
/// Only CRLF ends a line. RFC 9112 section 2.2 would let a recipient take a lone LF too; parties that disagree about
/// that are what request smuggling is made of (section 11.2), so a lone LF or CR is an error here.
struct LineCursor: Sendable, BitwiseCopyable {
    enum Step {
        /// More bytes are needed.
        case incomplete
        /// The bytes `start..<end` are a line; CRLF follows.
        case line(start: Int, end: Int)
        /// The line does not end within the limit.
        case tooLong
        case failed(MalformedMessage)
    }

    /// Where the current line starts.
    private(set) var lineStart: UInt32 = 0
    /// Up to here the current line holds nothing that may not be inside a line.
    private var scanned: UInt32 = 0

    init() {}

    /// - Parameters:
    ///   - bytes: All of the section so far, from its first byte.
    ///   - limit: The offset at which the line's LF must have been seen. What is found depends on the bytes before
    ///     `limit` only, not on how many of them are there in which call.
    @inline(__always)
    mutating func next(_ bytes: UnsafeRawBufferPointer, limit: Int) -> Step {
        guard let base = bytes.baseAddress else { return .incomplete }
        let end = min(bytes.count, limit)
        let place = ByteScanner.firstControl(base, from: Int(scanned), to: end)
        guard place < end else {
            scanned = UInt32(truncatingIfNeeded: place)
            return bytes.count >= limit ? .tooLong : .incomplete
        }
        let byte = (base + place).load(as: UInt8.self)
        guard byte == ASCII.carriageReturn else {
            return .failed(byte == ASCII.lineFeed ? .bareLineFeed : .controlCharacter)
        }
        guard place &+ 1 < end else {
            scanned = UInt32(truncatingIfNeeded: place)
            return bytes.count >= limit ? .tooLong : .incomplete
        }
        guard (base + (place &+ 1)).load(as: UInt8.self) == ASCII.lineFeed else { return .failed(.bareCarriageReturn) }
        let start = Int(lineStart)
        lineStart = UInt32(truncatingIfNeeded: place &+ 2)
        scanned = lineStart
        return .line(start: start, end: place)
    }
}

// SPDX-License-Identifier: Apache-2.0

/// Reads `chunk-size [ chunk-ext ] CRLF`, byte by byte (RFC 9112 section 7.1).
///
/// The grammar that parties disagree about is refused: signs, `0x`, whitespace around the size unless an extension
/// follows it, a lone LF or CR as line end or inside an extension.
struct ChunkLine: Equatable, Sendable, BitwiseCopyable {
    private enum Phase: Equatable {
        case size
        /// Whitespace after the size, which an extension must follow (RFC 9110 section 5.6.3: BWS).
        case blank
        case extensions
        case lineFeed
    }

    /// Digits of a size, leading zeros included: as many as the largest size needs.
    private static let maximumDigits: UInt8 = 16

    /// What follows the size, in bytes.
    private(set) var extensionBytes: UInt32 = 0
    private var size: UInt64 = 0
    private var digits: UInt8 = 0
    private var phase: Phase = .size

    init() {}

    /// - Parameters:
    ///   - offset: Where to go on; moved to the first byte that is not consumed.
    ///   - extensionBudget: How many bytes the extensions of this chunk may have.
    /// - Returns: The size once the line is whole, `nil` before.
    mutating func parse(
        _ bytes: UnsafeRawBufferPointer, from offset: inout Int, extensionBudget: UInt32
    ) -> Result<UInt64?, MalformedMessage> {
        while offset < bytes.count {
            let byte = bytes[offset]
            offset += 1
            switch phase {
            case .size:
                if let digit = ASCII.hexValue(byte) {
                    digits += 1
                    // A size that a signed 64-bit integer cannot hold would be another one to somebody.
                    guard digits <= Self.maximumDigits, size < 1 << 59 else { return .failure(.chunkSizeTooLarge) }
                    size = size << 4 | UInt64(digit)
                    continue
                }
                guard digits > 0 else { return .failure(.invalidChunkSize) }
                switch byte {
                case ASCII.carriageReturn: phase = .lineFeed
                case ASCII.semicolon, ASCII.space, ASCII.tab:
                    if let defect = count(extensionBudget) { return .failure(defect) }
                    phase = byte == ASCII.semicolon ? .extensions : .blank
                case ASCII.lineFeed: return .failure(.bareLineFeed)
                default: return .failure(.invalidChunkSize)
                }
            case .blank:
                if let defect = count(extensionBudget) { return .failure(defect) }
                guard ASCII.isBlank(byte) || byte == ASCII.semicolon else { return .failure(.invalidChunkSize) }
                if byte == ASCII.semicolon { phase = .extensions }
            case .extensions:
                switch byte {
                case ASCII.carriageReturn: phase = .lineFeed
                case ASCII.lineFeed: return .failure(.bareLineFeed)
                case ASCII.tab, 0x20...0x7e, 0x80...0xff:
                    if let defect = count(extensionBudget) { return .failure(defect) }
                default: return .failure(.invalidChunkExtension)
                }
            case .lineFeed:
                guard byte == ASCII.lineFeed else { return .failure(.bareCarriageReturn) }
                return .success(size)
            }
        }
        return .success(nil)
    }

    private mutating func count(_ budget: UInt32) -> MalformedMessage? {
        guard extensionBytes < budget else { return .chunkExtensionsTooLarge }
        extensionBytes += 1
        return nil
    }
}

// SPDX-License-Identifier: Apache-2.0

/// `Sec-WebSocket-Key` (RFC 6455 section 4.1): 16 bytes of chance in base64, 24 characters. No secret.
struct WebSocketKey: BitwiseCopyable {
    /// In characters.
    static let length = 24
    private let words: (UInt64, UInt64)

    init(_ high: UInt64, _ low: UInt64) { words = (high, low) }

    /// - Parameter body: Is lent the text.
    func withText(_ body: (UnsafeRawBufferPointer) -> Void) {
        let words = words
        Base64.withText(
            byteCount: 16,
            byte: { UInt8(truncatingIfNeeded: ($0 < 8 ? words.0 : words.1) >> UInt64(56 - $0 % 8 * 8)) }, body: body)
    }
}

/// Base64 of few bytes (RFC 4648 section 4), without an allocation.
enum Base64 {
    private static let alphabet: StaticString = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

    /// - Parameters:
    ///   - byte: The byte at a place.
    ///   - body: Is lent the text, padded.
    static func withText(
        byteCount: Int, byte: (Int) -> UInt8, body: (UnsafeRawBufferPointer) -> Void
    ) {
        withUnsafeTemporaryAllocation(byteCount: (byteCount + 2) / 3 * 4, alignment: 1) { text in
            for group in 0..<text.count / 4 {
                // 24 bits, those that are missing at the end are zero.
                var bits: UInt32 = 0
                for place in group * 3..<group * 3 + 3 {
                    bits = bits << 8 | (place < byteCount ? UInt32(byte(place)) : 0)
                }
                for place in 0..<4 {
                    let isPadding = group * 3 + place > byteCount
                    let value = Int(bits >> UInt32(18 - place * 6)) & 63
                    text[group * 4 + place] = isPadding ? UInt8(ascii: "=") : alphabet.utf8Start[value]
                }
            }
            body(UnsafeRawBufferPointer(text))
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

/// `Sec-WebSocket-Key` (RFC 6455 section 4.1): 16 bytes of chance in base64 (RFC 4648 section 4), 24 characters. No secret.
struct WebSocketKey: BitwiseCopyable {
    private let words: (UInt64, UInt64)

    init(_ high: UInt64, _ low: UInt64) { words = (high, low) }

    /// - Parameter body: Is lent the text.
    func withText(_ body: (UnsafeRawBufferPointer) -> Void) {
        let alphabet: StaticString = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        withUnsafeTemporaryAllocation(byteCount: 24, alignment: 1) { text in
            for place in 0..<22 {
                // Six bits from the top, and at the end two that are left and four of zero.
                let bit = place * 6
                var value: UInt64 = 0
                for offset in 0..<6 {
                    let index = bit + offset
                    let word = index < 64 ? words.0 : words.1
                    let one = index < 128 ? (word >> UInt64(63 - index % 64)) & 1 : 0
                    value = value << 1 | one
                }
                text[place] = alphabet.utf8Start[Int(value)]
            }
            text[22] = UInt8(ascii: "=")
            text[23] = UInt8(ascii: "=")
            body(UnsafeRawBufferPointer(text))
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

/// `Sec-WebSocket-Accept` (RFC 6455 section 4.2.2): SHA-1 of the key and of a text that is always the same, in base64.
/// It shows that a WebSocket was meant; nothing is secured by it.
enum WebSocketAccept {
    private static let suffix: StaticString = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

    /// - Parameters:
    ///   - key: ``WebSocketKey/length`` characters.
    ///   - body: Is lent the 28 characters.
    static func withText(of key: UnsafeRawBufferPointer, _ body: (UnsafeRawBufferPointer) -> Void) {
        precondition(key.count == WebSocketKey.length, "no key of a WebSocket")
        // Two blocks of 64 bytes: the 60 of the message, a one bit, and its length in bits (RFC 3174 section 4).
        withUnsafeTemporaryAllocation(byteCount: 128, alignment: 8) { padded in
            padded.initializeMemory(as: UInt8.self, repeating: 0)
            padded.copyMemory(from: key)
            let length = key.count + suffix.utf8CodeUnitCount
            for index in 0..<suffix.utf8CodeUnitCount { padded[key.count + index] = suffix.utf8Start[index] }
            padded[length] = 0x80
            padded[126] = UInt8(truncatingIfNeeded: (length * 8) >> 8)
            padded[127] = UInt8(truncatingIfNeeded: length * 8)
            var state = SHA1State()
            state.add(UnsafeRawBufferPointer(rebasing: padded[..<64]))
            state.add(UnsafeRawBufferPointer(rebasing: padded[64...]))
            let digest = state.words
            Base64.withText(
                byteCount: 20,
                byte: { UInt8(truncatingIfNeeded: digest[$0 / 4] >> UInt32(24 - $0 % 4 * 8)) }, body: body)
        }
    }
}

/// The state of SHA-1 (RFC 3174 section 6.1).
private struct SHA1State {
    var words: InlineArray<5, UInt32> = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0]

    /// - Parameter block: 64 bytes.
    mutating func add(_ block: UnsafeRawBufferPointer) {
        var schedule = InlineArray<80, UInt32>(repeating: 0)
        for index in 0..<16 {
            schedule[index] = UInt32(bigEndian: block.loadUnaligned(fromByteOffset: index * 4, as: UInt32.self))
        }
        for index in 16..<80 {
            let mixed = schedule[index - 3] ^ schedule[index - 8] ^ schedule[index - 14] ^ schedule[index - 16]
            schedule[index] = Self.rotate(mixed, 1)
        }
        var (a, b, c, d, e) = (words[0], words[1], words[2], words[3], words[4])
        for index in 0..<80 {
            let (function, constant): (UInt32, UInt32) =
                switch index {
                case 0..<20: (b & c | ~b & d, 0x5a82_7999)
                case 20..<40: (b ^ c ^ d, 0x6ed9_eba1)
                case 40..<60: (b & c | b & d | c & d, 0x8f1b_bcdc)
                default: (b ^ c ^ d, 0xca62_c1d6)
                }
            let next = Self.rotate(a, 5) &+ function &+ e &+ schedule[index] &+ constant
            (e, d, c, b, a) = (d, c, Self.rotate(b, 30), a, next)
        }
        words[0] &+= a
        words[1] &+= b
        words[2] &+= c
        words[3] &+= d
        words[4] &+= e
    }

    private static func rotate(_ word: UInt32, _ count: UInt32) -> UInt32 { word << count | word >> (32 - count) }
}

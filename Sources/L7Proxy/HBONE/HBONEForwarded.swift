// SPDX-License-Identifier: Apache-2.0

/// The `host` that a client says it was going to (RFC 7239 section 5.3), from a `Forwarded` field.
///
/// What a peer says about itself: for reports, never for a decision.
public enum HBONEForwarded {
    /// - Returns: The host's bytes in `value`, of the first element that has one; `nil` if none has, or the field is
    ///   malformed before it.
    public static func host(_ value: UnsafeRawBufferPointer) -> Range<Int>? {
        var index = 0
        while index < value.count {
            skipBlanks(value, &index)
            // Empty elements and pairs are allowed (RFC 9110 section 5.6.1).
            if index < value.count, value[index] == ASCII.comma || value[index] == ASCII.semicolon {
                index += 1
                continue
            }
            let name = index
            while index < value.count, ASCII.isToken(value[index]) { index += 1 }
            let isHost = ASCII.equal(UnsafeRawBufferPointer(rebasing: value[name..<index]), "host")
            guard index > name, index < value.count, value[index] == UInt8(ascii: "=") else { return nil }
            index += 1
            guard let text = text(value, &index) else { return nil }
            skipBlanks(value, &index)
            guard index == value.count || value[index] == ASCII.comma || value[index] == ASCII.semicolon else {
                return nil
            }
            if isHost, !text.isEmpty {
                let isPlain = value[text].allSatisfy { $0 > 0x20 && $0 < 0x7f && $0 != ASCII.backslash }
                return isPlain ? text : nil
            }
        }
        return nil
    }

    private static func skipBlanks(_ value: UnsafeRawBufferPointer, _ index: inout Int) {
        while index < value.count, ASCII.isBlank(value[index]) { index += 1 }
    }

    /// A token or a quoted string (RFC 9110 section 5.6.4), without its quotes. Addresses stand here without quotes
    /// too, against the grammar.
    private static func text(_ value: UnsafeRawBufferPointer, _ index: inout Int) -> Range<Int>? {
        guard index < value.count, value[index] == UInt8(ascii: "\"") else {
            let start = index
            while index < value.count, isUnquoted(value[index]) { index += 1 }
            return index > start ? start..<index : nil
        }
        index += 1
        let start = index
        while index < value.count, value[index] != UInt8(ascii: "\"") {
            index += value[index] == ASCII.backslash ? 2 : 1
        }
        guard index < value.count else { return nil }
        defer { index += 1 }
        return start..<index
    }

    private static func isUnquoted(_ byte: UInt8) -> Bool {
        ASCII.isToken(byte) || byte == ASCII.colon || byte == UInt8(ascii: "[") || byte == UInt8(ascii: "]")
    }
}

// SPDX-License-Identifier: Apache-2.0

/// Checks `uri-host [ ":" port ]` (RFC 9110 section 4.2, RFC 3986 section 3.2).
enum Authority {
    /// Whether `text` may be the value of a `Host` field. An empty one may: it says that there is no authority
    /// (RFC 9112 section 3.2).
    static func isValid(_ text: UnsafeRawBufferPointer) -> Bool { text.isEmpty || parts(text) != nil }

    /// The length of what needs no closer look: letters, digits, `.` and `-`.
    @inline(__always)
    private static func usualLength(_ text: UnsafeRawBufferPointer) -> Int {
        guard let base = text.baseAddress else { return 0 }
        return ByteScanner.firstUnusualInHost(base, from: 0, to: text.count)
    }

    /// Whether `text` is a host, not empty, and a port, as CONNECT needs (RFC 9112 section 3.2.3).
    static func hasHostAndPort(_ text: UnsafeRawBufferPointer) -> Bool {
        guard let parts = parts(text) else { return false }
        return parts.port != nil
    }

    /// - Returns: The length of the host and the port, if there is one; `nil` if the text is not valid, has an empty
    ///   host, or holds user information, which RFC 9110 section 4.2.4 has us treat as an error.
    static func parts(_ text: UnsafeRawBufferPointer) -> (hostLength: Int, port: UInt16?)? {
        let hostLength = text.first == 0x5b ? literalLength(text) : nameLength(text)
        guard let hostLength, hostLength > 0 else { return nil }
        if hostLength == text.count { return (hostLength, nil) }
        guard text[hostLength] == ASCII.colon else { return nil }
        var port: UInt32 = 0
        for index in (hostLength + 1)..<text.count {
            let byte = text[index]
            guard ASCII.isDigit(byte) else { return nil }
            port = port * 10 + UInt32(byte - 0x30)
            guard port <= 65535 else { return nil }
        }
        // The grammar lets a port be empty, which means the scheme's own.
        return (hostLength, hostLength + 1 == text.count ? nil : UInt16(port))
    }

    /// The length of the `reg-name` or IPv4 address that `text` begins with.
    private static func nameLength(_ text: UnsafeRawBufferPointer) -> Int? {
        var index = usualLength(text)
        while index < text.count, ASCII.isRegName(text[index]) {
            if text[index] == ASCII.percent {
                guard index + 2 < text.count, ASCII.hexValue(text[index + 1]) != nil,
                    ASCII.hexValue(text[index + 2]) != nil
                else { return nil }
            }
            index += 1
        }
        return index
    }

    /// The length of the bracketed IPv6 address that `text` begins with. `IPvFuture` has no use and is refused.
    private static func literalLength(_ text: UnsafeRawBufferPointer) -> Int? {
        guard let close = text.firstIndex(of: 0x5d) else { return nil }
        let address = UnsafeRawBufferPointer(rebasing: text[1..<close])
        return IPv6Text.isValid(address) ? close + 1 : nil
    }
}

/// Checks the text of an IPv6 address (RFC 3986 section 3.2.2, without a zone).
private enum IPv6Text {
    static func isValid(_ text: UnsafeRawBufferPointer) -> Bool {
        var groups = 0
        var hasGap = false
        var index = 0
        if text.count >= 2, text[0] == ASCII.colon {
            guard text[1] == ASCII.colon else { return false }
            hasGap = true
            index = 2
        }
        while index < text.count {
            var end = index
            while end < text.count, ASCII.hexValue(text[end]) != nil { end += 1 }
            if end < text.count, text[end] == 0x2e {
                guard isIPv4(UnsafeRawBufferPointer(rebasing: text[index...])) else { return false }
                groups += 2
                index = text.count
                break
            }
            guard end > index, end - index <= 4 else { return false }
            groups += 1
            if end == text.count {
                index = end
                break
            }
            guard text[end] == ASCII.colon else { return false }
            index = end + 1
            if index < text.count, text[index] == ASCII.colon {
                guard !hasGap else { return false }
                hasGap = true
                index += 1
            } else if index == text.count {
                return false
            }
        }
        return hasGap ? groups <= 7 : groups == 8
    }

    private static func isIPv4(_ text: UnsafeRawBufferPointer) -> Bool {
        var octets = 0
        var index = 0
        while true {
            var value = 0
            let start = index
            while index < text.count, ASCII.isDigit(text[index]), index - start < 3 {
                value = value * 10 + Int(text[index] - 0x30)
                index += 1
            }
            let hasLeadingZero = index - start > 1 && text[start] == 0x30
            guard index > start, value <= 255, !hasLeadingZero else { return false }
            octets += 1
            if index == text.count { return octets == 4 }
            guard text[index] == 0x2e, octets < 4 else { return false }
            index += 1
        }
    }
}

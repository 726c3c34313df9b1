// SPDX-License-Identifier: Apache-2.0

/// The trace that a request belongs to: `traceparent` of https://www.w3.org/TR/trace-context/ (level 1).
///
/// The proxy takes no part in traces: what is valid goes on unchanged, `tracestate` too, and so do B3 fields. A request
/// without a valid `traceparent` starts a trace, and its `tracestate`, which belongs to none, is dropped.
public struct TraceContext: Hashable, Sendable, BitwiseCopyable {
    /// 16 bytes, not all 0; the first byte is the most significant one of `traceHigh`.
    public let traceHigh: UInt64
    public let traceLow: UInt64
    /// Not 0.
    public let parent: UInt64
    /// The one flag that has a meaning; all others are written as 0.
    public let isSampled: Bool

    /// Bytes of a `traceparent` of version 00.
    public static let length = 55

    /// Starts a trace.
    ///
    /// - Parameter random: uniform over all values.
    public init(random: (UInt64, UInt64, UInt64), isSampled: Bool) {
        traceHigh = random.0
        // An identifier of zeros is invalid.
        traceLow = random.0 == 0 && random.1 == 0 ? 1 : random.1
        parent = random.2 == 0 ? 1 : random.2
        self.isSampled = isSampled
    }

    /// Reads a `traceparent`.
    ///
    /// - Returns: `nil` if it is invalid. Of a later version what is known of it is read (section 3.2.4).
    public init?(_ text: UnsafeRawBufferPointer) {
        let dash = UInt8(ascii: "-")
        guard text.count >= Self.length, text[2] == dash, text[35] == dash, text[52] == dash,
            let version = Self.hexadecimal(text, 0, 2), version != 0xff,
            let traceHigh = Self.hexadecimal(text, 3, 16), let traceLow = Self.hexadecimal(text, 19, 16),
            let parent = Self.hexadecimal(text, 36, 16), let flags = Self.hexadecimal(text, 53, 2),
            traceHigh != 0 || traceLow != 0, parent != 0
        else { return nil }
        if text.count > Self.length {
            guard version > 0, text[Self.length] == dash else { return nil }
        }
        self.traceHigh = traceHigh
        self.traceLow = traceLow
        self.parent = parent
        isSampled = flags & 1 == 1
    }

    /// The digits of the trace in a `traceparent`; `nil` if that is invalid.
    public static func traceID(of text: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        guard TraceContext(text) != nil else { return nil }
        return UnsafeRawBufferPointer(rebasing: text[3..<35])
    }

    /// Digits in lower case only.
    private static func hexadecimal(_ text: UnsafeRawBufferPointer, _ offset: Int, _ count: Int) -> UInt64? {
        var value: UInt64 = 0
        for index in offset..<offset + count {
            let byte = text[index]
            if byte &- 0x30 < 10 {
                value = value << 4 | UInt64(byte &- 0x30)
            } else if byte &- 0x61 < 6 {
                value = value << 4 | UInt64(byte &- 0x57)
            } else {
                return nil
            }
        }
        return value
    }

    /// Writes a `traceparent` of version 00.
    ///
    /// - Parameter buffer: of at least ``length`` bytes.
    public func write(into buffer: UnsafeMutableRawBufferPointer) {
        precondition(buffer.count >= Self.length, "a traceparent has \(Self.length) bytes")
        let dash = UInt8(ascii: "-")
        Self.put(0, 2, buffer, 0)
        buffer[2] = dash
        Self.put(traceHigh, 16, buffer, 3)
        Self.put(traceLow, 16, buffer, 19)
        buffer[35] = dash
        Self.put(parent, 16, buffer, 36)
        buffer[52] = dash
        Self.put(isSampled ? 1 : 0, 2, buffer, 53)
    }

    private static func put(_ value: UInt64, _ digits: Int, _ buffer: UnsafeMutableRawBufferPointer, _ offset: Int) {
        for index in 0..<digits {
            let digit = UInt8(truncatingIfNeeded: value >> UInt64(4 * (digits - 1 - index))) & 0xf
            buffer[offset + index] = digit < 10 ? digit + 0x30 : digit + 0x57
        }
    }
}

/// Whether the lines of `tracestate` can go on (section 3.3). What is invalid is dropped, all lines of it; the
/// `traceparent` stays.
public struct TraceState: Sendable, BitwiseCopyable {
    public static let maximumMembers = 32

    public private(set) var isValid = true
    private var members = 0

    public init() {}

    /// Takes the next line into account.
    public mutating func add(_ line: UnsafeRawBufferPointer) {
        var begin = 0
        for index in 0...line.count where index == line.count || line[index] == UInt8(ascii: ",") {
            let member = ASCII.trimmed(UnsafeRawBufferPointer(rebasing: line[begin..<index]))
            begin = index + 1
            // Empty members are allowed.
            if member.isEmpty { continue }
            members += 1
            if members > Self.maximumMembers || !Self.isMember(member) {
                isValid = false
                return
            }
        }
    }

    private static func isMember(_ text: UnsafeRawBufferPointer) -> Bool {
        guard let equals = text.firstIndex(of: UInt8(ascii: "=")) else { return false }
        let valueLength = text.count - equals - 1
        guard valueLength >= 1, valueLength <= 256, isKey(UnsafeRawBufferPointer(rebasing: text[..<equals])) else {
            return false
        }
        for byte in text[(equals + 1)...] where byte < 0x20 || byte > 0x7e || byte == UInt8(ascii: "=") { return false }
        return true
    }

    /// `name`, or `tenant@system`.
    private static func isKey(_ key: UnsafeRawBufferPointer) -> Bool {
        guard let first = key.first else { return false }
        for byte in key where !isKeyByte(byte) && byte != UInt8(ascii: "@") { return false }
        guard let at = key.firstIndex(of: UInt8(ascii: "@")) else { return isLetter(first) && key.count <= 256 }
        let system = key.count - at - 1
        return at >= 1 && at <= 241 && (isLetter(first) || first &- 0x30 < 10) && system >= 1 && system <= 14
            && isLetter(key[at + 1]) && !key[(at + 1)...].contains(UInt8(ascii: "@"))
    }

    private static func isLetter(_ byte: UInt8) -> Bool { byte &- 0x61 < 26 }

    private static func isKeyByte(_ byte: UInt8) -> Bool {
        isLetter(byte) || byte &- 0x30 < 10 || byte == UInt8(ascii: "_") || byte == UInt8(ascii: "-")
            || byte == UInt8(ascii: "*") || byte == UInt8(ascii: "/")
    }
}

// SPDX-License-Identifier: Apache-2.0

/// Why a path is refused before anything is decided by it.
///
/// Each is a way in which paths have been made to mean one thing to a proxy and another to the server behind it.
public enum RequestPathDefect: UInt8, Error, Hashable, Sendable, CaseIterable, BitwiseCopyable {
    /// Does not begin with `/`.
    case notAbsolute
    /// A control character, a space, `#`, `?`, `"`, `<`, `>` or a byte above 127, which a path cannot have unescaped.
    case forbiddenCharacter
    /// A `%` without two hexadecimal digits, such as `%u002e`.
    case invalidEscape
    /// An escaped control character: `%00`, `%0A`.
    case escapedControl
    /// `\` or `%5C`, which some servers take for `/`.
    case backslash
    /// An escape of an escape of `.`, `/`, `\`, `;`, `%` or NUL: `%252F`.
    case doubleEscape
    /// Bytes that UTF-8 never has because they would be another spelling of a shorter character: `%C0%AF`.
    case overlongUTF8
    /// Doubtful in more than one way: dot segments, empty segments, `%2F` and `;` parameters.
    case ambiguous
    /// A dot segment that is none as it is written: `..%2F`, `..;`.
    case hiddenDotSegment
}

/// What a path has that servers read in different ways.
struct PathDoubts {
    var hasEscapes = false
    var hasEscapedSlashes = false
    var hasParameters = false
    var hasEmptySegments = false
    /// Of the path without escapes; set by who has that.
    var hasDotSegments = false
    /// A segment may begin with a dot.
    private var mayHaveDotSegments = false
    /// ``[ ] { } | ^ ` ``: not allowed unescaped, but sent by browsers and libraries.
    var hasBareCharacters = false

    /// Nothing that the normal form could change, and nothing doubtful.
    var isNone: Bool {
        !hasEscapes && !hasParameters && !hasEmptySegments && !mayHaveDotSegments && !hasBareCharacters
    }

    var count: Int {
        (hasEscapedSlashes ? 1 : 0) + (hasParameters ? 1 : 0) + (hasEmptySegments ? 1 : 0) + (hasDotSegments ? 1 : 0)
    }

    /// Whether `path` begins with `/` and has nothing that ``scan(_:)`` would find: its one reading is what it is.
    static func isPlain(_ path: UnsafeRawBufferPointer) -> Bool {
        guard let base = path.baseAddress, !path.isEmpty, path[0] == UInt8(ascii: "/") else { return false }
        // Bit n, of the second word bit n - 64: the byte n decides nothing, being a letter, a digit, or one of `-_~!$&'()*+,:=@`.
        let (low, high): (UInt64, UInt64) = (0x27ff_3fd2_0000_0000, 0x47ff_fffe_87ff_ffff)
        var wasSlash = true
        for index in 1..<path.count {
            let byte = base.load(fromByteOffset: index, as: UInt8.self)
            let word = byte & 0x40 == 0 ? low : high
            if byte < 0x80, word &>> UInt64(byte & 0x3f) & 1 != 0 {
                wasSlash = false
                continue
            }
            // An empty segment, or one that begins with a dot.
            if wasSlash { return false }
            switch byte {
            case UInt8(ascii: "/"): wasSlash = true
            case UInt8(ascii: "."): break
            default: return false
            }
        }
        return true
    }

    mutating func scan(_ path: UnsafeRawBufferPointer) -> RequestPathDefect? {
        var previous: UInt8 = 0
        var index = 0
        while index < path.count {
            let byte = path[index]
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"):
                break
            case UInt8(ascii: "/"):
                if previous == UInt8(ascii: "/") { hasEmptySegments = true }
            case UInt8(ascii: "."):
                if previous == UInt8(ascii: "/") { mayHaveDotSegments = true }
            case UInt8(ascii: ";"): hasParameters = true
            case UInt8(ascii: "%"):
                hasEscapes = true
                guard let escaped = RoutePath.escaped(path, index) else { return .invalidEscape }
                if let defect = scan(escaped: escaped, path, index) { return defect }
                index += 2
            case UInt8(ascii: "\\"): return .backslash
            case UInt8(ascii: "["), UInt8(ascii: "]"), UInt8(ascii: "{"), UInt8(ascii: "}"), UInt8(ascii: "|"),
                UInt8(ascii: "^"), UInt8(ascii: "`"):
                hasBareCharacters = true
            default:
                guard byte.isPlainInPath else { return .forbiddenCharacter }
            }
            previous = byte
            index += 1
        }
        return nil
    }

    private mutating func scan(
        escaped: UInt8, _ path: UnsafeRawBufferPointer, _ index: Int
    ) -> RequestPathDefect? {
        switch escaped {
        case 0..<0x20, 0x7f: return .escapedControl
        case UInt8(ascii: "/"): hasEscapedSlashes = true
        case UInt8(ascii: "\\"): return .backslash
        case 0xc0, 0xc1, 0xf5...0xff: return .overlongUTF8
        case 0xe0, 0xf0:
            // RFC 3629 section 4: the second byte is at least A0 after E0, and 90 after F0.
            guard index + 3 < path.count, path[index + 3] == UInt8(ascii: "%"),
                let second = RoutePath.escaped(path, index + 3)
            else { return nil }
            if (0x80..<(escaped == 0xe0 ? 0xa0 : 0x90)).contains(second) { return .overlongUTF8 }
        default: break
        }
        return nil
    }

    /// Whether an escaped `%` begins an escape of something that decides where segments begin.
    ///
    /// - Parameter path: without escapes of plain characters, as `%25%32%46` is `%252F`.
    static func hasDoubleEscapes(_ path: UnsafeRawBufferPointer) -> Bool {
        var index = 0
        while index + 4 < path.count {
            if path[index] == UInt8(ascii: "%"), path[index + 1] == UInt8(ascii: "2"),
                path[index + 2] == UInt8(ascii: "5"), let high = path[index + 3].hexDigit,
                let low = path[index + 4].hexDigit
            {
                switch high << 4 | low {
                case 0, UInt8(ascii: "."), UInt8(ascii: "/"), UInt8(ascii: "\\"), UInt8(ascii: ";"), UInt8(ascii: "%"):
                    return true
                default: break
                }
            }
            index += 1
        }
        return false
    }
}

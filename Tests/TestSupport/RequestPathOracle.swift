// SPDX-License-Identifier: Apache-2.0

/// How a path can be read, as text and one rule after the other.
public enum RequestPathOracle {
    private static let plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,:=@"
    private static let bare = "[]{}|^`"

    private struct Token {
        let byte: UInt8
        let isEscaped: Bool
    }

    /// - Returns: One or two readings; `nil`: refused.
    public static func readings(_ path: String) -> [String]? {
        if path == "" || path == "*" { return [path] }
        guard path.hasPrefix("/"), let tokens = tokens(path), isAcceptable(tokens) else { return nil }
        let text = tokens.map(spelled).joined()
        for hidden in ["%2500", "%252E", "%252F", "%255C", "%253B", "%2525"]
        where text.uppercased().contains(hidden) { return nil }
        var doubts = 0
        if text.contains("%2F") { doubts += 1 }
        if path.contains(";") { doubts += 1 }
        if path.contains("//") { doubts += 1 }
        let hasDots = hasDotSegment(text)
        if hasDots { doubts += 1 }
        if doubts > 1 { return nil }
        let normal = RoutePathOracle.normalized(path)
        if doubts == 0, !path.contains(where: { bare.contains($0) }) { return [normal] }
        var segments = text.components(of: "%2F").joined(separator: "/").components(of: "/")
            .map { $0.components(of: ";")[0] }
        let last = segments.removeLast()
        let other = "/" + segments.filter { $0 != "" }.map { $0 + "/" }.joined() + last
        if !hasDots, hasDotSegment(other) { return nil }
        return [normal, escapingBare(other)]
    }

    private static func tokens(_ path: String) -> [Token]? {
        var result: [Token] = []
        var rest = Array(path.utf8)[...]
        while let byte = rest.first {
            guard byte == UInt8(ascii: "%") else {
                result.append(Token(byte: byte, isEscaped: false))
                rest = rest.dropFirst()
                continue
            }
            let digits = String(decoding: rest.dropFirst().prefix(2), as: UTF8.self)
            guard digits.utf8.count == 2, digits.allSatisfy(\.isHexDigit), let value = UInt8(digits, radix: 16) else {
                return nil
            }
            result.append(Token(byte: value, isEscaped: true))
            rest = rest.dropFirst(3)
        }
        return result
    }

    private static func isAcceptable(_ tokens: [Token]) -> Bool {
        for (index, token) in tokens.enumerated() {
            if !token.isEscaped {
                let allowed = plain + bare + "/;"
                if !allowed.utf8.contains(token.byte) { return false }
                continue
            }
            if token.byte < 32 || token.byte == 127 || token.byte == 92 { return false }
            if [0xc0, 0xc1].contains(token.byte) || token.byte >= 0xf5 { return false }
            guard index + 1 < tokens.count, tokens[index + 1].isEscaped else { continue }
            let next = tokens[index + 1].byte
            if token.byte == 0xe0, next >= 0x80, next < 0xa0 { return false }
            if token.byte == 0xf0, next >= 0x80, next < 0x90 { return false }
        }
        return true
    }

    private static func spelled(_ token: Token) -> String {
        if token.isEscaped, !plain.utf8.contains(token.byte) {
            let digits = String(token.byte, radix: 16, uppercase: true)
            return "%" + (digits.count == 1 ? "0" : "") + digits
        }
        return String(Unicode.Scalar(token.byte))
    }

    private static func hasDotSegment(_ text: String) -> Bool {
        text.components(of: "/").contains { $0 == "." || $0 == ".." }
    }

    private static func escapingBare(_ text: String) -> String {
        text.utf8.map { byte in
            let isFine = (plain + "/%;").utf8.contains(byte)
            return spelled(Token(byte: byte, isEscaped: !isFine))
        }.joined()
    }

    /// A pattern's text as readings are spelled.
    static func spelled(pattern: String) -> String {
        var result = ""
        var rest = Array(pattern.utf8)[...]
        while let byte = rest.first {
            let digits = String(decoding: rest.dropFirst().prefix(2), as: UTF8.self)
            if byte == UInt8(ascii: "%"), digits.utf8.count == 2, digits.allSatisfy(\.isHexDigit),
                let value = UInt8(digits, radix: 16)
            {
                result += spelled(Token(byte: value, isEscaped: true))
                rest = rest.dropFirst(3)
            } else {
                let isFine = (plain + "/%;").utf8.contains(byte)
                result += spelled(Token(byte: byte, isEscaped: !isFine))
                rest = rest.dropFirst()
            }
        }
        return result
    }
}

extension String {
    func components(of separator: String) -> [String] {
        var result = [""]
        var rest = self[...]
        while !rest.isEmpty {
            if rest.hasPrefix(separator) {
                result.append("")
                rest = rest.dropFirst(separator.count)
            } else {
                result[result.count - 1].append(rest.removeFirst())
            }
        }
        return result
    }
}

// SPDX-License-Identifier: Apache-2.0

/// Paths and queries as text, one rule after the other.
public enum RoutePathOracle {
    /// RFC 3986 section 6.2.2: escapes in upper case, characters of a segment (but `;`) without escape, no dot segments.
    public static func normalized(_ path: String) -> String {
        var text = ""
        var rest = Substring(path)
        while let first = rest.first {
            let escape = rest.prefix(3)
            if first == "%", escape.utf8.count == 3, let byte = UInt8(escape.dropFirst(), radix: 16),
                escape.dropFirst().allSatisfy(\.isHexDigit)
            {
                let character = Character(Unicode.Scalar(byte))
                let isPlain =
                    byte < 0x80
                    && (character.isLetter || character.isNumber || "-._~!$&'()*+,:=@".contains(character))
                text += isPlain ? String(character) : escape.uppercased()
                rest = rest.dropFirst(3)
            } else {
                text.append(first)
                rest = rest.dropFirst()
            }
        }
        guard text.hasPrefix("/") else { return text }
        var output: [Substring] = []
        let segments = text.dropFirst().split(separator: "/", omittingEmptySubsequences: false)
        for (index, segment) in segments.enumerated() {
            let isLast = index == segments.count - 1
            switch segment {
            case ".": if isLast { output.append("") }
            case "..":
                _ = output.popLast()
                if isLast { output.append("") }
            default: output.append(segment)
            }
        }
        return "/" + output.joined(separator: "/")
    }

    /// https://url.spec.whatwg.org/#urlencoded-parsing, for ASCII.
    static func formDecoded(_ text: String) -> String {
        var result = ""
        var rest = Substring(text)
        while let first = rest.first {
            let escape = rest.prefix(3)
            if first == "%", escape.utf8.count == 3, escape.dropFirst().allSatisfy(\.isHexDigit),
                let byte = UInt8(escape.dropFirst(), radix: 16)
            {
                result.unicodeScalars.append(Unicode.Scalar(byte))
                rest = rest.dropFirst(3)
            } else {
                result.append(first == "+" ? " " : first)
                rest = rest.dropFirst()
            }
        }
        return result
    }
}

// SPDX-License-Identifier: Apache-2.0

/// Writes a value as YAML or JSON that reads back as the same value.
public enum NodeWriter {
    /// Block style, two spaces for each level, strings in double quotes where plain ones would mean something else.
    public static func yaml(_ node: ManifestNode) -> String {
        var text = ""
        write(node, indent: 0, into: &text)
        return text.hasPrefix("\n") ? String(text.dropFirst()) : text
    }

    /// One line, keys in written order.
    public static func json(_ node: ManifestNode) -> String {
        switch node.content {
        case .null: return "null"
        case .bool(let value): return value ? "true" : "false"
        case .integer(let value): return String(value)
        case .otherNumber: return isJSONNumber(node.text) ? node.text : quoted(node.text)
        case .string: return quoted(node.text)
        case .sequence(let elements): return "[" + elements.map(json).joined(separator: ",") + "]"
        case .mapping(let fields):
            return "{" + fields.map { quoted($0.key) + ":" + json($0.value) }.joined(separator: ",") + "}"
        }
    }

    private static func write(_ node: ManifestNode, indent: Int, into text: inout String) {
        let margin = String(repeating: " ", count: indent)
        switch node.content {
        case .sequence(let elements) where elements.isEmpty: text += "[]\n"
        case .mapping(let fields) where fields.isEmpty: text += "{}\n"
        case .sequence(let elements):
            text += "\n"
            for element in elements {
                text += margin + "- "
                // A mapping begins on the line of its dash.
                var inner = ""
                write(element, indent: indent + 2, into: &inner)
                text += inner.hasPrefix("\n") ? String(inner.dropFirst(1 + indent + 2)) : inner
            }
        case .mapping(let fields):
            text += "\n"
            for field in fields {
                text += margin + scalar(field.key) + ":"
                var inner = ""
                // A list stays at the column of its key, as kubectl writes it.
                let isList = if case .sequence = field.value.content { true } else { false }
                write(field.value, indent: isList ? indent : indent + 2, into: &inner)
                text += inner.hasPrefix("\n") ? inner : " " + inner
            }
        case .string: text += scalar(node.text) + "\n"
        case .null, .bool, .integer, .otherNumber: text += (node.text.isEmpty ? "null" : node.text) + "\n"
        }
    }

    /// A string plain if that is safe, else in double quotes.
    private static func scalar(_ string: String) -> String {
        let isWordLike = string.utf8.allSatisfy { byte in
            byte.isLetter || byte.isDigit || "-_./".utf8.contains(byte)
        }
        guard isWordLike, let first = string.utf8.first, first.isLetter || first.isDigit || first == UInt8(ascii: "/"),
            case .string? = YAMLScalar.content(string, isPlain: true, tag: "")
        else { return quoted(string) }
        // A date is a string here and a date elsewhere.
        return first.isDigit && string.utf8.contains(UInt8(ascii: "-")) ? quoted(string) : string
    }

    /// A JSON string, which is also a double-quoted YAML string: what YAML would fold or refuse is escaped.
    static func quoted(_ string: String) -> String {
        var text = "\""
        for scalar in string.unicodeScalars {
            switch scalar {
            case "\"": text += "\\\""
            case "\\": text += "\\\\"
            case "\n": text += "\\n"
            case "\t": text += "\\t"
            case "\r": text += "\\r"
            case "\u{00}"..."\u{1F}", "\u{7F}"..."\u{A0}", "\u{2028}", "\u{2029}", "\u{FEFF}", "\u{FFFE}", "\u{FFFF}":
                let hex = String(scalar.value, radix: 16)
                text += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
            default: text.unicodeScalars.append(scalar)
            }
        }
        return text + "\""
    }

    /// RFC 8259, section 6. Numbers of other forms, 0x1F and .inf, are written as strings.
    private static func isJSONNumber(_ text: String) -> Bool {
        var rest = text.utf8[...]
        func digits() -> Int {
            let count = rest.prefix { $0.isDigit }.count
            rest = rest.dropFirst(count)
            return count
        }
        if rest.first == UInt8(ascii: "-") { rest = rest.dropFirst() }
        let leadingZero = rest.first == UInt8(ascii: "0")
        let whole = digits()
        guard whole > 0, !(leadingZero && whole > 1) else { return false }
        if rest.first == UInt8(ascii: ".") {
            rest = rest.dropFirst()
            if digits() == 0 { return false }
        }
        if rest.first == UInt8(ascii: "e") || rest.first == UInt8(ascii: "E") {
            rest = rest.dropFirst()
            if rest.first == UInt8(ascii: "+") || rest.first == UInt8(ascii: "-") { rest = rest.dropFirst() }
            if digits() == 0 { return false }
        }
        return rest.isEmpty
    }
}

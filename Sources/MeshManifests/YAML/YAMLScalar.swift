// SPDX-License-Identifier: Apache-2.0

/// What an unquoted scalar means, as `kubectl` reads it: YAML 1.1 with its many booleans.
///
/// The point is to refuse what Kubernetes refuses: a label `version: 1.10` is a number, and `enabled: yes` a boolean.
enum YAMLScalar {
    /// - Parameter tag: the explicit tag; empty or `!` if there is none.
    /// - Returns: `nil` if the tag is not supported or does not fit the text.
    static func content(_ text: String, isPlain: Bool, tag: String) -> ManifestNode.Content? {
        switch tag {
        case "": return isPlain ? implicit(text) : .string
        // The library gives quoted scalars the tag !!str too.
        case "!", "tag:yaml.org,2002:str": return .string
        case "tag:yaml.org,2002:int":
            if case .integer = implicit(text) { return implicit(text) }
            return nil
        case "tag:yaml.org,2002:float":
            switch implicit(text) {
            case .integer, .otherNumber: return .otherNumber
            default: return nil
            }
        case "tag:yaml.org,2002:bool":
            if case .bool = implicit(text) { return implicit(text) }
            return nil
        case "tag:yaml.org,2002:null":
            if case .null = implicit(text) { return .null }
            return nil
        default: return nil
        }
    }

    private static func implicit(_ text: String) -> ManifestNode.Content {
        switch text {
        case "", "~", "null", "Null", "NULL": return .null
        case "true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y": return .bool(true)
        case "false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", "n", "N": return .bool(false)
        default:
            guard let first = text.utf8.first, first < 0x3A, first >= 0x2B else { return .string }
            return number(text) ?? .string
        }
    }

    private static func number(_ text: String) -> ManifestNode.Content? {
        let isNegative = text.utf8.first == UInt8(ascii: "-")
        let hasSign = isNegative || text.utf8.first == UInt8(ascii: "+")
        let digits = hasSign ? text.dropFirst() : text[...]
        guard let first = digits.utf8.first else { return nil }

        if let hexadecimal = digits.dropping(prefix: "0x") {
            guard let magnitude = UInt64(hexadecimal, radix: 16), !hexadecimal.hasPrefix("+") else { return nil }
            guard let value = Int64(exactly: magnitude) else { return .otherNumber }
            return .integer(isNegative ? -value : value)
        }
        if digits.utf8.allSatisfy({ $0.isDigit }) {
            // 0644 is octal for kubectl and decimal for YAML 1.2: readable as neither, so never an integer here.
            if first == UInt8(ascii: "0"), digits.utf8.count > 1 { return .otherNumber }
            return Int64(text).map { .integer($0) } ?? .otherNumber
        }
        switch digits {
        case ".inf", ".Inf", ".INF": return .otherNumber
        case ".nan", ".NaN", ".NAN": return hasSign ? nil : .otherNumber
        default: break
        }
        if let octal = digits.dropping(prefix: "0o") { return UInt64(octal, radix: 8).map { _ in .otherNumber } }
        if let binary = digits.dropping(prefix: "0b") { return UInt64(binary, radix: 2).map { _ in .otherNumber } }
        let mayBeFloat = digits.utf8.allSatisfy { byte in
            byte.isDigit || "._eE+-".utf8.contains(byte)
        }
        guard mayBeFloat, digits.utf8.contains(where: { $0.isDigit }) else { return nil }
        return Double(digits.filter { $0 != "_" }) == nil ? nil : .otherNumber
    }
}

extension Substring {
    fileprivate func dropping(prefix: String) -> Substring? {
        hasPrefix(prefix) ? dropFirst(prefix.count) : nil
    }
}

extension UInt8 {
    var isDigit: Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(self) }
}

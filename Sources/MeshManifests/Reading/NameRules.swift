// SPDX-License-Identifier: Apache-2.0

/// The syntax rules of the Kubernetes API server for names, labels and ports.
///
/// Each rule returns what is wrong, or `nil`.
/// https://github.com/kubernetes/apimachinery/blob/v0.34.0/pkg/util/validation/validation.go
enum NameRules {
    /// RFC 1123 label: a namespace, a pod's container, a part of a name.
    static func label(_ text: String) -> String? {
        if text.isEmpty { return "must not be empty" }
        if text.utf8.count > 63 { return "has \(text.utf8.count) characters; the limit is 63" }
        return isLabel(text[...])
            ? nil
            : "\"\(text.clipped)\" is not a valid name: use lower-case letters, digits and -, and begin and "
                + "end with a letter or digit"
    }

    /// RFC 1123 subdomain: the name of most objects.
    static func subdomain(_ text: String) -> String? {
        if text.isEmpty { return "must not be empty" }
        if text.utf8.count > 253 { return "has \(text.utf8.count) characters; the limit is 253" }
        return text.split(separator: ".", omittingEmptySubsequences: false).allSatisfy(isLabel)
            ? nil
            : "\"\(text.clipped)\" is not a valid name: use lower-case letters, digits, - and ., and begin and "
                + "end with a letter or digit"
    }

    /// RFC 1035 label: the name of a Service, which becomes a DNS name.
    static func service(_ text: String) -> String? {
        if let problem = label(text) { return problem }
        return text.utf8.first!.isDigit ? "\"\(text)\" is not a valid Service name: begin with a letter" : nil
    }

    /// The name of a port (IANA_SVC_NAME, RFC 6335 section 5.1): at most 15 characters.
    static func port(_ text: String) -> String? {
        if text.isEmpty { return "must not be empty" }
        if text.utf8.count > 15 { return "\"\(text.clipped)\" has more than the 15 characters of a port name" }
        let bytes = Array(text.utf8)
        let isLegal = bytes.allSatisfy { ($0.isLetter && !$0.isUpper) || $0.isDigit || $0 == UInt8(ascii: "-") }
        guard isLegal, bytes.contains(where: { $0.isLetter }), bytes.first != UInt8(ascii: "-"),
            bytes.last != UInt8(ascii: "-"), !text.contains("--")
        else {
            return "\"\(text.clipped)\" is not a port name: use lower-case letters, digits and single -, with at "
                + "least one letter"
        }
        return nil
    }

    /// The key of a label or an annotation: an optional DNS prefix and a name, `app.kubernetes.io/name`.
    static func qualifiedName(_ text: String) -> String? {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        let name = parts.last ?? ""
        if parts.count > 2 { return "\"\(text.clipped)\" has more than one /" }
        if parts.count == 2, let problem = subdomain(String(parts[0])) { return "prefix of the key: \(problem)" }
        if name.isEmpty || name.utf8.count > 63 || !isLabelText(name) {
            return "\"\(text.clipped)\" is not a valid key: use at most 63 letters, digits, -, _ and ., and begin "
                + "and end with a letter or digit"
        }
        return nil
    }

    static func labelValue(_ text: String) -> String? {
        if text.isEmpty || (text.utf8.count <= 63 && isLabelText(text[...])) { return nil }
        return "\"\(text.clipped)\" is not a valid label value: use at most 63 letters, digits, -, _ and ., and begin "
            + "and end with a letter or digit"
    }

    private static func isLabel(_ text: Substring) -> Bool {
        guard let first = text.utf8.first, let last = text.utf8.last else { return false }
        let isAlphanumeric = { (byte: UInt8) in (byte.isLetter && !byte.isUpper) || byte.isDigit }
        return isAlphanumeric(first) && isAlphanumeric(last)
            && text.utf8.allSatisfy { isAlphanumeric($0) || $0 == UInt8(ascii: "-") }
    }

    private static func isLabelText(_ text: Substring) -> Bool {
        guard let first = text.utf8.first, let last = text.utf8.last else { return false }
        let isAlphanumeric = { (byte: UInt8) in byte.isLetter || byte.isDigit }
        return isAlphanumeric(first) && isAlphanumeric(last)
            && text.utf8.allSatisfy { isAlphanumeric($0) || "-_.".utf8.contains($0) }
    }
}

extension UInt8 {
    fileprivate var isUpper: Bool { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(self) }
}

// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// The syntax rules of the Gateway API for texts in routes. Each returns what is wrong, or `nil`.
///
/// https://github.com/kubernetes-sigs/gateway-api/blob/v1.4.0/apis/v1/httproute_types.go
/// https://github.com/kubernetes-sigs/gateway-api/blob/v1.4.0/apis/v1/shared_types.go
enum RouteText {
    static let maximumPath = 1024

    /// The value of an Exact or PathPrefix match.
    static func path(_ text: String) -> (reason: String, remedy: String)? {
        guard text.hasPrefix("/") else {
            return ("\"\(text.clipped)\" is not an absolute path", "begin with /")
        }
        if text.contains("//") { return ("\"\(text.clipped)\" has an empty element", "write one / instead of //") }
        if text.contains("/./") || text.contains("/../") || text.hasSuffix("/.") || text.hasSuffix("/..") {
            return ("\"\(text.clipped)\" has the element . or ..", "write the path that it leads to")
        }
        if text.lowercased().contains("%2f") {
            return ("\"\(text.clipped)\" has an escaped /", "use a regular expression")
        }
        return pathCharacters(text)
    }

    /// What a path is replaced with. It goes into a request line, so that no other character can be let through.
    static func replacement(_ text: String, mayBeEmpty: Bool) -> (reason: String, remedy: String)? {
        if text.isEmpty, mayBeEmpty { return nil }
        guard text.hasPrefix("/") else {
            return ("\"\(text.clipped)\" is not an absolute path", "begin with /")
        }
        return pathCharacters(text)
    }

    private static func pathCharacters(_ text: String) -> (reason: String, remedy: String)? {
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "%") {
                guard rest.count >= 2, rest.prefix(2).allSatisfy(\.isHexDigit) else {
                    return ("\"\(text.clipped)\" has a % without two hexadecimal digits", "write %25 for a %")
                }
                rest = rest.dropFirst(2)
            } else if !byte.isLetter, !byte.isDigit, !"-/._~!$&'()*+,;=:@".utf8.contains(byte) {
                return (
                    "\"\(text.clipped)\" has a character that is not allowed in a path",
                    byte == UInt8(ascii: "?") ? "a query is matched by queryParams" : "escape it with %"
                )
            }
        }
        return nil
    }

    /// RFC 9110 section 5.1: a token.
    static func headerName(_ text: String) -> String? {
        if text.isEmpty { return "must not be empty" }
        if text.utf8.count > 256 { return "has \(text.utf8.count) characters; the limit is 256" }
        return HTTPToken.isToken(text)
            ? nil : "\"\(text.clipped)\" is not a name: use letters, digits and !#$%&'*+-.^_`|~"
    }

    /// RFC 9110 section 5.5. A line break would begin another header.
    static func headerValue(_ text: String) -> String? {
        if text.isEmpty { return "must not be empty" }
        if text.utf8.count > 4096 { return "has \(text.utf8.count) characters; the limit is 4096" }
        guard text.utf8.allSatisfy({ (0x20...0x7E).contains($0) || $0 == 0x09 }) else {
            return "\"\(text.clipped)\" has a character that is not printable ASCII"
        }
        let isBlank = { (byte: UInt8?) in byte == 0x20 || byte == 0x09 }
        return isBlank(text.utf8.first) || isBlank(text.utf8.last)
            ? "\"\(text.clipped)\" begins or ends with white space, which is no part of a value" : nil
    }

    /// Headers that say how a message is framed and who it is for. Changing them by hand makes two readers of one
    /// connection disagree about where a message ends.
    static func reservedHeader(_ name: String) -> (reason: String, remedy: String)? {
        switch name.lowercased() {
        case "connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding",
            "upgrade":
            ("the header \(name) belongs to the connection and cannot be changed by a route", "remove it")
        case "host": ("the header \(name) cannot be changed by a header modifier", "use urlRewrite.hostname")
        default: nil
        }
    }

    /// RFC 1123 with lower-case letters; not an address.
    static func hostname(_ text: String, allowsWildcard: Bool = false) -> String? {
        let name = allowsWildcard && text.hasPrefix("*.") ? String(text.dropFirst(2)) : text
        if let problem = NameRules.subdomain(name) { return problem }
        let labels = name.split(separator: ".")
        return labels.count == 4 && labels.allSatisfy({ UInt8($0) != nil })
            ? "\"\(text.clipped)\" is an address, not a host name" : nil
    }

    /// `package.Service`.
    static func grpcService(_ text: String) -> String? {
        let name = text.hasPrefix(".") ? text.dropFirst() : text[...]
        return name.split(separator: ".", omittingEmptySubsequences: false).allSatisfy(isIdentifier)
            ? nil : "\"\(text.clipped)\" is not the name of a service, like helloworld.Greeter"
    }

    static func grpcMethod(_ text: String) -> String? {
        isIdentifier(text[...]) ? nil : "\"\(text.clipped)\" is not the name of a method, like SayHello"
    }

    private static func isIdentifier(_ text: Substring) -> Bool {
        guard let first = text.utf8.first, !first.isDigit else { return false }
        return text.utf8.allSatisfy { $0.isLetter || $0.isDigit || $0 == UInt8(ascii: "_") }
    }

    /// `*`, or `scheme://host[:port]` where the host may begin with `*.` or be `*`.
    static func origin(_ text: String) -> String? {
        if text == "*" { return nil }
        let problem = "\"\(text.clipped)\" is not an origin like https://example.com, https://*.example.com:8443 or *"
        guard text.utf8.count <= 253, let scheme = ["http://", "https://"].first(where: text.hasPrefix) else {
            return problem
        }
        let parts = text.dropFirst(scheme.utf8.count).split(separator: ":", omittingEmptySubsequences: false)
        if parts.count == 2, UInt16(parts[1]).map({ $0 > 0 }) != true || !parts[1].utf8.allSatisfy(\.isDigit) {
            return problem
        }
        let host = parts[0].hasPrefix("*.") ? parts[0].dropFirst(2) : parts[0]
        let isName = host.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { label in
            !label.isEmpty && label.utf8.allSatisfy { $0.isLetter || $0.isDigit || $0 == UInt8(ascii: "-") }
        }
        return parts.count <= 2 && (isName || parts[0] == "*") ? nil : problem
    }
}

extension UInt8 {
    var isHexDigit: Bool { isDigit || (0x41...0x46).contains(self) || (0x61...0x66).contains(self) }
}

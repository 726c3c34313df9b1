// SPDX-License-Identifier: Apache-2.0

/// How an AuthorizationPolicy names a string: `a`, `a*`, `*a`, or `*` for any that is present.
enum StringMatch: Hashable, Sendable {
    case exact(String)
    case prefix(String)
    case suffix(String)
    case presence

    init(_ pattern: String) {
        if pattern == "*" {
            self = .presence
        } else if pattern.hasPrefix("*") {
            self = .suffix(String(pattern.dropFirst()))
        } else if pattern.hasSuffix("*") {
            self = .prefix(String(pattern.dropLast()))
        } else {
            self = .exact(pattern)
        }
    }

    /// A pattern for principals, which are compared without their scheme.
    init(principal pattern: String) {
        let scheme = "spiffe://"
        self.init(pattern.hasPrefix(scheme) ? String(pattern.dropFirst(scheme.count)) : pattern)
    }

    /// - Parameter text: A string that is present.
    func matches(_ text: String) -> Bool {
        switch self {
        case .exact(let pattern): text == pattern
        case .prefix(let pattern): text.hasPrefix(pattern)
        case .suffix(let pattern): text.hasSuffix(pattern)
        case .presence: true
        }
    }
}

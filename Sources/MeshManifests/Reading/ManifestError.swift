// SPDX-License-Identifier: Apache-2.0

/// One thing that is wrong in a manifest, where it is, and what to do about it.
public struct ManifestError: Error, Hashable, Sendable {
    public enum Severity: Hashable, Sendable {
        /// The object is not used.
        case error
        /// The object is used, or is none of ours; the user should know.
        case warning
    }

    public var severity: Severity
    /// The path as the user gave it; `-` for standard input.
    public var file: String
    /// Counted from 1; 0 when the finding is about the file as a whole.
    public var line: Int
    /// Counted from 1, in characters; 0 when unknown.
    public var column: Int
    /// The object in which it was found, as far as its kind and name could be read: `NetworkPolicy shop/web`.
    public var object: String
    /// The path of the field, `spec.ingress[0].from[1].ipBlock.cidr`; empty when the whole document is meant.
    public var field: String
    public var reason: String
    /// What to do; empty if the reason says it.
    public var remedy: String

    public init(
        severity: Severity = .error, file: String, line: Int = 0, column: Int = 0, object: String = "",
        field: String = "", reason: String, remedy: String = ""
    ) {
        self.severity = severity
        self.file = file
        self.line = line
        self.column = column
        self.object = object
        self.field = field
        self.reason = reason
        self.remedy = remedy
    }
}

extension ManifestError: CustomStringConvertible {
    /// `file:line:column: kind ns/name: field: reason (what to do)`; parts that are not known are left out.
    public var description: String {
        var text = file
        if line > 0 {
            text += ":\(line)"
            if column > 0 { text += ":\(column)" }
        }
        text += severity == .warning ? ": warning" : ""
        for part in [object, field] where !part.isEmpty { text += ": \(part)" }
        text += ": \(reason)"
        if !remedy.isEmpty { text += " (\(remedy))" }
        return text
    }
}

extension ManifestError: Comparable {
    /// The order in which a reader of the file meets them.
    public static func < (left: Self, right: Self) -> Bool {
        (left.file, left.line, left.column, left.field, left.reason)
            < (right.file, right.line, right.column, right.field, right.reason)
    }
}

// SPDX-License-Identifier: Apache-2.0

/// A remark about an object of the configuration: why it was refused, or what of it cannot be enforced.
public struct Finding: Codable, Equatable, Sendable {
    public enum Severity: String, Codable, Sendable, Comparable {
        /// Worth knowing; nothing is missing.
        case info
        /// Part of the object has no effect, for the reason given.
        case warning
        /// The object was refused.
        case error

        public static func < (left: Severity, right: Severity) -> Bool { left.rank < right.rank }

        private var rank: Int {
            switch self {
            case .info: 0
            case .warning: 1
            case .error: 2
            }
        }
    }

    public var severity: Severity
    /// What is wrong and why, in one sentence without a full stop.
    public var message: String
    /// File name as the user gave it, `<stdin>` for standard input.
    public var file: String?
    /// Line in `file`, counted from 1.
    public var line: Int?
    /// The object, for example `NetworkPolicy shop/deny-all`.
    public var object: String?
    /// Path of the field, for example `spec.ingress[0].from[1].ipBlock.cidr`.
    public var field: String?
    /// What to do about it.
    public var hint: String?

    public init(
        _ severity: Severity, _ message: String, file: String? = nil, line: Int? = nil, object: String? = nil,
        field: String? = nil, hint: String? = nil
    ) {
        self.severity = severity
        self.message = message
        self.file = file
        self.line = line
        self.object = object
        self.field = field
        self.hint = hint
    }
}

extension Finding: CustomStringConvertible {
    /// `shop.yaml:12: error: NetworkPolicy shop/a: spec.ingress: not a list (write a list of rules)`.
    public var description: String {
        var text = ""
        if let file {
            text += file
            if let line { text += ":\(line)" }
            text += ": "
        }
        text += "\(severity.rawValue): "
        if let object { text += "\(object): " }
        if let field { text += "\(field): " }
        text += message
        if let hint { text += " (\(hint))" }
        return text
    }
}

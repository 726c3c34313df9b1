// SPDX-License-Identifier: Apache-2.0

/// A value of a YAML or JSON document, with the place where it was written.
///
/// Anchors are already resolved: an alias appears as a copy of what it names, with the position of the original.
public struct ManifestNode: Sendable {
    /// A line and a column, both counted from 1; columns are Unicode scalars. 0 means unknown.
    public struct Position: Hashable, Sendable, Comparable {
        public var line: Int32
        public var column: Int32

        public init(line: Int, column: Int) {
            self.line = Int32(clamping: line)
            self.column = Int32(clamping: column)
        }

        public static func < (left: Self, right: Self) -> Bool {
            (left.line, left.column) < (right.line, right.column)
        }
    }

    /// One key of a mapping and its value.
    public struct Field: Sendable {
        public let key: String
        public let keyPosition: Position
        public let value: ManifestNode

        public init(key: String, keyPosition: Position, value: ManifestNode) {
            self.key = key
            self.keyPosition = keyPosition
            self.value = value
        }
    }

    public enum Content: Sendable {
        case null
        case bool(Bool)
        case integer(Int64)
        /// A number that is not a plain 64-bit integer: a float, an octal, a number with underscores.
        case otherNumber
        case string
        case sequence([ManifestNode])
        case mapping([Field])
    }

    public let content: Content
    /// A scalar as it was written, without quotes; empty for collections.
    public let text: String
    public let position: Position

    public init(_ content: Content, text: String = "", position: Position = Position(line: 0, column: 0)) {
        self.content = content
        self.text = text
        self.position = position
    }
}

extension ManifestNode {
    public var isNull: Bool {
        if case .null = content { true } else { false }
    }

    /// The fields of a mapping in written order; `nil` for everything else.
    public var fields: [Field]? {
        if case .mapping(let fields) = content { fields } else { nil }
    }

    /// The elements of a sequence; `nil` for everything else.
    public var elements: [ManifestNode]? {
        if case .sequence(let elements) = content { elements } else { nil }
    }

    /// The text of a string scalar; `nil` for everything else, numbers and booleans included.
    public var string: String? {
        if case .string = content { text } else { nil }
    }

    /// The value of `key` in a mapping; `nil` if there is none.
    public subscript(key: String) -> ManifestNode? {
        fields?.first { $0.key == key }?.value
    }

    /// What the value is, in the words of an error message.
    var kindOfValue: String {
        switch content {
        case .null: "null"
        case .bool: "the boolean \(text)"
        case .integer, .otherNumber: "the number \(text)"
        case .string: "the string \"\(text.clipped)\""
        case .sequence: "a list"
        case .mapping: "a mapping"
        }
    }
}

/// Equality of what is said, not of where: positions do not count, nor does the order of keys.
extension ManifestNode: Equatable {
    public static func == (left: Self, right: Self) -> Bool {
        switch (left.content, right.content) {
        case (.null, .null): return true
        case (.bool(let left), .bool(let right)): return left == right
        case (.integer(let left), .integer(let right)): return left == right
        case (.otherNumber, .otherNumber), (.string, .string): return left.text == right.text
        case (.sequence(let left), .sequence(let right)): return left == right
        case (.mapping(let left), .mapping(let right)):
            guard left.count == right.count else { return false }
            let values = Dictionary(right.map { ($0.key, $0.value) }, uniquingKeysWith: { first, _ in first })
            return left.allSatisfy { values[$0.key] == $0.value }
        default: return false
        }
    }
}

extension String {
    /// At most 80 characters on one line, for use inside a message.
    var clipped: String {
        let line = unicodeScalars.prefix(81).map { scalar in
            scalar.properties.generalCategory == .control ? "\u{FFFD}" : Character(scalar)
        }
        return line.count > 80 ? String(line.prefix(79)) + "…" : String(line)
    }
}

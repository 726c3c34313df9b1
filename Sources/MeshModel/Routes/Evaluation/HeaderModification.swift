// SPDX-License-Identifier: Apache-2.0

/// A ``HeaderModifier`` in the form in which lines pass through it: some are dropped, some are added at the end.
public struct HeaderModification: Hashable, Sendable {
    /// Names in lower case whose lines go: those to set and those to remove.
    public let dropped: [[UInt8]]
    /// Lines to write after the others: those to set, then those to add. A further line of a name adds to its value
    /// (RFC 9110 section 5.3), and does so for Set-Cookie too, whose values must not be joined.
    public let added: [HeaderField]

    public init(_ modifier: HeaderModifier) {
        dropped = (modifier.set.map(\.name) + modifier.remove).map { Array($0.asciiLowercased.utf8) }
        added = modifier.set + modifier.add
    }

    /// Whether a line of this name is left out.
    public func drops(_ name: UnsafeRawBufferPointer) -> Bool {
        dropped.contains { $0.withUnsafeBytes { name.equalsIgnoringCase($0) } }
    }

    /// The lines as they are afterwards.
    public func applied(to fields: [HeaderField]) -> [HeaderField] {
        fields.filter { field in
            var name = field.name
            return !name.withUTF8 { drops(UnsafeRawBufferPointer($0)) }
        } + added
    }
}

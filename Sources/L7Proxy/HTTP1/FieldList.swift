// SPDX-License-Identifier: Apache-2.0

/// The elements of a comma-separated field value, without the whitespace around them (RFC 9110 section 5.6.1).
///
/// Commas inside quoted strings separate too: the fields that are read this way have no quoted strings that matter, and
/// the pieces of one are then refused or ignored as what they are.
struct FieldList {
    private var rest: UnsafeRawBufferPointer?

    init(_ value: UnsafeRawBufferPointer) { rest = value }

    /// The next element, which may be empty; an empty value has one empty element. `nil` after the last.
    @inline(__always)
    mutating func next() -> UnsafeRawBufferPointer? {
        guard let value = rest else { return nil }
        var end = 0
        while end < value.count, value[end] != ASCII.comma { end &+= 1 }
        rest = end < value.count ? UnsafeRawBufferPointer(rebasing: value[(end &+ 1)...]) : nil
        return ASCII.trimmed(UnsafeRawBufferPointer(rebasing: value[0..<end]))
    }

    /// Whether an element of `value` is `text` (lower case), in any case and without parameters.
    static func contains(_ value: UnsafeRawBufferPointer, _ text: StaticString) -> Bool {
        var list = FieldList(value)
        while let element = list.next() {
            if ASCII.equal(element, text) { return true }
        }
        return false
    }
}

// SPDX-License-Identifier: Apache-2.0

/// Splits one field line into name and value (RFC 9112 section 5).
enum FieldLine {
    /// Which section a line is in: it decides what is refused and what is repaired.
    enum Section: Sendable {
        case request, response, trailers
    }

    /// Adds the line `start..<end` of `base` to `fields`.
    ///
    /// - Parameter isFirst: No field line came before it in its section.
    /// - Returns: What is wrong with it, or `nil`. The line holds no control character but HTAB.
    @inline(__always)
    static func parse(
        _ base: UnsafeRawPointer, start: Int, end: Int, section: Section, isFirst: Bool, nameLimit: UInt16,
        into fields: inout FieldTable
    ) -> MalformedMessage? {
        let colon = ByteScanner.firstColon(base, from: start, to: end)
        if ASCII.isBlank((base + start).load(as: UInt8.self)) {
            // RFC 9112 section 2.2: ignoring such a line would hide it from us and not from others. Section 5.2: a
            // fold may be replaced by spaces or refused, in responses too; it is obsolete, so it is refused.
            return isFirst ? .whitespaceBeforeFirstField : .foldedLine
        }
        guard colon < end else { return .missingColon }
        var nameEnd = colon
        var name = fields.index.recognise(base + start, colon &- start)
        if name == .other {
            if let defect = checkName(base, start, &nameEnd, section, nameLimit) { return defect }
            // Whitespace before the colon was removed: what remains may be a known name.
            if nameEnd != colon { name = fields.index.recognise(base + start, nameEnd &- start) }
        }

        var valueStart = colon &+ 1
        var valueEnd = end
        while valueStart < valueEnd, ASCII.isBlank((base + valueStart).load(as: UInt8.self)) { valueStart &+= 1 }
        while valueEnd > valueStart, ASCII.isBlank((base + (valueEnd &- 1)).load(as: UInt8.self)) { valueEnd &-= 1 }
        let isCanonical =
            valueStart == colon &+ 2 && valueEnd == end && nameEnd == colon
            && (base + (colon &+ 1)).load(as: UInt8.self) == ASCII.space
        let field = Field(
            nameOffset: UInt32(truncatingIfNeeded: start), valueOffset: UInt32(truncatingIfNeeded: valueStart),
            valueLength: UInt32(truncatingIfNeeded: valueEnd &- valueStart),
            nameLength: UInt16(truncatingIfNeeded: nameEnd &- start), name: name, marks: isCanonical ? .canonical : [])
        return fields.append(field) ? nil : .tooManyFields
    }

    /// Checks a name that is not a known one; in a response, takes whitespace before the colon away.
    ///
    /// RFC 9112 section 5.1: a server refuses that whitespace, a proxy removes it from a response.
    @inline(never)
    private static func checkName(
        _ base: UnsafeRawPointer, _ start: Int, _ end: inout Int, _ section: Section, _ nameLimit: UInt16
    ) -> MalformedMessage? {
        if section == .response {
            while end > start, ASCII.isBlank((base + (end &- 1)).load(as: UInt8.self)) { end &-= 1 }
        }
        guard end > start else { return .emptyFieldName }
        for offset in start..<end where !ASCII.isToken((base + offset).load(as: UInt8.self)) {
            let isTrailing = (offset..<end).allSatisfy { ASCII.isBlank((base + $0).load(as: UInt8.self)) }
            return isTrailing ? .whitespaceBeforeColon : .invalidFieldName
        }
        return end &- start <= Int(nameLimit) ? nil : .fieldNameTooLong
    }
}

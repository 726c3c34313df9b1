// SPDX-License-Identifier: Apache-2.0

/// `Max-Forwards`: how many more proxies may pass a TRACE or OPTIONS on (RFC 9110 section 7.6.2).
enum MaxForwards {
    /// Counts this proxy, in each line of the field.
    ///
    /// The digits are changed where they are, so that the line keeps its length: 10 becomes 09, which is the same number.
    /// A value that is no number is left to the recipient.
    ///
    /// - Parameters:
    ///   - fields: Of the request, in no attempt yet: a repetition must not count again.
    ///   - message: The memory that the offsets are for.
    /// - Returns: Whether the request may go on; otherwise nothing was changed, and we are its recipient.
    static func count(_ fields: borrowing FieldTable, in message: UnsafeMutableRawPointer) -> Bool {
        var next = fields.first(.maxForwards)
        while let place = next {
            if isZero(fields[place].valueRange.bytes(in: message)) { return false }
            next = fields.first(.maxForwards, from: place + 1)
        }
        next = fields.first(.maxForwards)
        while let place = next {
            let range = fields[place].valueRange
            decrement(UnsafeMutableRawBufferPointer(start: message + Int(range.offset), count: Int(range.length)))
            next = fields.first(.maxForwards, from: place + 1)
        }
        return true
    }

    private static func isZero(_ digits: UnsafeRawBufferPointer) -> Bool {
        !digits.isEmpty && digits.allSatisfy { $0 == 0x30 }
    }

    private static func decrement(_ digits: UnsafeMutableRawBufferPointer) {
        guard digits.allSatisfy(ASCII.isDigit) else { return }
        for place in digits.indices.reversed() {
            guard digits[place] == 0x30 else {
                digits[place] -= 1
                return
            }
            digits[place] = 0x39
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

/// Reads the value of `grpc-timeout` (grpc/doc/PROTOCOL-HTTP2.md, "Timeout"): one to eight digits, and a unit.
public enum GRPCTimeout {
    /// - Returns: The timeout in nanoseconds, at most `Int64.max`; `nil` if the value is malformed. Zero is a timeout
    ///   that has passed.
    public static func nanoseconds(_ text: UnsafeRawBufferPointer) -> UInt64? {
        guard text.count >= 2, text.count <= 9, let unit = unit(text[text.count - 1]) else { return nil }
        var number: UInt64 = 0
        for byte in text.dropLast() {
            guard ASCII.isDigit(byte) else { return nil }
            number = number * 10 + UInt64(byte - 0x30)
        }
        // 99 999 999 hours are more than 64 bits hold.
        let (product, overflow) = number.multipliedReportingOverflow(by: unit)
        return overflow ? UInt64(Int64.max) : min(product, UInt64(Int64.max))
    }

    private static func unit(_ byte: UInt8) -> UInt64? {
        switch byte {
        case UInt8(ascii: "H"): 3600 * 1_000_000_000
        case UInt8(ascii: "M"): 60 * 1_000_000_000
        case UInt8(ascii: "S"): 1_000_000_000
        case UInt8(ascii: "m"): 1_000_000
        case UInt8(ascii: "u"): 1000
        case UInt8(ascii: "n"): 1
        default: nil
        }
    }
}

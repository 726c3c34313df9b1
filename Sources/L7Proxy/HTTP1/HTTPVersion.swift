// SPDX-License-Identifier: Apache-2.0

/// Reads `HTTP/1.1` (RFC 9112 section 2.3).
enum HTTPVersion {
    /// Of the text, in bytes.
    static let length = 8

    /// - Parameter text: ``length`` bytes.
    /// - Returns: 0 or 1: a minor version above 1 is treated as 1 (RFC 9110 section 2.5). Another major version is
    ///   unsupported; other text, lower case included, is invalid.
    @inline(__always)
    static func minor(_ text: UnsafeRawPointer) -> Result<UInt8, MalformedMessage> {
        let word = UInt64(bigEndian: text.loadUnaligned(as: UInt64.self))
        if word == 0x4854_5450_2f31_2e31 { return .success(1) }
        let major = UInt8(truncatingIfNeeded: word &>> 16)
        let minor = UInt8(truncatingIfNeeded: word)
        guard word & 0xffff_ffff_ff00_ff00 == 0x4854_5450_2f00_2e00, ASCII.isDigit(major), ASCII.isDigit(minor) else {
            return .failure(.invalidVersion)
        }
        guard major == 0x31 else { return .failure(.unsupportedVersion) }
        return .success(minor == 0x30 ? 0 : 1)
    }
}

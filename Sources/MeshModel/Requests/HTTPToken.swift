// SPDX-License-Identifier: Apache-2.0

/// `token` of HTTP's grammar (RFC 9110 section 5.6.2): names of methods and fields are of it.
public enum HTTPToken {
    /// `tchar`: letters, digits and ``!#$%&'*+-.^_`|~``, as a bit mask of the 128 ASCII characters. No other byte is one.
    @inlinable @inline(__always)
    public static func isCharacter(_ byte: UInt8) -> Bool {
        let word: UInt64 = byte < 64 ? 0x03ff_6cfa_0000_0000 : 0x57ff_ffff_c7ff_fffe
        return byte < 128 && (word &>> UInt64(byte & 63)) & 1 == 1
    }

    /// Whether all of a text is one, which is never empty.
    public static func isToken(_ text: String) -> Bool { !text.isEmpty && text.utf8.allSatisfy(isCharacter) }
}

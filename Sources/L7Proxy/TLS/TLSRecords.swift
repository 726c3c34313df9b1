// SPDX-License-Identifier: Apache-2.0

import TLSEngine

/// Where records end in bytes that were received (RFC 8446 section 5.1).
public enum TLSRecords {
    /// Type, version, length.
    public static let headerBytes = 5
    /// Most that a record may carry when it is encrypted (RFC 8446 section 5.2).
    public static let maximumBody = TLSSession.maximumRecord + 256

    /// change_cipher_spec to application_data, of any version of TLS: a peer that speaks something else is not to wait for
    /// what it would take for a length.
    @inline(__always)
    public static func isHeader(_ type: UInt8, _ major: UInt8) -> Bool { type &- 20 < 4 && major == 3 }

    /// Bytes at the front of `bytes` that are whole records.
    ///
    /// OpenSSL is lent nothing else, so that it never keeps the beginning of one, and the memory that it reads into can
    /// be given back at any time. What no record begins with is lent as it is: OpenSSL says what is wrong with it.
    public static func whole(in bytes: UnsafeRawBufferPointer) -> Int {
        var end = 0
        while bytes.count &- end >= headerBytes {
            let body = Int(bytes[end &+ 3]) << 8 | Int(bytes[end &+ 4])
            guard body <= maximumBody, isHeader(bytes[end], bytes[end &+ 1]) else { return bytes.count }
            let next = end &+ headerBytes &+ body
            guard next <= bytes.count else { break }
            end = next
        }
        return end
    }
}

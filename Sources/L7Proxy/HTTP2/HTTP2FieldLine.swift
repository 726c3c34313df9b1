// SPDX-License-Identifier: Apache-2.0

/// One line of a field list that is to be sent, lent for as long as the list is.
struct HTTP2FieldLine: BitwiseCopyable {
    var name: UnsafeRawBufferPointer
    var value: UnsafeRawBufferPointer
    /// What the encoder knows the name by: its first index in HPACK's static table, or ``key(_:)`` of another known name, both
    /// in lower case; 0: it has to be looked at, and may be of any case.
    var key: UInt16
    /// Must not enter a compression table on its way (RFC 7541 section 7.1.3).
    var neverIndexed: Bool

    /// Of a known name.
    @inline(__always)
    static func key(_ name: FieldName) -> UInt16 {
        let index = HPACKStaticTable.shared.index(of: name)
        return index > 0 ? UInt16(index) : UInt16(HPACKStaticTable.count + 1) &+ UInt16(name.rawValue)
    }
}

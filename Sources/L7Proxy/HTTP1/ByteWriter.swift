// SPDX-License-Identifier: Apache-2.0

/// Appends to memory that the caller lends, and never beyond its end.
///
/// After one append that did not fit, or a value that may not be sent, the writer is failed and appends nothing more,
/// so that a message is checked once, at its end.
struct ByteWriter {
    private let base: UnsafeMutableRawPointer
    /// Where appending ends: the size of the buffer, or what was written once the writer has failed.
    private var capacity: Int
    private(set) var count = 0
    private(set) var failure: WriteFailure?

    init(_ buffer: UnsafeMutableRawBufferPointer) {
        // An empty buffer may have no address; nothing is ever written through this one then.
        base = buffer.baseAddress ?? UnsafeMutableRawPointer(bitPattern: 1).unsafelyUnwrapped
        capacity = buffer.count
    }

    @inline(__always)
    private mutating func reserve(_ length: Int) -> Bool {
        if capacity &- count >= length { return true }
        fail(.noRoom)
        return false
    }

    mutating func fail(_ reason: WriteFailure) {
        if failure == nil { failure = reason }
        capacity = count
    }

    /// Appends bytes that are known to be safe where they are put.
    @inline(__always)
    mutating func append(_ bytes: UnsafeRawBufferPointer) {
        guard let source = bytes.baseAddress, !bytes.isEmpty, reserve(bytes.count) else { return }
        (base + count).copyMemory(from: source, byteCount: bytes.count)
        count &+= bytes.count
    }

    @inline(__always)
    mutating func append(_ text: StaticString) {
        let length = text.utf8CodeUnitCount
        guard reserve(length) else { return }
        (base + count).copyMemory(from: UnsafeRawPointer(text.utf8Start), byteCount: length)
        count &+= length
    }

    @inline(__always)
    mutating func append(_ byte: UInt8) {
        guard reserve(1) else { return }
        (base + count).storeBytes(of: byte, as: UInt8.self)
        count &+= 1
    }

    /// Appends the two bytes that end a line.
    @inline(__always)
    mutating func appendLineEnd() {
        guard reserve(2) else { return }
        (base + count).storeBytes(of: UInt16(bigEndian: 0x0d0a), as: UInt16.self)
        count &+= 2
    }

    /// Appends `name: value CRLF`, or fails if the value holds a control character other than HTAB: with CR or LF it
    /// would be more than a value (RFC 9110 section 5.5). The name is known to be one.
    @inline(__always)
    mutating func appendField(_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
        guard let source = name.baseAddress, reserve(name.count &+ value.count &+ 4) else { return }
        var place = base + count
        place.copyMemory(from: source, byteCount: name.count)
        place += name.count
        place.storeBytes(of: UInt16(bigEndian: 0x3a20), as: UInt16.self)
        place += 2
        if let start = value.baseAddress {
            guard ByteScanner.firstControl(start, from: 0, to: value.count) == value.count else {
                return fail(.unsafeValue)
            }
            place.copyMemory(from: start, byteCount: value.count)
            place += value.count
        }
        place.storeBytes(of: UInt16(bigEndian: 0x0d0a), as: UInt16.self)
        count &+= name.count &+ value.count &+ 4
    }

    /// Appends a field name, method or other token, or fails if it is none.
    mutating func appendToken(_ bytes: UnsafeRawBufferPointer) {
        guard ASCII.isToken(bytes) else { return fail(.unsafeName) }
        append(bytes)
    }

    /// Appends visible ASCII, or fails if there is anything else, a space included.
    mutating func appendVisible(_ bytes: UnsafeRawBufferPointer) {
        for byte in bytes where byte < 0x21 || byte > 0x7e { return fail(.unsafeValue) }
        append(bytes)
    }

    mutating func append(decimal number: UInt64) {
        var place = number
        var length = 1
        while place >= 10 {
            place /= 10
            length += 1
        }
        guard reserve(length) else { return }
        var rest = number
        for index in stride(from: length - 1, through: 0, by: -1) {
            (base + count + index).storeBytes(of: UInt8(truncatingIfNeeded: rest % 10) &+ 0x30, as: UInt8.self)
            rest /= 10
        }
        count &+= length
    }

    mutating func append(hexadecimal number: UInt64) {
        let length = max(1, (64 - number.leadingZeroBitCount + 3) / 4)
        guard reserve(length) else { return }
        for index in 0..<length {
            let digit = UInt8(truncatingIfNeeded: number >> UInt64(4 * (length - 1 - index))) & 0xf
            (base + count + index).storeBytes(of: digit < 10 ? digit + 0x30 : digit + 0x57, as: UInt8.self)
        }
        count &+= length
    }
}

/// Why a message was not written. What is in the buffer then is not a message, and must not be sent.
public enum WriteFailure: Error, Equatable, Sendable {
    /// The buffer is too small.
    case noRoom
    /// A value holds CR, LF, NUL or another control character.
    case unsafeValue
    /// A name is not a token, or is one whose field only the writer itself may write.
    case unsafeName
    /// The calls were not in the order of a message, or one is missing.
    case outOfOrder
}

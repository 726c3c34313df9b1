// SPDX-License-Identifier: Apache-2.0

/// Appends values in the form in which they travel: integers little endian, everything else by its parts.
public struct ByteWriter: Sendable {
    public private(set) var bytes: [UInt8] = []

    public init() {}

    public mutating func append(_ integer: some FixedWidthInteger & UnsignedInteger) {
        withUnsafeBytes(of: integer.littleEndian) { bytes.append(contentsOf: $0) }
    }

    /// Bytes as they are, without their number.
    public mutating func append(raw: some Collection<UInt8>) { bytes.append(contentsOf: raw) }

    /// A number of elements or bytes that follow.
    ///
    /// - Precondition: it fits 32 bits; what is longer than that is refused far earlier by its own limit.
    public mutating func append(count: Int) { append(UInt32(count)) }

    /// The values one after another.
    public mutating func write<each Value: WireValue>(_ values: repeat each Value) {
        repeat (each values).encode(to: &self)
    }
}

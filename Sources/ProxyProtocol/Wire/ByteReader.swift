// SPDX-License-Identifier: Apache-2.0

/// Reads what a ``ByteWriter`` has written, and refuses everything else.
///
/// There is one encoding of each value: what is accepted, and written again, is the same bytes. Not one byte is read
/// beyond the end, and nothing is reserved on the word of a count. Lives no longer than the bytes that it was lent.
public struct ByteReader {
    private let bytes: UnsafeRawBufferPointer
    /// Bytes that have been read.
    public private(set) var offset = 0

    public init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    public var remaining: Int { bytes.count - offset }

    public func failure(_ reason: String) -> WireError { WireError(offset: offset, reason) }

    public mutating func integer<Integer: FixedWidthInteger & UnsignedInteger>(
        _: Integer.Type = Integer.self
    ) throws(WireError) -> Integer {
        let size = MemoryLayout<Integer>.size
        guard remaining >= size else { throw failure("\(size) bytes expected, \(remaining) left") }
        defer { offset += size }
        return Integer(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: Integer.self))
    }

    /// The next `count` bytes; lent like the whole.
    public mutating func take(_ count: Int) throws(WireError) -> UnsafeRawBufferPointer {
        guard count <= remaining else { throw failure("\(count) bytes expected, \(remaining) left") }
        defer { offset += count }
        return UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + count])
    }

    /// How many elements follow. Each has a byte at least.
    public mutating func count() throws(WireError) -> Int {
        let count = Int(try integer(UInt32.self))
        guard count <= remaining else { throw failure("\(count) elements announced, \(remaining) bytes left") }
        return count
    }

    public mutating func read<Value: WireValue>(_: Value.Type = Value.self) throws(WireError) -> Value {
        try Value(from: &self)
    }

    /// - Throws: ``WireError`` if not all bytes have been read.
    public func requireEnd() throws(WireError) {
        guard remaining == 0 else { throw failure("\(remaining) bytes too many") }
    }

    /// Reads one value of which nothing may be left over.
    public static func whole<Value: WireValue>(
        _: Value.Type = Value.self, _ bytes: UnsafeRawBufferPointer
    ) throws(WireError) -> Value {
        var reader = ByteReader(bytes)
        let value: Value = try reader.read()
        try reader.requireEnd()
        return value
    }
}

extension WireValue {
    /// The value in the form in which it travels.
    public var wire: [UInt8] {
        var writer = ByteWriter()
        encode(to: &writer)
        return writer.bytes
    }

    /// - Throws: ``WireError`` unless `bytes` are one value, whole.
    public init(wire bytes: [UInt8]) throws(WireError) {
        let result = bytes.withUnsafeBytes { bytes -> Result<Self, WireError> in
            do throws(WireError) { return .success(try ByteReader.whole(Self.self, bytes)) } catch {
                return .failure(error)
            }
        }
        self = try result.get()
    }
}

// SPDX-License-Identifier: Apache-2.0

public import MeshModel

/// A value that travels between the processes of a node.
///
/// A structure is its members in order; an enumeration is a byte that tells the case, and what the case holds; a list,
/// a text and a table are a number of 32 bits and that many elements, bytes or pairs.
public protocol WireValue: Sendable {
    func encode(to writer: inout ByteWriter)
    init(from reader: inout ByteReader) throws(WireError)
}

extension WireValue where Self: FixedWidthInteger & UnsignedInteger {
    public func encode(to writer: inout ByteWriter) { writer.append(self) }
    public init(from reader: inout ByteReader) throws(WireError) { self = try reader.integer() }
}

extension UInt8: WireValue {}
extension UInt16: WireValue {}
extension UInt32: WireValue {}
extension UInt64: WireValue {}

extension Int64: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.append(UInt64(bitPattern: self)) }
    public init(from reader: inout ByteReader) throws(WireError) {
        self.init(bitPattern: try reader.integer(UInt64.self))
    }
}

extension Int: WireValue {
    public func encode(to writer: inout ByteWriter) { Int64(self).encode(to: &writer) }
    public init(from reader: inout ByteReader) throws(WireError) { self.init(try reader.read(Int64.self)) }
}

extension Bool: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.append(self ? 1 : 0 as UInt8) }
    public init(from reader: inout ByteReader) throws(WireError) {
        let value: UInt8 = try reader.integer()
        guard value <= 1 else { throw reader.failure("\(value) is neither true nor false") }
        self = value == 1
    }
}

extension String: WireValue {
    public func encode(to writer: inout ByteWriter) {
        let bytes = Array(utf8)
        writer.append(count: bytes.count)
        writer.append(raw: bytes)
    }

    public init(from reader: inout ByteReader) throws(WireError) {
        let bytes = try reader.take(try reader.count())
        guard let text = String(validating: bytes, as: UTF8.self) else { throw reader.failure("a text is not UTF-8") }
        self = text
    }
}

extension Optional: WireValue where Wrapped: WireValue {
    public func encode(to writer: inout ByteWriter) {
        writer.write(self != nil)
        self?.encode(to: &writer)
    }

    public init(from reader: inout ByteReader) throws(WireError) {
        self = try reader.read(Bool.self) ? try reader.read(Wrapped.self) : nil
    }
}

extension Array: WireValue where Element: WireValue {
    public func encode(to writer: inout ByteWriter) {
        writer.append(count: count)
        for element in self { element.encode(to: &writer) }
    }

    public init(from reader: inout ByteReader) throws(WireError) {
        let count = try reader.count()
        self.init()
        for _ in 0..<count { append(try reader.read()) }
    }
}

extension Dictionary: WireValue where Key == String, Value == String {
    /// By the bytes of the keys, so that equal tables are equal bytes.
    public func encode(to writer: inout ByteWriter) {
        writer.append(count: count)
        for (key, value) in sorted(by: { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }) {
            writer.write(key, value)
        }
    }

    public init(from reader: inout ByteReader) throws(WireError) {
        let count = try reader.count()
        self.init()
        var last: String?
        for _ in 0..<count {
            let key: String = try reader.read()
            if let last, !last.utf8.lexicographicallyPrecedes(key.utf8) {
                throw reader.failure("the keys of a table are out of order")
            }
            // Texts that differ in bytes only are one key to a Dictionary.
            guard updateValue(try reader.read(), forKey: key) == nil else {
                throw reader.failure("a key occurs twice in a table")
            }
            last = key
        }
    }
}

extension IPAddress: WireValue {
    /// Two numbers, whatever the family.
    public func encode(to writer: inout ByteWriter) { writer.write(high, low) }
    public init(from reader: inout ByteReader) throws(WireError) {
        self.init(high: try reader.read(), low: try reader.read())
    }
}

extension NamespacedName: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(namespace, name) }
    public init(from reader: inout ByteReader) throws(WireError) {
        self.init(namespace: try reader.read(), name: try reader.read())
    }
}

extension ByteReader {
    /// The case of an enumeration.
    mutating func tag(below limit: UInt8, of name: String) throws(WireError) -> UInt8 {
        let tag: UInt8 = try integer()
        guard tag < limit else { throw failure("\(tag) is no case of \(name)") }
        return tag
    }
}

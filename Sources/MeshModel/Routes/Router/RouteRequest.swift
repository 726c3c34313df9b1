// SPDX-License-Identifier: Apache-2.0

/// What of a request a route can look at, except its header fields. Borrowed for the length of a call.
public struct RouteRequest {
    public var method: UnsafeRawBufferPointer
    /// In the form of ``RoutePath/normalized(_:into:)``. For a GRPCRoute as it was sent.
    public var path: UnsafeRawBufferPointer
    /// What follows the `?`; `nil` or empty: none.
    public var query: UnsafeRawBufferPointer?

    public init(method: UnsafeRawBufferPointer, path: UnsafeRawBufferPointer, query: UnsafeRawBufferPointer? = nil) {
        self.method = method
        self.path = path
        self.query = query
    }
}

/// The header fields of a request, wherever they are kept.
public protocol RouteHeaderFields: ~Copyable {
    /// The value of the next line named `name`.
    ///
    /// - Parameters:
    ///   - name: in lower case; a field's name in any case is equal to it.
    ///   - cursor: 0 for the first line; then as the last call has left it.
    /// - Returns: Without the white space around it; `nil` if there are no more.
    borrowing func nextValue(of name: UnsafeRawBufferPointer, after cursor: inout Int) -> UnsafeRawBufferPointer?
}

/// Header fields in a list of names and values.
public struct HeaderFieldList: RouteHeaderFields {
    public typealias Line = (name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer)

    private let lines: UnsafeBufferPointer<Line>

    public init(_ lines: UnsafeBufferPointer<Line>) { self.lines = lines }

    public func nextValue(of name: UnsafeRawBufferPointer, after cursor: inout Int) -> UnsafeRawBufferPointer? {
        while cursor < lines.count {
            let line = lines[cursor]
            cursor += 1
            if line.name.equalsIgnoringCase(name) { return line.value }
        }
        return nil
    }
}

extension UnsafeRawBufferPointer {
    /// Whether the bytes are those of a name in lower case, but for the case of letters.
    public func equalsIgnoringCase(_ lowerCase: UnsafeRawBufferPointer) -> Bool {
        guard count == lowerCase.count else { return false }
        for index in 0..<count {
            let byte = self[index]
            guard (byte &- 0x41 < 26 ? byte | 0x20 : byte) == lowerCase[index] else { return false }
        }
        return true
    }

    @inline(__always)
    func equals(_ other: UnsafeRawBufferPointer) -> Bool {
        guard count == other.count else { return false }
        guard let own = baseAddress, let other = other.baseAddress else { return true }
        return own.equals(other, count: count)
    }
}

extension UnsafeRawPointer {
    /// Whether the next `count` bytes are the same. By words, the last one first: texts that begin alike, as paths and
    /// identities do, mostly differ at their ends.
    @inline(__always)
    func equals(_ other: UnsafeRawPointer, count: Int) -> Bool {
        guard count >= 8 else {
            guard count >= 4 else {
                for index in 0..<count where self[index] != other[index] { return false }
                return true
            }
            return word(UInt32.self, count - 4) == other.word(UInt32.self, count - 4)
                && word(UInt32.self, 0) == other.word(UInt32.self, 0)
        }
        let last = count - 8
        guard word(UInt64.self, last) == other.word(UInt64.self, last) else { return false }
        var offset = 0
        while offset < last {
            guard word(UInt64.self, offset) == other.word(UInt64.self, offset) else { return false }
            offset += 8
        }
        return true
    }

    @inline(__always)
    private subscript(index: Int) -> UInt8 { load(fromByteOffset: index, as: UInt8.self) }

    @inline(__always)
    private func word<Word: FixedWidthInteger & BitwiseCopyable>(_ type: Word.Type, _ offset: Int) -> Word {
        loadUnaligned(fromByteOffset: offset, as: type)
    }
}

/// The lines of one field as one value, with a comma between them (RFC 9110 section 5.3).
///
/// Borrows the fields by pointer: it must not outlive the call of the router that makes it.
struct JoinedLines<Fields: RouteHeaderFields & ~Copyable>: RegexInput {
    private let fields: UnsafePointer<Fields>
    private let name: UnsafeRawBufferPointer
    private var cursor: Int
    private var line: UnsafeRawBufferPointer?
    private var offset = 0

    init(
        _ fields: UnsafePointer<Fields>, _ name: UnsafeRawBufferPointer, first: UnsafeRawBufferPointer,
        after cursor: Int
    ) {
        self.fields = fields
        self.name = name
        self.cursor = cursor
        line = first
    }

    mutating func next() -> UInt8? {
        guard let current = line else { return nil }
        if offset < current.count {
            offset += 1
            return current[offset - 1]
        }
        offset = 0
        line = fields.pointee.nextValue(of: name, after: &cursor)
        return line == nil ? nil : UInt8(ascii: ",")
    }
}

/// The bytes of a buffer.
struct BufferInput: RegexInput {
    private let bytes: UnsafeRawBufferPointer
    private var offset = 0

    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    mutating func next() -> UInt8? {
        guard offset < bytes.count else { return nil }
        offset += 1
        return bytes[offset - 1]
    }
}

extension RegexInput {
    /// Whether the rest of the input is exactly these bytes.
    consuming func equals(_ wanted: UnsafeRawBufferPointer) -> Bool {
        for byte in wanted where next() != byte { return false }
        return next() == nil
    }
}

// SPDX-License-Identifier: Apache-2.0

/// One field line of a message: where its name and value are.
public struct Field: Sendable, BitwiseCopyable {
    /// What the proxy must know about a field beyond its place.
    struct Marks: OptionSet, Sendable, BitwiseCopyable {
        let rawValue: UInt8

        /// The line is `name: value CRLF` with exactly one space, so that it can be forwarded by copying it.
        static let canonical = Marks(rawValue: 1)
        /// Left out when the message is forwarded.
        static let dropped = Marks(rawValue: 2)
        /// The same, for one attempt at forwarding it; see ``FieldTable/restore()``.
        static let removed = Marks(rawValue: 8)
    }

    var nameOffset: UInt32
    var valueOffset: UInt32
    var valueLength: UInt32
    var nameLength: UInt16
    public internal(set) var name: FieldName
    var marks: Marks

    /// The name as it was received, in its own case.
    @inline(__always) public var nameRange: ByteRange { ByteRange(offset: nameOffset, length: UInt32(nameLength)) }

    /// The value without the whitespace around it (RFC 9110 section 5.5).
    @inline(__always) public var valueRange: ByteRange { ByteRange(offset: valueOffset, length: valueLength) }

    /// Whether forwarding leaves this line out; see ``FieldTable/drop(_:)``.
    public var isDropped: Bool { !marks.isDisjoint(with: [.dropped, .removed]) }
}

/// The field lines of one message, in the order in which they came.
///
/// A connection makes one and uses it for every message: it is allocated once, with room for as many lines as the
/// connection accepts, and holds offsets only. Lines of one name are never reordered (RFC 9110 section 5.3).
public struct FieldTable: ~Copyable {
    let fields: UnsafeMutablePointer<Field>
    let index: FieldNameIndex

    /// The most field lines that a message may have.
    public let capacity: Int

    public internal(set) var count = 0

    /// - Parameter capacity: Field lines, at least one. 16 bytes each.
    public init(capacity: Int) {
        precondition(capacity > 0, "a field table without room")
        self.capacity = capacity
        fields = .allocate(capacity: capacity)
        index = FieldNameIndex.shared
    }

    deinit { fields.deallocate() }

    public subscript(position: Int) -> Field {
        precondition(position >= 0 && position < count, "no such field")
        return fields[position]
    }

    public mutating func removeAll() { count = 0 }

    /// Leaves the line at `position` out when the message is forwarded.
    public mutating func drop(_ position: Int) {
        precondition(position >= 0 && position < count, "no such field")
        fields[position].marks.insert(.dropped)
    }

    /// Leaves every line of `name` out when the message is forwarded.
    ///
    /// - Returns: How many there were that had not been dropped before.
    @discardableResult
    public mutating func drop(_ name: FieldName) -> Int {
        precondition(name != .other, "drop a name that is not known by its bytes")
        var dropped = 0
        for position in 0..<count where fields[position].name == name && !fields[position].isDropped {
            fields[position].marks.insert(.dropped)
            dropped += 1
        }
        return dropped
    }

    /// Leaves every line of `name` out until ``restore()``.
    mutating func remove(_ name: FieldName) {
        for position in 0..<count where fields[position].name == name { fields[position].marks.insert(.removed) }
    }

    /// Leaves every line whose name is `name`, in any case, out until ``restore()``.
    ///
    /// - Parameter message: The memory that the table's offsets are for.
    mutating func remove(named name: UnsafeRawBufferPointer, in message: UnsafeRawPointer) {
        var found = first(named: name, in: message)
        while let place = found {
            fields[place].marks.insert(.removed)
            found = first(named: name, in: message, from: place + 1)
        }
    }

    /// Takes back what was left out for one attempt at forwarding the message.
    mutating func restore() {
        for position in 0..<count { fields[position].marks.remove(.removed) }
    }

    /// The first line of `name` at or after `start` that has not been dropped, or `nil`.
    public func first(_ name: FieldName, from start: Int = 0) -> Int? {
        var position = max(0, start)
        while position < count {
            if fields[position].name == name, !fields[position].isDropped { return position }
            position &+= 1
        }
        return nil
    }

    /// The first line at or after `start` whose name is `name` in any case, and that has not been dropped.
    ///
    /// - Parameter message: The memory that the table's offsets are for.
    public func first(
        named name: UnsafeRawBufferPointer, in message: UnsafeRawPointer, from start: Int = 0
    ) -> Int? {
        var position = max(0, start)
        while position < count {
            let field = fields[position]
            if Int(field.nameLength) == name.count, !field.isDropped,
                ASCII.equalIgnoringCase(field.nameRange.bytes(in: message), name)
            {
                return position
            }
            position &+= 1
        }
        return nil
    }

    /// Becomes as `other`, of the same capacity or less.
    mutating func copy(_ other: borrowing FieldTable) {
        precondition(other.count <= capacity, "a field table without room for another's lines")
        fields.update(from: other.fields, count: other.count)
        count = other.count
    }

    /// - Returns: Whether there was room.
    @inline(__always)
    mutating func append(_ field: Field) -> Bool {
        guard count < capacity else { return false }
        (fields + count).initialize(to: field)
        count &+= 1
        return true
    }
}

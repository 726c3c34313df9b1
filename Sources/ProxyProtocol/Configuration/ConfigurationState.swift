// SPDX-License-Identifier: Apache-2.0

/// All records of one generation, as they travel.
public struct ConfigurationState: Hashable, Sendable {
    /// Grows by each change; 0: nothing was sent yet.
    public var generation: UInt64
    public var records: [RecordKey: [UInt8]]

    public init(generation: UInt64 = 0, records: [RecordKey: [UInt8]] = [:]) {
        self.generation = generation
        self.records = records
    }

    public init(generation: UInt64, _ records: [ProxyRecord]) {
        self.init(
            generation: generation, records: Dictionary(records.map { ($0.key, $0.wire) }, uniquingKeysWith: { $1 }))
    }
}

/// What turns one generation into the next.
public struct ConfigurationChange: Hashable, Sendable {
    public var base: UInt64
    public var generation: UInt64
    /// `nil`: the record is removed.
    public var records: [RecordKey: [UInt8]?]

    public init(base: UInt64, generation: UInt64, records: [RecordKey: [UInt8]?] = [:]) {
        self.base = base
        self.generation = generation
        self.records = records
    }

    /// The difference of two states.
    public init(from old: ConfigurationState, to new: ConfigurationState) {
        self.init(base: old.generation, generation: new.generation)
        for (key, value) in new.records where old.records[key] != value { records[key] = .some(value) }
        for key in old.records.keys where new.records[key] == nil { records[key] = .some(nil) }
    }

    /// The next generation of a state. Costs as much as there are `records`, whatever else the state has.
    ///
    /// - Parameter records: `nil`: it goes. Those that are as they were, or were not there, are left out.
    public init(of state: ConfigurationState, _ records: [RecordKey: [UInt8]?]) {
        self.init(
            base: state.generation, generation: state.generation + 1,
            records: records.filter { state.records[$0.key] != $0.value })
    }

    /// Bytes of the longest record and of all of them, keys included.
    public var size: (longest: Int, total: Int) {
        records.reduce((0, 0)) { sum, record in
            let size = record.key.name.utf8.count + (record.value?.count ?? 0)
            return (max(sum.0, size), sum.1 + size)
        }
    }

    /// The messages that carry it, in order.
    public var messages: [AgentMessage] {
        [.begin(base: base, generation: generation)]
            + records.sorted { $0.key < $1.key }.map { key, value in
                value.map { .put(key, $0) } ?? .delete(key)
            } + [.commit(generation)]
    }
}

extension ConfigurationState {
    /// - Precondition: the change is from this generation.
    public mutating func apply(_ change: ConfigurationChange) {
        precondition(change.base == generation, "a change of another generation")
        for (key, value) in change.records { records[key] = value }
        generation = change.generation
    }
}

extension ConfigurationState: WireValue {
    /// `SMCS`, the first bytes of a state in a file.
    private static let magic: UInt32 = 0x5343_4d53

    public func encode(to writer: inout ByteWriter) {
        writer.write(Self.magic, generation)
        writer.append(count: records.count)
        for (key, value) in records.sorted(by: { $0.key < $1.key }) { writer.write(key, value) }
    }

    public init(from reader: inout ByteReader) throws(WireError) {
        guard try reader.read(UInt32.self) == Self.magic else { throw reader.failure("not a configuration") }
        self.init(generation: try reader.read())
        let count = try reader.count()
        var last: RecordKey?
        for _ in 0..<count {
            let key: RecordKey = try reader.read()
            if let last, !(last < key) { throw reader.failure("the records are out of order") }
            let size = try reader.count()
            guard records.updateValue(Array(try reader.take(size)), forKey: key) == nil else {
                throw reader.failure("\(key) occurs twice")
            }
            last = key
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

/// The dynamic table of one direction of a connection (RFC 7541 section 2.3.2), of a decoder or of an encoder.
///
/// It has no memory until something is put into it, and grows with what is: most idle connections have said the same few
/// fields again and again. Entries are a ring; their bytes stand behind each other in the order in which they came.
struct HPACKTable: ~Copyable {
    struct Entry: BitwiseCopyable {
        fileprivate var offset: UInt32
        /// As it counts; the name's bytes are here if ``hasName``.
        var nameLength: UInt32
        var valueLength: UInt32
        /// What the owner knows of the name.
        var known: UInt16
        var hasName: Bool
    }

    /// What an entry counts beside its bytes (RFC 7541 section 4.1).
    static let overhead = 32
    private static let firstEntries = 8
    private static let firstBytes = 256

    private let pool: Unmanaged<HTTP2MemoryPool>
    /// What all entries may count together.
    private(set) var limit: Int
    private var size = 0
    private(set) var count = 0

    private var entries: UnsafeMutablePointer<Entry>?
    /// Of the entries, each beside its own: what an encoder looks for. 0: none.
    private var hashes: UnsafeMutablePointer<UInt32>?
    private var capacity = 0
    /// The place of the newest, plus one.
    private var next = 0

    private var storage: UnsafeMutableRawPointer?
    private var room = 0
    private var end = 0

    init(limit: Int, pool: Unmanaged<HTTP2MemoryPool>) {
        self.limit = limit
        self.pool = pool
    }

    deinit {
        pool._withUnsafeGuaranteedRef {
            $0.deallocate(UnsafeMutableRawPointer(entries))
            $0.deallocate(storage)
        }
    }

    /// - Parameter age: 0 for the newest; less than ``count``.
    @inline(__always)
    subscript(age: Int) -> Entry { entries.unsafelyUnwrapped[(next &- 1 &- age) & (capacity &- 1)] }

    /// Where the entry's bytes are, until the next change: its name's, if it has them, then its value's.
    @inline(__always)
    func bytes(_ entry: Entry) -> UnsafeRawPointer {
        UnsafeRawPointer(storage.unsafelyUnwrapped) + Int(entry.offset)
    }

    @inline(__always)
    func name(_ entry: Entry) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: bytes(entry), count: entry.hasName ? Int(entry.nameLength) : 0)
    }

    @inline(__always)
    func value(_ entry: Entry) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(
            start: bytes(entry) + (entry.hasName ? Int(entry.nameLength) : 0), count: Int(entry.valueLength))
    }

    /// The next entry with `hash` at the place `from` or behind it. Places are not ages, and are good until the next change.
    @inline(__always)
    func place(of hash: UInt32, from: Int) -> Int? {
        guard let hashes else { return nil }
        var place = from
        while place < capacity {
            if hashes[place] == hash { return place }
            place &+= 1
        }
        return nil
    }

    @inline(__always)
    func age(ofPlace place: Int) -> Int { (next &- 1 &- place) & (capacity &- 1) }

    /// Makes `entry` the newest, and drops the oldest until all have room; one that is larger than the table empties it
    /// (RFC 7541 section 4.4).
    ///
    /// - Parameters:
    ///   - name: Not in the table's own memory; nor is `value`.
    ///   - keepsName: Otherwise it only counts.
    ///   - hash: Not 0; 0 if nobody looks for it.
    mutating func insert(
        _ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer, known: UInt16, keepsName: Bool, hash: UInt32
    ) {
        let counted = name.count &+ value.count &+ Self.overhead
        drop(to: limit &- counted)
        guard counted <= limit else { return }
        if count == capacity { growEntries() }
        let kept = keepsName ? name.count : 0
        reserve(kept &+ value.count)
        guard let entries, let hashes, let storage else { return }
        if kept > 0, let start = name.baseAddress { (storage + end).copyMemory(from: start, byteCount: kept) }
        if let start = value.baseAddress { (storage + end + kept).copyMemory(from: start, byteCount: value.count) }
        let place = next & (capacity &- 1)
        entries[place] = Entry(
            offset: UInt32(truncatingIfNeeded: end), nameLength: UInt32(truncatingIfNeeded: name.count),
            valueLength: UInt32(truncatingIfNeeded: value.count), known: known, hasName: keepsName)
        hashes[place] = hash
        end &+= kept &+ value.count
        next = (place &+ 1) & (capacity &- 1)
        count &+= 1
        size &+= counted
    }

    /// Changes what all entries may count together (RFC 7541 section 4.3).
    mutating func setLimit(_ limit: Int) {
        self.limit = limit
        drop(to: limit)
    }

    private mutating func drop(to most: Int) {
        while size > most, count > 0 {
            let place = (next &- count) & (capacity &- 1)
            let entry = entries.unsafelyUnwrapped[place]
            hashes.unsafelyUnwrapped[place] = 0
            size &-= Int(entry.nameLength) &+ Int(entry.valueLength) &+ Self.overhead
            count &-= 1
        }
        if count == 0 { end = 0 }
    }

    @inline(never)
    private mutating func growEntries() {
        let larger = max(Self.firstEntries, capacity * 2)
        let stride = MemoryLayout<Entry>.stride
        let memory = pool._withUnsafeGuaranteedRef { $0.allocate(larger * (stride + 4)) }
        let moved = memory.bindMemory(to: Entry.self, capacity: larger)
        let movedHashes = (memory + larger * stride).bindMemory(to: UInt32.self, capacity: larger)
        movedHashes.initialize(repeating: 0, count: larger)
        for age in 0..<count {
            let place = (next &- 1 &- age) & (capacity &- 1)
            (moved + (count - 1 - age)).initialize(to: entries.unsafelyUnwrapped[place])
            movedHashes[count - 1 - age] = hashes.unsafelyUnwrapped[place]
        }
        pool._withUnsafeGuaranteedRef { $0.deallocate(UnsafeMutableRawPointer(entries)) }
        (entries, hashes, capacity, next) = (moved, movedHashes, larger, count)
    }

    /// Makes room for `more` bytes behind the others: moves them to the front if half of the memory is free then, else
    /// into a larger one.
    private mutating func reserve(_ more: Int) {
        guard room &- end < more || storage == nil else { return }
        makeRoom(more)
    }

    @inline(never)
    private mutating func makeRoom(_ more: Int) {
        let start = count > 0 ? Int(self[count - 1].offset) : end
        let live = end - start
        var larger = max(room, Self.firstBytes)
        while larger < 2 * (live + more) { larger *= 2 }
        let source = storage
        if larger > room {
            let memory = pool._withUnsafeGuaranteedRef { $0.allocate(larger) }
            if let source { memory.copyMemory(from: source + start, byteCount: live) }
            pool._withUnsafeGuaranteedRef { $0.deallocate(source) }
            (storage, room) = (memory, larger)
        } else if let source {
            source.copyMemory(from: source + start, byteCount: live)
        }
        for age in 0..<count {
            entries.unsafelyUnwrapped[(next &- 1 &- age) & (capacity &- 1)].offset -= UInt32(truncatingIfNeeded: start)
        }
        end = live
    }
}

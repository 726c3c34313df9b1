// SPDX-License-Identifier: Apache-2.0

/// The open streams of a connection by their numbers. Numbers follow each other in steps of two, so that nearly all have the
/// place that they ask for.
struct HTTP2StreamTable: ~Copyable {
    typealias Slot = UnsafeMutablePointer<HTTP2StreamSlot>

    private static let firstCapacity = 8

    private let pool: Unmanaged<HTTP2MemoryPool>
    private var places: UnsafeMutablePointer<Slot?>?
    private var mask = -1
    private(set) var count = 0

    init(pool: Unmanaged<HTTP2MemoryPool>) { self.pool = pool }

    deinit { pool._withUnsafeGuaranteedRef { $0.deallocate(UnsafeMutableRawPointer(places)) } }

    @inline(__always)
    private func home(_ id: Int32) -> Int { Int(id >> 1) & mask }

    @inline(__always)
    func find(_ id: Int32) -> Slot? {
        guard let places else { return nil }
        var place = home(id)
        while let slot = places[place] {
            if slot.pointee.id == id { return slot }
            place = (place &+ 1) & mask
        }
        return nil
    }

    mutating func insert(_ slot: Slot) {
        if (count &+ 1) &* 2 > mask &+ 1 { grow() }
        put(slot)
        count &+= 1
    }

    private func put(_ slot: Slot) {
        guard let places else { return }
        var place = home(slot.pointee.id)
        while places[place] != nil { place = (place &+ 1) & mask }
        places[place] = slot
    }

    @inline(never)
    private mutating func grow() {
        let old = places
        let oldCapacity = mask + 1
        let capacity = max(Self.firstCapacity, oldCapacity * 2)
        let memory = pool._withUnsafeGuaranteedRef { $0.allocate(capacity * MemoryLayout<Slot?>.stride) }
        let larger = memory.bindMemory(to: Slot?.self, capacity: capacity)
        larger.initialize(repeating: nil, count: capacity)
        (places, mask) = (larger, capacity - 1)
        for place in 0..<oldCapacity {
            if let slot = old.unsafelyUnwrapped[place] { put(slot) }
        }
        pool._withUnsafeGuaranteedRef { $0.deallocate(UnsafeMutableRawPointer(old)) }
    }

    /// - Precondition: `slot` is in the table.
    mutating func remove(_ slot: Slot) {
        guard let places else { return }
        var hole = home(slot.pointee.id)
        while places[hole] != slot { hole = (hole &+ 1) & mask }
        count &-= 1
        // What stands behind moves up where that is nearer to what it asks for.
        var place = hole
        while true {
            place = (place &+ 1) & mask
            guard let next = places[place] else { break }
            let wish = home(next.pointee.id)
            if (place &- wish) & mask >= (place &- hole) & mask {
                places[hole] = next
                hole = place
            }
        }
        places[hole] = nil
    }
}

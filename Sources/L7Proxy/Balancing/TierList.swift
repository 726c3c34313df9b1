// SPDX-License-Identifier: Apache-2.0

/// The endpoints of one tier that requests may go to, in order of their slots or as a heap of turns.
struct TierList: ~Copyable {
    private var slots: UnsafeMutablePointer<UInt16>
    /// Sums of weights: of all endpoints up to and including this one.
    private var sums: UnsafeMutablePointer<UInt64>
    private var capacity = 0
    private(set) var count = 0
    /// Whether all weights are equal: then no sum and no heap is looked at.
    private(set) var isUniform = true
    /// Whose turn it is, if all weights are equal; -1: nobody has had one.
    private var cursor = -1
    private var clock: UInt64 = 0

    init() {
        slots = .allocate(capacity: 0)
        sums = .allocate(capacity: 0)
    }

    deinit {
        slots.deallocate()
        sums.deallocate()
    }

    /// Makes room, so that filling the list does not allocate.
    mutating func reserve(_ number: Int) {
        guard number > capacity else { return }
        slots.deallocate()
        sums.deallocate()
        capacity = number
        count = 0
        slots = .allocate(capacity: number)
        sums = .allocate(capacity: number)
    }

    mutating func removeAll() { count = 0 }

    /// - Precondition: There is room for it: ``reserve(_:)``.
    mutating func append(_ slot: Int, weight: UInt32) {
        precondition(count < capacity, "a tier without room")
        slots[count] = UInt16(slot)
        sums[count] = (count > 0 ? sums[count - 1] : 0) + UInt64(weight)
        count += 1
    }

    /// To be called when the list is filled.
    ///
    /// - Parameters:
    ///   - schedule: whether endpoints take turns by ``nextTurn(_:)``. Others are found by weight.
    ///   - seed: decides when a new endpoint has its first turn, so that not all workers begin with the same one.
    mutating func finish(_ loads: UnsafeMutablePointer<EndpointLoad>, schedule: Bool, seed: UInt64) {
        isUniform = (0..<count).allSatisfy { loads[Int(slots[$0])].weight == loads[Int(slots[0])].weight }
        if cursor < 0 || cursor >= count { cursor = Int(Draw.below(UInt64(count), Draw.next(seed))) }
        guard schedule, !isUniform else { return }
        for index in 0..<count {
            let slot = Int(slots[index])
            let weight = loads[slot].weight
            loads[slot].deadline =
                loads[slot].deadline == 0
                ? clock &+ Draw.below(TurnSchedule.period(weight), Draw.next(seed &+ UInt64(slot)))
                : TurnSchedule.joined(loads[slot].deadline, weight: weight, clock: clock)
        }
        TurnSchedule.arrange(UnsafeMutableBufferPointer(start: slots, count: count), loads)
    }

    @inline(__always)
    func slot(at index: Int) -> Int { Int(slots[index]) }

    // MARK: - Choices. Of a list that is not empty.

    @inline(__always)
    mutating func nextTurn(_ loads: UnsafeMutablePointer<EndpointLoad>) -> Int {
        guard isUniform else {
            return TurnSchedule.next(UnsafeMutableBufferPointer(start: slots, count: count), loads, clock: &clock)
        }
        let slot = Int(slots[cursor])
        cursor &+= 1
        if cursor == count { cursor = 0 }
        return slot
    }

    /// The better of two that are drawn by weight: the one with less to do for its weight; of equals the one that was
    /// drawn first, so that an idle cluster follows the weights exactly.
    ///
    /// M. Mitzenmacher, "The power of two choices in randomized load balancing", IEEE TPDS 12 (2001).
    @inline(__always)
    func leastLoaded(_ loads: UnsafeMutablePointer<EndpointLoad>, _ random: UInt64) -> Int {
        if count == 1 { return Int(slots[0]) }
        let first: Int
        var second: Int
        if isUniform {
            first = Int(truncatingIfNeeded: Draw.below(UInt64(count), random))
            second = Int(truncatingIfNeeded: Draw.below(UInt64(count &- 1), Draw.next(random)))
            if second >= first { second &+= 1 }
        } else {
            first = index(ofWeight: Draw.below(sums[count &- 1], random))
            let before = first > 0 ? sums[first &- 1] : 0
            let own = sums[first] &- before
            // As if the first were not there.
            var weight = Draw.below(sums[count &- 1] &- own, Draw.next(random))
            if weight >= before { weight &+= own }
            second = index(ofWeight: weight)
        }
        let one = loads[Int(slots[first])]
        let other = loads[Int(slots[second])]
        let oneLoad = UInt64(one.activeRequests) &* UInt64(other.weight)
        let otherLoad = UInt64(other.activeRequests) &* UInt64(one.weight)
        return Int(otherLoad < oneLoad ? slots[second] : slots[first])
    }

    /// The endpoint in whose part of all weights, laid end to end, `weight` lies.
    @inline(__always)
    private func index(ofWeight weight: UInt64) -> Int {
        var low = 0
        var high = count &- 1
        while low < high {
            let middle = (low &+ high) >> 1
            if sums[middle] > weight { high = middle } else { low = middle &+ 1 }
        }
        return low
    }
}

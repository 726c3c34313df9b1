// SPDX-License-Identifier: Apache-2.0

/// Weighted round robin: whoever's deadline is nearest has its turn, and its next one is a period later that is
/// inversely proportional to its weight. So an endpoint's turns are spread evenly between the others', and each pick
/// costs the logarithm of their number. J. Nagle's and A. Demers' fair queueing, with requests of one size.
enum TurnSchedule {
    /// The period of weight 1. Deadlines wrap around; what is compared is at most two periods apart.
    static let longestPeriod: UInt64 = 1 << 40

    /// Weights up to 10^6 are exact to 10^-6.
    @inline(__always)
    static func period(_ weight: UInt32) -> UInt64 { longestPeriod / UInt64(max(weight, 1)) }

    @inline(__always)
    static func isBefore(_ left: UInt64, _ right: UInt64) -> Bool { Int64(bitPattern: left &- right) < 0 }

    /// The deadline of an endpoint that comes to a schedule: not before now, or it would get all the turns that it has
    /// missed, and not later than its weight says.
    static func joined(_ deadline: UInt64, weight: UInt32, clock: UInt64) -> UInt64 {
        if isBefore(deadline, clock) { return clock }
        let latest = clock &+ period(weight)
        return isBefore(latest, deadline) ? latest : deadline
    }

    /// Makes a heap of slots, the nearest deadline first.
    static func arrange(_ slots: UnsafeMutableBufferPointer<UInt16>, _ loads: UnsafeMutablePointer<EndpointLoad>) {
        for index in stride(from: slots.count / 2 - 1, through: 0, by: -1) { siftDown(slots, loads, index) }
    }

    /// The slot whose turn it is; its next turn is scheduled.
    ///
    /// - Parameters:
    ///   - slots: not empty, and arranged.
    ///   - clock: becomes the deadline of the turn.
    @inline(__always)
    static func next(
        _ slots: UnsafeMutableBufferPointer<UInt16>, _ loads: UnsafeMutablePointer<EndpointLoad>, clock: inout UInt64
    ) -> Int {
        let slot = Int(slots[0])
        clock = loads[slot].deadline
        loads[slot].deadline = clock &+ period(loads[slot].weight)
        siftDown(slots, loads, 0)
        return slot
    }

    private static func siftDown(
        _ slots: UnsafeMutableBufferPointer<UInt16>, _ loads: UnsafeMutablePointer<EndpointLoad>, _ start: Int
    ) {
        var index = start
        let moving = slots[index]
        let deadline = loads[Int(moving)].deadline
        while true {
            var child = 2 &* index &+ 1
            guard child < slots.count else { break }
            if child &+ 1 < slots.count,
                isBefore(loads[Int(slots[child &+ 1])].deadline, loads[Int(slots[child])].deadline)
            {
                child &+= 1
            }
            guard isBefore(loads[Int(slots[child])].deadline, deadline) else { break }
            slots[index] = slots[child]
            index = child
        }
        slots[index] = moving
    }
}

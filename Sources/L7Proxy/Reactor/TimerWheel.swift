// SPDX-License-Identifier: Apache-2.0

/// Deadlines of many connections: setting, changing and forgetting one costs the same however many there are.
///
/// A hashed wheel (G. Varghese, T. Lauck, "Hashed and Hierarchical Timing Wheels", SOSP 1987, scheme 6): a slot for each
/// tick of one turn, in it a list of the timers of that tick in any turn. Nothing is allocated after ``makeTimer(for:)``.
struct TimerWheel: ~Copyable {
    /// Names a timer, which belongs to one owner for ever.
    typealias ID = UInt32

    private struct Node: BitwiseCopyable {
        var owner: UInt64
        var deadline: UInt64 = 0
        var next: UInt32 = .max
        var previous: UInt32 = .max
        var isSet = false
    }

    /// Milliseconds of a tick: no deadline is met more exactly.
    static let tick: UInt64 = 4
    private static let slotCount = 1024
    private static let none = UInt32.max

    private var nodes: UnsafeMutablePointer<Node>
    private var nodeCount = 0
    private var nodeCapacity = 256
    private let slots: UnsafeMutablePointer<UInt32>
    /// One bit for each slot that is not empty.
    private let occupied: UnsafeMutablePointer<UInt64>
    /// The next tick to look at.
    private var current: UInt64
    /// Where ``popDue(at:)`` goes on in the slot of ``current``.
    private var cursor: UInt32 = .max
    private var isInSlot = false
    private(set) var setCount = 0

    /// - Parameter now: milliseconds of the loop's clock.
    init(now: UInt64) {
        nodes = .allocate(capacity: 256)
        slots = .allocate(capacity: Self.slotCount)
        slots.initialize(repeating: Self.none, count: Self.slotCount)
        occupied = .allocate(capacity: Self.slotCount / 64)
        occupied.initialize(repeating: 0, count: Self.slotCount / 64)
        current = now / Self.tick
    }

    deinit {
        nodes.deallocate()
        slots.deallocate()
        occupied.deallocate()
    }

    mutating func makeTimer(for owner: UInt64) -> ID {
        if nodeCount == nodeCapacity {
            let grown = UnsafeMutablePointer<Node>.allocate(capacity: nodeCapacity * 2)
            grown.moveInitialize(from: nodes, count: nodeCount)
            nodes.deallocate()
            nodes = grown
            nodeCapacity *= 2
        }
        (nodes + nodeCount).initialize(to: Node(owner: owner))
        nodeCount += 1
        return ID(nodeCount - 1)
    }

    func isSet(_ timer: ID) -> Bool { nodes[Int(timer)].isSet }

    /// Whether the timer fires without being set to `deadline` (milliseconds), or earlier.
    func isSet(_ timer: ID, by deadline: UInt64) -> Bool {
        isSet(timer) && nodes[Int(timer)].deadline <= (deadline &+ Self.tick &- 1) / Self.tick
    }

    /// Sets the timer, or changes it. It fires at the first tick that begins at or after `deadline` (milliseconds).
    mutating func set(_ timer: ID, deadline: UInt64, owner: UInt64) {
        cancel(timer)
        let node = nodes + Int(timer)
        let tick = max((deadline &+ Self.tick &- 1) / Self.tick, isInSlot ? current &+ 1 : current)
        let slot = Int(tick % UInt64(Self.slotCount))
        node.pointee.owner = owner
        node.pointee.deadline = tick
        node.pointee.isSet = true
        node.pointee.previous = Self.none
        node.pointee.next = slots[slot]
        if slots[slot] != Self.none { nodes[Int(slots[slot])].previous = timer }
        slots[slot] = timer
        occupied[slot / 64] |= 1 << UInt64(slot % 64)
        setCount += 1
    }

    /// Forgets the deadline, if there is one.
    mutating func cancel(_ timer: ID) {
        let node = nodes + Int(timer)
        guard node.pointee.isSet else { return }
        let slot = Int(node.pointee.deadline % UInt64(Self.slotCount))
        if cursor == timer { cursor = node.pointee.next }
        if node.pointee.next != Self.none { nodes[Int(node.pointee.next)].previous = node.pointee.previous }
        if node.pointee.previous != Self.none {
            nodes[Int(node.pointee.previous)].next = node.pointee.next
        } else {
            slots[slot] = node.pointee.next
            if node.pointee.next == Self.none { occupied[slot / 64] &= ~(1 << UInt64(slot % 64)) }
        }
        node.pointee.isSet = false
        setCount -= 1
    }

    /// Takes out a timer whose deadline is not after `now` (milliseconds); call until it answers `nil`.
    ///
    /// - Returns: Its owner. Timers that are set between two calls are not of the tick that is being looked at.
    mutating func popDue(at now: UInt64) -> UInt64? {
        let last = now / Self.tick
        while current <= last {
            let slot = Int(current % UInt64(Self.slotCount))
            if !isInSlot {
                if setCount == 0 {
                    current = last &+ 1
                    return nil
                }
                cursor = slots[slot]
                isInSlot = true
            }
            while cursor != Self.none {
                let timer = cursor
                let node = nodes[Int(timer)]
                cursor = node.next
                guard node.deadline <= current else { continue }
                cancel(timer)
                return node.owner
            }
            isInSlot = false
            current &+= 1
        }
        return nil
    }

    /// Milliseconds from `now` until something may be due; -1 if no timer is set. It may be early, by turns of the wheel
    /// that a timer has yet to wait, never late.
    func wait(from now: UInt64) -> Int32 {
        guard setCount > 0 else { return -1 }
        let start = Int(current % UInt64(Self.slotCount))
        var distance = 0
        while distance < Self.slotCount {
            let slot = (start + distance) % Self.slotCount
            let word = occupied[slot / 64] >> UInt64(slot % 64)
            if word != 0 {
                distance += word.trailingZeroBitCount
                break
            }
            distance += 64 - slot % 64
        }
        let due = (current &+ UInt64(distance)) &* Self.tick
        return due > now ? Int32(truncatingIfNeeded: due &- now) : 0
    }
}

// SPDX-License-Identifier: Apache-2.0

/// Which timer is next: a binary heap by deadline, with equal deadlines in the order they were set.
///
/// Decides only; ``EventLoop`` sets the clock and calls what is due. Removing is by forgetting: the entry stays in
/// the heap until its time, or until half of the heap is forgotten.
struct TimerQueue {
    private struct Entry {
        var deadline: UInt64
        var id: UInt64

        static func < (left: Entry, right: Entry) -> Bool {
            left.deadline == right.deadline ? left.id < right.id : left.deadline < right.deadline
        }
    }

    private var heap: [Entry] = []
    private var live: Set<UInt64> = []

    var isEmpty: Bool { live.isEmpty }

    /// Entries in memory, forgotten ones included.
    var heldEntries: Int { heap.count }

    /// - Parameters:
    ///   - id: not in the queue, and larger than those before it.
    ///   - deadline: in nanoseconds of any clock, the same for all.
    mutating func insert(_ id: UInt64, deadline: UInt64) {
        live.insert(id)
        push(Entry(deadline: deadline, id: id))
    }

    /// Forgets a timer; one that is not in the queue is fine.
    mutating func remove(_ id: UInt64) {
        guard live.remove(id) != nil, heap.count > 64, heap.count > 2 * live.count else { return }
        let kept = heap.filter { live.contains($0.id) }
        heap.removeAll(keepingCapacity: true)
        for entry in kept { push(entry) }
    }

    /// The earliest deadline; `nil` if no timer is set.
    mutating func nextDeadline() -> UInt64? {
        dropForgotten()
        return heap.first?.deadline
    }

    /// Takes the earliest timer out if its deadline is not after `now`.
    mutating func popDue(at now: UInt64) -> UInt64? {
        dropForgotten()
        guard let first = heap.first, first.deadline <= now else { return nil }
        removeFirst()
        live.remove(first.id)
        return first.id
    }

    private mutating func dropForgotten() {
        while let first = heap.first, !live.contains(first.id) { removeFirst() }
    }

    private mutating func push(_ entry: Entry) {
        heap.append(entry)
        var child = heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard heap[child] < heap[parent] else { return }
            heap.swapAt(child, parent)
            child = parent
        }
    }

    private mutating func removeFirst() {
        heap.swapAt(0, heap.count - 1)
        heap.removeLast()
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count && heap[child] < heap[least] {
                least = child
            }
            guard least != parent else { return }
            heap.swapAt(parent, least)
            parent = least
        }
    }
}

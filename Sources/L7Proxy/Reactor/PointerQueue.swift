// SPDX-License-Identifier: Apache-2.0

/// Pointers in the order in which they came. Grows to the most that were in it at once, and then allocates no more.
struct PointerQueue<Element: ~Copyable>: ~Copyable {
    private var ring: UnsafeMutablePointer<UnsafeMutablePointer<Element>>
    private var capacity = 64
    private var head = 0
    private(set) var count = 0

    init() { ring = .allocate(capacity: 64) }

    deinit { ring.deallocate() }

    var isEmpty: Bool { count == 0 }

    mutating func push(_ element: UnsafeMutablePointer<Element>) {
        if count == capacity {
            let grown = UnsafeMutablePointer<UnsafeMutablePointer<Element>>.allocate(capacity: capacity * 2)
            for index in 0..<count { (grown + index).initialize(to: ring[(head + index) % capacity]) }
            ring.deallocate()
            ring = grown
            head = 0
            capacity *= 2
        }
        (ring + (head + count) % capacity).initialize(to: element)
        count += 1
    }

    mutating func pop() -> UnsafeMutablePointer<Element>? {
        guard count > 0 else { return nil }
        let element = ring[head]
        head = (head + 1) % capacity
        count -= 1
        return element
    }
}

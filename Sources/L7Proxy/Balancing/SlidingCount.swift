// SPDX-License-Identifier: Apache-2.0

/// Counts events of the last `interval`, in tenths of it: the sum is of the current tenth and of the nine before it.
struct SlidingCount: Sendable, BitwiseCopyable {
    private static let parts = 10

    /// Of one tenth, nanoseconds.
    private let width: UInt64
    private var counts = InlineArray<10, UInt32>(repeating: 0)
    /// The number of the current tenth since the beginning of time.
    private var current: UInt64 = 0
    private(set) var sum: UInt64 = 0

    /// - Parameter interval: nanoseconds; less than 10 count as 10.
    init(interval: UInt64) { width = max(interval / UInt64(Self.parts), 1) }

    /// Forgets what is too old. A time before the last one counts as the last one.
    @inline(__always)
    mutating func advance(to now: UInt64) {
        let part = now / width
        if part > current { forget(part) }
    }

    private mutating func forget(_ part: UInt64) {
        for step in 1...min(part - current, UInt64(Self.parts)) {
            let index = Int((current + step) % UInt64(Self.parts))
            sum -= UInt64(counts[index])
            counts[index] = 0
        }
        current = part
    }

    /// Counts one event at the time that ``advance(to:)`` was last told.
    @inline(__always)
    mutating func add() {
        let index = Int(current % UInt64(Self.parts))
        guard counts[index] < .max else { return }
        counts[index] &+= 1
        sum &+= 1
    }
}

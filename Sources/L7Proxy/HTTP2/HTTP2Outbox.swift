// SPDX-License-Identifier: Apache-2.0

/// Frames that wait to be sent, all but DATA, in the order in which they were made. Its memory is the pool's again as soon as
/// it is empty.
struct HTTP2Outbox: ~Copyable {
    private let pool: Unmanaged<HTTP2MemoryPool>
    private var base: UnsafeMutableRawPointer?
    private var start = 0
    private var end = 0
    private var capacity = 0
    /// Bytes that have ever been put in, and that have left.
    private(set) var added: UInt64 = 0
    private(set) var taken: UInt64 = 0

    private static let firstCapacity = 512

    init(pool: Unmanaged<HTTP2MemoryPool>) { self.pool = pool }

    deinit { pool._withUnsafeGuaranteedRef { $0.deallocate(base) } }

    @inline(__always)
    var isEmpty: Bool { start == end }

    /// Bytes that wait.
    @inline(__always)
    var count: Int { end &- start }

    /// Room for `count` bytes behind what is there, until the next call.
    @inline(__always)
    mutating func reserve(_ count: Int) -> UnsafeMutableRawPointer {
        if capacity &- end < count { makeRoom(count) }
        return base.unsafelyUnwrapped + end
    }

    @inline(never)
    private mutating func makeRoom(_ count: Int) {
        let live = end - start
        if live + count <= capacity, let base {
            base.copyMemory(from: base + start, byteCount: live)
        } else {
            var larger = max(capacity, Self.firstCapacity)
            while larger < live + count { larger *= 2 }
            let memory = pool._withUnsafeGuaranteedRef { $0.allocate(larger) }
            if let base { memory.copyMemory(from: base + start, byteCount: live) }
            pool._withUnsafeGuaranteedRef { $0.deallocate(base) }
            (base, capacity) = (memory, larger)
        }
        (start, end) = (0, live)
    }

    /// So many bytes of the room were written.
    @inline(__always)
    mutating func add(_ count: Int) {
        end &+= count
        added &+= UInt64(truncatingIfNeeded: count)
    }

    /// Moves what there is to `target`. - Returns: How many bytes.
    @inline(__always)
    mutating func take(into target: UnsafeMutableRawPointer, room: Int) -> Int {
        guard let base, start < end else { return 0 }
        let count = min(room, end &- start)
        target.copyMemory(from: base + start, byteCount: count)
        start &+= count
        taken &+= UInt64(truncatingIfNeeded: count)
        if start == end {
            pool._withUnsafeGuaranteedRef { $0.deallocate(base) }
            self.base = nil
            (start, end, capacity) = (0, 0, 0)
        }
        return count
    }
}

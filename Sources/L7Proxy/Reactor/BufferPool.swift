// SPDX-License-Identifier: Apache-2.0

/// Memory that connections borrow while they have bytes: blocks of one size, bounded in number, last in first out so
/// that what is used next is warm.
///
/// An idle connection holds none. When all are lent a connection that needs one is refused, so that the proxy's memory
/// has a bound whatever its peers do.
struct BufferPool: ~Copyable {
    /// Bytes of a block. A head fits with what forwarding adds to it; see ``EngineConfiguration``.
    static let blockSize = 32 * 1024

    private static let blocksPerChunk = 16

    /// Blocks at most.
    let limit: Int
    private(set) var lent = 0
    private var free: UnsafeMutablePointer<UnsafeMutableRawPointer>
    private var freeCount = 0
    private var chunks: UnsafeMutablePointer<UnsafeMutableRawPointer>
    private var chunkCount = 0

    init(limit: Int) {
        precondition(limit > 0, "a pool without a block")
        let chunkLimit = (limit + Self.blocksPerChunk - 1) / Self.blocksPerChunk
        self.limit = limit
        free = .allocate(capacity: chunkLimit * Self.blocksPerChunk)
        chunks = .allocate(capacity: chunkLimit)
    }

    deinit {
        for chunk in 0..<chunkCount { chunks[chunk].deallocate() }
        free.deallocate()
        chunks.deallocate()
    }

    /// - Returns: ``blockSize`` bytes with any content, or `nil` if all are lent.
    @inline(__always)
    mutating func take() -> UnsafeMutableRawPointer? {
        guard lent < limit else { return nil }
        if freeCount == 0 { grow() }
        freeCount -= 1
        lent += 1
        return free[freeCount]
    }

    @inline(__always)
    mutating func give(back block: UnsafeMutableRawPointer) {
        (free + freeCount).initialize(to: block)
        freeCount += 1
        lent -= 1
    }

    private mutating func grow() {
        // Page-aligned; pages that no message has reached are never touched and cost nothing.
        let chunk = UnsafeMutableRawPointer.allocate(
            byteCount: Self.blockSize * Self.blocksPerChunk, alignment: 4096)
        (chunks + chunkCount).initialize(to: chunk)
        chunkCount += 1
        for block in (0..<Self.blocksPerChunk).reversed() {
            (free + freeCount).initialize(to: chunk + block * Self.blockSize)
            freeCount += 1
        }
    }
}

/// The part of a borrowed block that holds bytes.
struct Window: BitwiseCopyable {
    /// `nil`: nothing is borrowed.
    private(set) var base: UnsafeMutableRawPointer?
    /// The first byte that counts, from `base`.
    var start = 0
    /// After the last byte.
    var end = 0

    @inline(__always) var count: Int { end &- start }
    @inline(__always) var isEmpty: Bool { start == end }
    /// Free bytes after ``end``.
    @inline(__always) var room: Int { base == nil ? 0 : BufferPool.blockSize &- end }

    @inline(__always) var bytes: UnsafeRawBufferPointer {
        guard let base else { return UnsafeRawBufferPointer(start: nil, count: 0) }
        return UnsafeRawBufferPointer(start: base + start, count: count)
    }

    /// The free bytes.
    @inline(__always) var space: UnsafeMutableRawBufferPointer {
        guard let base else { return UnsafeMutableRawBufferPointer(start: nil, count: 0) }
        return UnsafeMutableRawBufferPointer(start: base + end, count: room)
    }

    /// - Returns: Whether there is a block now.
    @inline(__always)
    mutating func borrow(_ pool: inout BufferPool) -> Bool {
        if base != nil { return true }
        base = pool.take()
        start = 0
        end = 0
        return base != nil
    }

    /// Gives the block back with whatever is in it.
    @inline(__always)
    mutating func giveBack(_ pool: inout BufferPool) {
        guard let block = base else { return }
        pool.give(back: block)
        base = nil
        start = 0
        end = 0
    }

    /// Moves the bytes from ``start`` on to `floor`, which is not after them.
    mutating func compact(to floor: Int) {
        guard let base, start > floor else { return }
        if start < end { (base + floor).copyMemory(from: base + start, byteCount: count) }
        end = floor + count
        start = floor
    }
}

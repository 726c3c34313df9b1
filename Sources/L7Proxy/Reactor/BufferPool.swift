// SPDX-License-Identifier: Apache-2.0

/// Memory that connections borrow while they have bytes: blocks of one size, bounded in number, last in first out so
/// that what is used next is warm.
///
/// An idle connection holds none. When all are lent a connection that needs one is refused, so that the proxy's memory
/// has a bound whatever its peers do. Few blocks are large, for connections that move much at once: who finds none takes
/// one of the others.
struct BufferPool: ~Copyable {
    /// Bytes of a block. A head fits with what forwarding adds to it; see ``EngineConfiguration``.
    static let blockSize = 32 * 1024
    /// Bytes of a large block: seven full records of TLS, which nearly fill two of the largest packets that TCP makes for
    /// segments of 1448 bytes, and what else is said between them. All that a turn touches is to stay in the cache.
    static let largeBlockSize = 113 * 1024

    private static let blocksPerChunk = 16
    /// Large blocks that stay when nobody has them.
    private static let keptLarge = 8

    /// Blocks at most, and large ones beside them.
    let limit: Int
    let largeLimit: Int
    /// Of both.
    private(set) var lent = 0
    private var free: UnsafeMutablePointer<UnsafeMutableRawPointer>
    private var freeCount = 0
    private var chunks: UnsafeMutablePointer<UnsafeMutableRawPointer>
    private var chunkCount = 0
    private var freeLarge: UnsafeMutablePointer<UnsafeMutableRawPointer>
    private var freeLargeCount = 0
    private var lentLarge = 0

    init(limit: Int, large: Int = 0) {
        precondition(limit > 0, "a pool without a block")
        let chunkLimit = (limit + Self.blocksPerChunk - 1) / Self.blocksPerChunk
        self.limit = limit
        largeLimit = large
        free = .allocate(capacity: chunkLimit * Self.blocksPerChunk)
        chunks = .allocate(capacity: chunkLimit)
        freeLarge = .allocate(capacity: Self.keptLarge)
    }

    deinit {
        for chunk in 0..<chunkCount { chunks[chunk].deallocate() }
        for block in 0..<freeLargeCount { freeLarge[block].deallocate() }
        free.deallocate()
        chunks.deallocate()
        freeLarge.deallocate()
    }

    /// - Returns: ``blockSize`` bytes with any content, or `nil` if all are lent.
    @inline(__always)
    mutating func take() -> UnsafeMutableRawPointer? {
        guard lent &- lentLarge < limit else { return nil }
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

    /// - Returns: ``largeBlockSize`` bytes with any content, or `nil` if all are lent.
    mutating func takeLarge() -> UnsafeMutableRawPointer? {
        guard lentLarge < largeLimit else { return nil }
        lentLarge += 1
        lent += 1
        if freeLargeCount > 0 {
            freeLargeCount -= 1
            return freeLarge[freeLargeCount]
        }
        return .allocate(byteCount: Self.largeBlockSize, alignment: 4096)
    }

    mutating func give(backLarge block: UnsafeMutableRawPointer) {
        lentLarge -= 1
        lent -= 1
        guard freeLargeCount < Self.keptLarge else { return block.deallocate() }
        (freeLarge + freeLargeCount).initialize(to: block)
        freeLargeCount += 1
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
    /// Bytes of the block; 0 without one.
    private(set) var capacity = 0
    /// The first byte that counts, from `base`.
    var start = 0
    /// After the last byte.
    var end = 0

    @inline(__always) var count: Int { end &- start }
    @inline(__always) var isEmpty: Bool { start == end }
    /// Free bytes after ``end``.
    @inline(__always) var room: Int { capacity &- end }

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
        guard base != nil else { return false }
        capacity = BufferPool.blockSize
        return true
    }

    /// Takes a large block, if one is free, in place of what it has; the bytes move along.
    mutating func enlarge(_ pool: inout BufferPool) {
        guard capacity < BufferPool.largeBlockSize, let block = pool.takeLarge() else { return }
        let count = count
        if count > 0, let base { block.copyMemory(from: base + start, byteCount: count) }
        giveBack(&pool)
        base = block
        capacity = BufferPool.largeBlockSize
        end = count
    }

    /// The bytes, to be written over.
    var mutableBytes: UnsafeMutableRawBufferPointer { UnsafeMutableRawBufferPointer(mutating: bytes) }

    /// Gives the block back with whatever is in it.
    @inline(__always)
    mutating func giveBack(_ pool: inout BufferPool) {
        guard let block = base else { return }
        if capacity == BufferPool.blockSize { pool.give(back: block) } else { pool.give(backLarge: block) }
        base = nil
        capacity = 0
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

// SPDX-License-Identifier: Apache-2.0

/// Body bytes of one stream that have come and have not gone on yet, in blocks of the pool.
///
/// Bytes stay where they were put, so that they can be lent until they have left. How many there are is bounded by who
/// fills it: by the window of an HTTP/2 stream (RFC 9113 section 5.2).
struct BodyQueue: BitwiseCopyable {
    private struct Header: BitwiseCopyable {
        var next: UnsafeMutableRawPointer?
        /// After the last byte, from the block's start.
        var end: Int
    }

    private static let headerLength = MemoryLayout<Header>.size
    /// Bytes of one block.
    static let blockRoom = BufferPool.blockSize - headerLength

    private var first: UnsafeMutableRawPointer?
    private var last: UnsafeMutableRawPointer?
    /// The block of the next byte to go, and where in it that is.
    private var current: UnsafeMutableRawPointer?
    private var offset = 0
    /// Bytes that have not gone.
    private(set) var count = 0
    /// Bytes that have gone and are still here, to go again.
    private(set) var kept = 0

    @inline(__always)
    private static func header(_ block: UnsafeMutableRawPointer) -> UnsafeMutablePointer<Header> {
        block.assumingMemoryBound(to: Header.self)
    }

    var isEmpty: Bool { count == 0 }

    /// The bytes that go next and stand together.
    var front: UnsafeRawBufferPointer {
        guard let current, count > 0 else { return UnsafeRawBufferPointer(start: nil, count: 0) }
        return UnsafeRawBufferPointer(start: current + offset, count: Self.header(current).pointee.end - offset)
    }

    /// Copies `bytes` behind the others. - Returns: Whether there was memory for all of them.
    mutating func append(_ bytes: UnsafeRawBufferPointer, _ pool: inout BufferPool) -> Bool {
        var rest = bytes
        while let source = rest.baseAddress, !rest.isEmpty {
            if last == nil || Self.header(last.unsafelyUnwrapped).pointee.end == BufferPool.blockSize {
                guard grow(&pool) else { return false }
            }
            guard let last else { return false }
            let end = Self.header(last).pointee.end
            let taken = min(rest.count, BufferPool.blockSize - end)
            (last + end).copyMemory(from: source, byteCount: taken)
            Self.header(last).pointee.end = end + taken
            count += taken
            rest = UnsafeRawBufferPointer(rebasing: rest[taken...])
        }
        settle()
        return true
    }

    /// Calls `body` with each piece of the bytes that have not gone, in their order.
    func forEach(_ body: (UnsafeRawBufferPointer) -> Void) {
        var block = current
        var start = offset
        while let piece = block {
            let end = Self.header(piece).pointee.end
            if end > start { body(UnsafeRawBufferPointer(start: piece + start, count: end - start)) }
            block = Self.header(piece).pointee.next
            start = Self.headerLength
        }
    }

    private mutating func grow(_ pool: inout BufferPool) -> Bool {
        guard let block = pool.take() else { return false }
        block.initializeMemory(as: Header.self, to: Header(next: nil, end: Self.headerLength))
        if let last { Self.header(last).pointee.next = block } else { first = block }
        last = block
        if current == nil {
            current = block
            offset = Self.headerLength
        }
        return true
    }

    /// The next byte to go is in `current`, if there is one.
    private mutating func settle() {
        while let block = current, count > 0, offset == Self.header(block).pointee.end,
            let next = Self.header(block).pointee.next
        {
            current = next
            offset = Self.headerLength
        }
    }

    /// The first `count` bytes of ``front`` have gone.
    ///
    /// - Parameter keeps: They stay, for ``rewind()``.
    mutating func advance(_ count: Int, keeps: Bool, _ pool: inout BufferPool) {
        offset += count
        self.count -= count
        kept += count
        settle()
        if !keeps { forget(&pool) }
    }

    /// All bytes that are here go again. - Precondition: All that have gone were kept.
    mutating func rewind() {
        current = first
        offset = Self.headerLength
        count += kept
        kept = 0
    }

    /// Gives back what has gone.
    mutating func forget(_ pool: inout BufferPool) {
        if count == 0 { return removeAll(&pool) }
        while let block = first, block != current {
            first = Self.header(block).pointee.next
            pool.give(back: block)
        }
        kept = 0
    }

    /// Gives everything back.
    mutating func removeAll(_ pool: inout BufferPool) {
        while let block = first {
            first = Self.header(block).pointee.next
            pool.give(back: block)
        }
        self = BodyQueue()
    }
}

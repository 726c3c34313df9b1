// SPDX-License-Identifier: Apache-2.0

/// Memory for the HTTP/2 sessions and streams of one worker thread, kept when it is given back.
///
/// Sessions need blocks for what waits to be sent, for header tables and for frames that come in pieces. They are of a few sizes
/// here, in a free list for each, so that on the steady path neither malloc nor a lock is met. Not thread-safe: a pool, its
/// sessions and whatever calls them belong to one thread.
public final class HTTP2MemoryPool {
    /// Each block has its class in front, in as much room as keeps what follows aligned for any type.
    private static let headerLength = 16
    /// 32, 64, 96 and 128 bytes, then four for each power of two up to 128 KiB: what a session keeps while it is idle is a
    /// few large blocks, of which powers of two would waste a third. Larger ones are not kept.
    private static let classes = 44
    private static let unpooled = UInt64.max

    /// The first free block of each class; each holds the address of the next in its first word after the header.
    private let free: UnsafeMutablePointer<UnsafeMutableRawPointer?>
    /// Bytes of free blocks that are kept at most.
    private let keptLimit: Int
    private var kept = 0
    /// For what is decoded of one header block, from its first field to its last.
    private var scratch: UnsafeMutableRawPointer?
    private var scratchRoom = 0

    /// Streams that can be used again; see ``HTTP2StreamSlot``.
    var streams: UnsafeMutablePointer<HTTP2StreamSlot>?

    /// Shared by the sessions, which write one head after another; made for as many fields as any of them has asked for.
    private var sharedWriter: (UnsafeMutablePointer<HTTP2HeadWriter>, fields: Int)?

    /// Blocks that had to be taken from the system because none was free. It stands still on the steady path.
    public private(set) var systemAllocations: UInt64 = 0

    /// Bytes of all blocks that are not the system's, lent or free; streams not counted.
    private(set) var systemBytes = 0

    /// - Parameter keptBytes: How much free memory stays with the pool for the next connections.
    public init(keptBytes: Int = 8 * 1024 * 1024) {
        keptLimit = keptBytes
        free = .allocate(capacity: Self.classes)
        free.initialize(repeating: nil, count: Self.classes)
    }

    deinit {
        for index in 0..<Self.classes {
            while let block = free[index] {
                free[index] = Self.next(of: block).pointee
                block.deallocate()
            }
        }
        while let slot = streams {
            streams = slot.pointee.nextFree
            slot.deinitialize(count: 1)
            slot.deallocate()
        }
        if let (writer, _) = sharedWriter {
            writer.deinitialize(count: 1)
            writer.deallocate()
        }
        scratch?.deallocate()
        free.deallocate()
    }

    @inline(__always)
    private static func next(of block: UnsafeMutableRawPointer) -> UnsafeMutablePointer<UnsafeMutableRawPointer?> {
        (block + headerLength).assumingMemoryBound(to: UnsafeMutableRawPointer?.self)
    }

    /// The class of the smallest blocks with room for `size` bytes; ``classes`` or more: there is none.
    @inline(__always)
    static func sizeClass(_ size: Int) -> Int {
        if size <= 128 { return (max(size, 1) &- 1) / 32 }
        let last = size &- 1
        let power = Int.bitWidth &- 1 &- last.leadingZeroBitCount
        return 4 &+ (power &- 7) &* 4 &+ (last &>> (power &- 2)) &- 4
    }

    @inline(__always)
    static func size(ofClass index: Int) -> Int {
        index < 4 ? (index &+ 1) &* 32 : (5 &+ index % 4) &<< (index / 4 &+ 4)
    }

    func allocate(_ size: Int) -> UnsafeMutableRawPointer {
        let index = Self.sizeClass(size)
        if index < Self.classes, let block = free[index] {
            free[index] = Self.next(of: block).pointee
            kept &-= Self.size(ofClass: index)
            return block + Self.headerLength
        }
        systemAllocations &+= 1
        let isPooled = index < Self.classes
        return make(isPooled ? Self.size(ofClass: index) : size, isPooled ? UInt64(index) : Self.unpooled)
            + Self.headerLength
    }

    private func make(_ room: Int, _ tag: UInt64) -> UnsafeMutableRawPointer {
        let block = UnsafeMutableRawPointer.allocate(byteCount: room + Self.headerLength, alignment: 16)
        systemBytes &+= room + Self.headerLength
        block.storeBytes(of: tag, as: UInt64.self)
        (block + 8).storeBytes(of: room, as: Int.self)
        return block
    }

    func deallocate(_ pointer: UnsafeMutableRawPointer?) {
        guard let pointer else { return }
        let block = pointer - Self.headerLength
        let tag = block.load(as: UInt64.self)
        guard tag != Self.unpooled, kept < keptLimit else {
            systemBytes &-= (block + 8).load(as: Int.self) + Self.headerLength
            return block.deallocate()
        }
        let index = Int(tag)
        Self.next(of: block).pointee = free[index]
        free[index] = block
        kept &+= Self.size(ofClass: index)
    }

    /// Memory for one header block, until the next call.
    @inline(__always)
    func scratch(_ count: Int) -> UnsafeMutableRawPointer {
        if let scratch, scratchRoom >= count { return scratch }
        return growScratch(count)
    }

    @inline(never)
    private func growScratch(_ count: Int) -> UnsafeMutableRawPointer {
        scratch?.deallocate()
        scratchRoom = max(count, 2 * scratchRoom, 16 * 1024)
        let memory = UnsafeMutableRawPointer.allocate(byteCount: scratchRoom, alignment: 16)
        scratch = memory
        return memory
    }
}

// MARK: - Heads

extension HTTP2MemoryPool {
    /// A writer for heads of that many fields, for one head: the next call may end it.
    func writer(fields: Int) -> UnsafeMutablePointer<HTTP2HeadWriter> {
        if let (writer, room) = sharedWriter {
            if room >= fields { return writer }
            writer.deinitialize(count: 1)
            writer.deallocate()
        }
        let writer = UnsafeMutablePointer<HTTP2HeadWriter>.allocate(capacity: 1)
        writer.initialize(to: HTTP2HeadWriter(fields: fields, targetBytes: 0))
        sharedWriter = (writer, fields)
        return writer
    }
}

// MARK: - Streams

extension HTTP2MemoryPool {
    /// A stream that nobody uses.
    func takeStream(_ limits: HTTP2Limits) -> UnsafeMutablePointer<HTTP2StreamSlot> {
        if let slot = streams, slot.pointee.fits(limits) {
            streams = slot.pointee.nextFree
            return slot
        }
        systemAllocations &+= 1
        let slot = UnsafeMutablePointer<HTTP2StreamSlot>.allocate(capacity: 1)
        slot.initialize(to: HTTP2StreamSlot(limits))
        return slot
    }

    /// Makes `slot` ready for another stream. Its memory stays until the pool goes, so that a ``HTTP2Stream`` kept too
    /// long is noticed instead of followed into foreign memory.
    func giveBack(_ slot: UnsafeMutablePointer<HTTP2StreamSlot>) {
        slot.pointee.recycle()
        slot.pointee.nextFree = streams
        streams = slot
    }
}

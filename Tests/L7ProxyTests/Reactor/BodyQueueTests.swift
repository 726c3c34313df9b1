// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import L7Proxy

/// Bodies that wait in blocks of the pool.
@Suite struct BodyQueueTests {
    private static func fill(_ queue: inout BodyQueue, _ bytes: [UInt8], _ pool: inout BufferPool) -> Bool {
        bytes.withUnsafeBytes { queue.append($0, &pool) }
    }

    /// Takes everything out in pieces of at most `piece`.
    private static func drain(
        _ queue: inout BodyQueue, _ piece: Int, keeps: Bool = false, _ pool: inout BufferPool
    ) -> [UInt8] {
        var all: [UInt8] = []
        while !queue.isEmpty {
            let taken = min(piece, queue.front.count)
            #expect(taken > 0, "what is not empty has a front")
            all += queue.front.prefix(taken)
            queue.advance(taken, keeps: keeps, &pool)
        }
        return all
    }

    @Test(arguments: [1, 1000, BodyQueue.blockRoom, 3 * BodyQueue.blockRoom], [7, 4096, 1 << 20])
    func bytesComeOutAsTheyWentIn(_ count: Int, _ piece: Int) {
        var pool = BufferPool(limit: 8)
        var queue = BodyQueue()
        let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        #expect(Self.fill(&queue, bytes, &pool) && queue.count == count)
        #expect(Self.drain(&queue, piece, &pool) == bytes)
        #expect(pool.lent == 0, "an empty queue holds no memory")
    }

    @Test func bytesStayWhereTheyAreWhileOthersCome() {
        var pool = BufferPool(limit: 8)
        var queue = BodyQueue()
        #expect(Self.fill(&queue, [1, 2, 3], &pool))
        let lent = queue.front
        for _ in 0..<40 { #expect(Self.fill(&queue, [UInt8](repeating: 9, count: 5000), &pool)) }
        #expect(lent.elementsEqual([1, 2, 3]) && queue.front.baseAddress == lent.baseAddress)
        queue.removeAll(&pool)
        #expect(pool.lent == 0 && queue.isEmpty)
    }

    @Test func whatWasKeptGoesAgain() {
        var pool = BufferPool(limit: 8)
        var queue = BodyQueue()
        let bytes = (0..<50_000).map { UInt8(truncatingIfNeeded: $0) }
        #expect(Self.fill(&queue, bytes, &pool))
        #expect(Self.drain(&queue, 1234, keeps: true, &pool) == bytes && queue.kept == bytes.count)
        queue.rewind()
        #expect(queue.count == bytes.count && queue.kept == 0)
        #expect(Self.drain(&queue, 999, keeps: true, &pool) == bytes)
        // What comes after is not part of what was.
        #expect(Self.fill(&queue, [5, 6], &pool) && queue.front.elementsEqual([5, 6]))
        queue.forget(&pool)
        #expect(queue.count == 2 && queue.kept == 0)
        #expect(Self.drain(&queue, 9, &pool) == [5, 6] && pool.lent == 0)
    }

    @Test func withoutMemoryNothingIsLost() {
        var pool = BufferPool(limit: 1)
        var queue = BodyQueue()
        let fits = [UInt8](repeating: 1, count: BodyQueue.blockRoom)
        #expect(Self.fill(&queue, fits, &pool))
        #expect(!Self.fill(&queue, [2], &pool))
        #expect(Self.drain(&queue, 1 << 20, &pool) == fits && pool.lent == 0)
        queue.removeAll(&pool)
    }
}

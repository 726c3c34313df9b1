// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Testing

@testable import L7Proxy

@Suite struct SlabTests {
    @Test func aHandleIsStaleOnceItsElementWasGivenBack() throws {
        var slab = Slab<Int>(capacity: 100) { Int($0) }
        let first = slab.take()
        let (element, handle) = try #require(first)
        element.pointee = 7
        var found = slab.find(handle)
        #expect(found?.pointee == 7)
        slab.give(back: handle.index)
        found = slab.find(handle)
        #expect(found == nil)
        let second = slab.take()
        let (again, newer) = try #require(second)
        #expect(newer.index == handle.index && newer != handle && again == element)
        found = slab.find(handle)
        #expect(found == nil)
        found = slab.find(newer)
        #expect(found == again)
        #expect(Token(rawValue: Token(.upstream, newer).rawValue).handle == newer)
    }

    @Test func elementsDoNotMoveAndAreBounded() {
        var slab = Slab<Int>(capacity: 100) { Int($0) }
        var taken: [UnsafeMutablePointer<Int>] = []
        while let (element, _) = slab.take() { taken.append(element) }
        #expect(taken.count == 100 && Set(taken).count == 100)
        let live = slab.liveCount
        #expect(live == 100)
    }

    @Test func buffersAreBoundedAndReused() {
        var pool = BufferPool(limit: 3)
        var windows = [Window(), Window(), Window(), Window()]
        var lent: [Bool] = []
        for index in 0..<4 { lent.append(windows[index].borrow(&pool)) }
        #expect(lent == [true, true, true, false])
        let base = windows[1].base
        windows[1].giveBack(&pool)
        let isLent = windows[3].borrow(&pool)
        #expect(isLent && windows[3].base == base)
        let count = pool.lent
        #expect(count == 3)
    }

    @Test func largeBuffersAreBoundedBesideTheOthersAndTakeTheBytesAlong() {
        var pool = BufferPool(limit: 2, large: 1)
        var (one, other) = (Window(), Window())
        let isLent = one.borrow(&pool) && other.borrow(&pool)
        one.space.copyBytes(from: [1, 2, 3, 4])
        (one.start, one.end) = (1, 4)
        one.enlarge(&pool)
        other.enlarge(&pool)
        #expect(isLent && one.capacity == BufferPool.largeBlockSize && other.capacity == BufferPool.blockSize)
        #expect(one.bytes.elementsEqual([2, 3, 4]) && one.room == BufferPool.largeBlockSize - 3)
        let lent = pool.lent
        #expect(lent == 2, "the small block was given back")
        one.giveBack(&pool)
        other.enlarge(&pool)
        #expect(other.capacity == BufferPool.largeBlockSize && one.capacity == 0 && one.room == 0)
        other.giveBack(&pool)
        let none = pool.lent
        #expect(none == 0)
    }

    /// Random pools come and go; the table must find each and no other.
    @Test func thePoolTableFindsWhatItHas() {
        var table = UpstreamPoolTable(capacity: 64)
        var random = SplitMix(state: 5)
        var present: [UInt16: PoolPointer] = [:]
        for _ in 0..<5000 {
            let port = UInt16(random.next() % 200)
            let key = UpstreamPool.Key(address: IPAddress(v4: 1), port: port, network: 9)
            if let known = present[port] {
                let found = table.find(key)
                #expect(found == known)
                if random.next() % 2 == 0 {
                    table.removeIfUnused(known)
                    present[port] = nil
                }
            } else if let pool = table.find(key) {
                #expect(pool.pointee.key == key && !present.values.contains(pool))
                present[port] = pool
            } else {
                #expect(present.count == 64)
            }
        }
    }
}

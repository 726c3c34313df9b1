// SPDX-License-Identifier: Apache-2.0

import Glibc
import Testing

@testable import SockOps

extension KernelTests {
    @Suite struct BPFMapTests {
        @Test func anEntryIsStoredFoundReplacedAndRemoved() throws {
            let map = try BPFMap<UInt32, Pair>(Fixture.loaded().map("fixture_hash"))
            #expect(try map.get(7) == nil)
            try map.set(7, Pair(first: 1, second: 2))
            #expect(try map.get(7) == Pair(first: 1, second: 2))
            try map.set(7, Pair(first: 3, second: 4), mode: .replace)
            #expect(try map.get(7) == Pair(first: 3, second: 4))
            #expect(try map.firstKey() == 7)
            #expect(try map.remove(7))
            #expect(try !map.remove(7))
            #expect(try map.firstKey() == nil)
        }

        @Test func insertAndReplaceRefuseWhatTheyMust() throws {
            let map = try BPFMap<UInt32, Pair>(Fixture.loaded().map("fixture_hash"))
            #expect(throws: BPFError(.update, "map fixture_hash", errnoCode: ENOENT)) {
                try map.set(1, Pair(first: 0, second: 0), mode: .replace)
            }
            try map.set(1, Pair(first: 0, second: 0), mode: .insert)
            #expect(throws: BPFError(.update, "map fixture_hash", errnoCode: EEXIST)) {
                try map.set(1, Pair(first: 0, second: 0), mode: .insert)
            }
        }

        @Test func aFullMapSaysSo() throws {
            let map = try BPFMap<UInt32, Pair>(Fixture.loaded().map("fixture_hash"))
            let tooMany = (0..<UInt32(map.capacity) + 10).map { (key: $0, value: Pair(first: $0, second: 0)) }
            let error = #expect(throws: BPFError.self) { try map.setAll(tooMany) }
            #expect(error?.errnoCode == E2BIG)
            #expect(error?.detail == "512 of 522 entries were stored")
            #expect(error?.description.contains("the map is full") == true)
            #expect(try map.entries().count == 512)
        }

        @Test func batchesCarryEveryEntryOnce() throws {
            let map = try BPFMap<UInt32, Pair>(Fixture.loaded().map("fixture_hash"))
            try map.setAll((0..<500).map { (key: $0, value: Pair(first: $0 * 3, second: 1)) })
            let found = try map.entries()
            #expect(Set(found.map(\.key)) == Set(0..<500))
            #expect(found.count == 500)
            #expect(found.allSatisfy { $0.value == Pair(first: $0.key * 3, second: 1) })

            // Every second key is not there: a batch stops at each of them and must go on.
            try map.removeAll((0..<500).filter { $0 % 2 == 0 })
            try map.removeAll(Array(0..<600))
            #expect(try map.entries().isEmpty)
        }

        @Test func aPrefixTrieAnswersWithTheLongestPrefix() throws {
            let map = try BPFMap<Prefix, UInt32>(Fixture.loaded().map("fixture_prefixes"))
            let wide = Prefix(length: 8, address: (0x0a, 0, 0, 0))
            let narrow = Prefix(length: 16, address: (0x010a, 0, 0, 0))
            try map.setAll([(wide, 1), (narrow, 2)])
            #expect(try map.get(Prefix(length: 128, address: (0x0302_010a, 0, 0, 0))) == 2)
            #expect(try map.get(Prefix(length: 128, address: (0x0302_020a, 0, 0, 0))) == 1)
            #expect(try map.get(Prefix(length: 128, address: (0x0b, 0, 0, 0))) == nil)
            #expect(try Set(map.entries().map(\.value)) == [1, 2])
            try map.removeAll([narrow, wide])
            #expect(try map.entries().isEmpty)
        }

        @Test func aMapWithoutBatchesIsWalked() throws {
            // A walk one by one must visit the same entries; the walk itself is what older map types get.
            let map = try BPFMap<UInt32, UInt64>(Fixture.loaded().map("fixture_lru"))
            for key in 0..<UInt32(20) { try map.set(key, UInt64(key)) }
            var seen: Set<UInt32> = []
            try map.forEachOneByOne { key, value in
                #expect(UInt64(key) == value)
                seen.insert(key)
            }
            #expect(seen == Set(0..<20))
        }

        @Test func sizesAreCheckedWhenAMapIsOpened() throws {
            let object = try Fixture.loaded()
            let error = #expect(throws: BPFError.self) {
                _ = try BPFMap<UInt32, UInt32>(object.map("fixture_hash")).capacity
            }
            #expect(error?.description == "open map fixture_hash: Invalid argument (value size 8, not 4)")
            #expect(throws: BPFError.self) { _ = try BPFMap<UInt64, Pair>(object.map("fixture_hash")).capacity }
            #expect(throws: BPFError.self) { _ = try BPFMap<UInt32, UInt64>(object.map("fixture_counts")).capacity }
            #expect(throws: BPFError.self) { _ = try SocketHash(object.map("fixture_hash")).keys() }
            #expect(throws: BPFError.self) { _ = try RingBuffer(object.map("fixture_hash")).epollDescriptor }
            #expect(throws: BPFError(.find, "map nowhere in fixture.bpf.o", errnoCode: ENOENT)) {
                _ = try object.map("nowhere").id
            }
        }

        @Test func countersAreSummedOverProcessors() throws {
            let object = try Fixture.loaded()
            let program = try object.program("fixture_emit")
            let counts = try PerCPUCounters(object.map("fixture_counts"))
            var packet = Fixture.packet
            for _ in 0..<5 { _ = try program.testRun(&packet) }
            #expect(try counts.sum(1) == 5)
            #expect(try counts.sums() == [0, 5, 0, 0])
        }

        @Test func mappedMemoryIsWhatProgramsRead() throws {
            let object = try Fixture.loaded()
            let program = try object.program("fixture_emit")
            let word = try MappedValue<Pair>(object.map("fixture_word"))
            #expect(word.load(\.first) == 0)
            word.store(11, to: \.first)
            word.publish(42, to: \.second)
            #expect(word.snapshot == Pair(first: 11, second: 42))
            var packet = Fixture.packet
            #expect(try program.testRun(&packet) == 42)
            #expect(throws: BPFError.self) { _ = try MappedValue<UInt64>(object.map("fixture_counts")).snapshot }
        }
    }
}

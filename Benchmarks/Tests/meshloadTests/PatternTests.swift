// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import meshload

struct PatternTests {
    private let pattern = Pattern.shared

    /// The first `count` bytes of a stream, as a receiver would have them.
    private func received(_ count: Int, seed: UInt64, at position: UInt64 = 0) -> [UInt8] {
        Array(UnsafeBufferPointer(start: pattern.bytes(seed: seed, at: position), count: count))
    }

    @Test func anIntactStreamHasNoMismatchAtAnyPosition() {
        for position: UInt64 in [0, 1, 4095, 131_070, 131_071, 131_072, 5 << 30] {
            let bytes = received(10_000, seed: 42, at: position)
            #expect(pattern.mismatch(bytes, count: bytes.count, seed: 42, at: position) == nil)
        }
    }

    @Test func aFlippedBitIsFoundWhereItIs() {
        var bytes = received(10_000, seed: 7)
        bytes[6543] ^= 1
        #expect(pattern.mismatch(bytes, count: bytes.count, seed: 7, at: 0) == 6543)
    }

    @Test(arguments: [1, 2, 64, 4096, 65_536, 100_000])
    func aLossIsLocatedByItsLength(lost: Int) {
        let bytes = received(1000, seed: 9, at: UInt64(5000 + lost))
        #expect(pattern.mismatch(bytes, count: bytes.count, seed: 9, at: 5000) != nil)
        let expected = lost > Pattern.period / 2 ? lost - Pattern.period : lost
        #expect(pattern.locate(bytes, count: bytes.count, seed: 9, near: 5000) == Int64(expected))
    }

    @Test func aRepetitionIsLocatedBehind() {
        let bytes = received(1000, seed: 9, at: 4000)
        #expect(pattern.locate(bytes, count: bytes.count, seed: 9, near: 5000) == -1000)
    }

    @Test func bytesOfAnotherStreamAreAMismatch() {
        let bytes = received(64, seed: 1)
        #expect(pattern.mismatch(bytes, count: bytes.count, seed: 2, at: 0) != nil)
    }
}

// SPDX-License-Identifier: Apache-2.0
import CLoad
import Glibc

/// The bytes of every verified stream: byte `p` of a stream with seed `s` is
/// `table[(s + p) mod period]`.
///
/// The period is prime, so that no power-of-two reordering, loss or repetition lines up
/// with it; whatever arrives at position `p` must be byte `p`. A sender needs no copy
/// (it sends out of the table) and a receiver compares with `memcmp`, which tells more
/// than a checksum at the end: the first wrong position.
///
/// `@unchecked Sendable`: the table is written once, in `init`, and never freed.
struct Pattern: @unchecked Sendable {
    /// Small enough for the processor's second-level cache.
    static let period = 131_071
    /// Largest run that can be sent or compared in one piece.
    static let largestRun = 1 << 20

    static let shared = Pattern()

    private let table: UnsafePointer<UInt8>
    /// The table as a file, for sendfile(2); -1 if the system has no memory files.
    let file: Int32

    private init() {
        let size = Self.period + Self.largestRun
        let bytes = UnsafeMutablePointer<UInt8>.allocate(capacity: size)
        var random = SplitMix64(state: 0x5eed)
        for index in 0..<Self.period { bytes[index] = UInt8(truncatingIfNeeded: random.next() >> 32) }
        for index in Self.period..<size { bytes[index] = bytes[index - Self.period] }
        table = UnsafePointer(bytes)
        file = load_memory_file("meshload-pattern")
        var written = 0
        while file >= 0 && written < size {
            let count = write(file, bytes + written, size - written)
            precondition(count > 0, "a memory file takes what is written to it")
            written += count
        }
    }

    /// Offset in ``file`` (and in the table) of the stream's bytes from `position` on.
    func offset(seed: UInt64, at position: UInt64) -> Int {
        Int((seed % UInt64(Self.period) + position) % UInt64(Self.period))
    }

    /// At least ``largestRun`` bytes of the stream from `position` on.
    func bytes(seed: UInt64, at position: UInt64) -> UnsafePointer<UInt8> {
        table + offset(seed: seed, at: position)
    }

    /// Offset in `received` of the first byte that is not the stream's, nil if all are.
    func mismatch(_ received: UnsafePointer<UInt8>, count: Int, seed: UInt64, at position: UInt64) -> Int? {
        var done = 0
        while done < count {
            let run = min(count - done, Self.largestRun)
            let expected = bytes(seed: seed, at: position + UInt64(done))
            if memcmp(received + done, expected, run) != 0 {
                return done + (0..<run).first { received[done + $0] != expected[$0] }!
            }
            done += run
        }
        return nil
    }

    /// Where in the stream `received` really belongs: what a mismatch report needs to tell
    /// a loss (a later position) from a repetition (an earlier one). Nil if it is nowhere.
    func locate(_ received: UnsafePointer<UInt8>, count: Int, seed: UInt64, near position: UInt64) -> Int64? {
        guard count >= 8 else { return nil }
        for distance in 1..<UInt64(Self.period) {
            if memcmp(received, bytes(seed: seed, at: position + distance), min(count, 64)) == 0 {
                return distance > UInt64(Self.period / 2) ? Int64(distance) - Int64(Self.period) : Int64(distance)
            }
        }
        return nil
    }
}

/// Sebastiano Vigna's generator: 64 bits of state, good enough to plan traffic, and repeatable.
struct SplitMix64: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }

    /// A number between 1 and `limit` whose magnitude, not value, is uniform.
    mutating func logUniform(_ limit: Int) -> Int {
        let bits = 63 - limit.leadingZeroBitCount
        let top = Int.random(in: 0...bits, using: &self)
        return min(limit, Int.random(in: (1 << top)...((2 << top) - 1), using: &self))
    }

    mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &self) < percent }
}

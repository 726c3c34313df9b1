// SPDX-License-Identifier: Apache-2.0

/// Turns random numbers that a caller passes in into choices: everything that balances is a function of its arguments.
enum Draw {
    /// The next number of a sequence, as good as independent of the last: the finaliser of SplitMix64.
    /// G. Steele, D. Lea, C. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
    @inline(__always)
    static func next(_ random: UInt64) -> UInt64 {
        var bits = random &+ 0x9e37_79b9_7f4a_7c15
        bits = (bits ^ bits >> 30) &* 0xbf58_476d_1ce4_e5b9
        bits = (bits ^ bits >> 27) &* 0x94d0_49bb_1331_11eb
        return bits ^ bits >> 31
    }

    /// A number below `bound`, each as likely as the others to `bound` / 2^64. 0 if `bound` is 0.
    @inline(__always)
    static func below(_ bound: UInt64, _ random: UInt64) -> UInt64 { bound.multipliedFullWidth(by: random).high }
}

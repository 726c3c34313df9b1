// SPDX-License-Identifier: Apache-2.0

/// A random number generator that gives the same numbers for the same seed everywhere.
///
/// https://prng.di.unimi.it/splitmix64.c
public struct SplitMix64: RandomNumberGenerator, Sendable {
    private var state: UInt64

    public init(seed: UInt64) {
        state = seed
    }

    public mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
        return z ^ z >> 31
    }

    /// True `percent` times of a hundred.
    public mutating func chance(_ percent: Int) -> Bool {
        Int.random(in: 0..<100, using: &self) < percent
    }

    /// - Precondition: `choices` is not empty.
    public mutating func pick<Value>(_ choices: [Value]) -> Value {
        choices[Int.random(in: 0..<choices.count, using: &self)]
    }

    /// Up to `most` of the choices, each once.
    public mutating func some<Value>(_ choices: [Value], atLeast least: Int = 0, atMost most: Int) -> [Value] {
        Array(choices.shuffled(using: &self).prefix(Int.random(in: least...most, using: &self)))
    }

    /// Between `least` and `most` values.
    public mutating func list<Value>(
        atLeast least: Int = 0, atMost most: Int, _ make: (inout SplitMix64) -> Value
    ) -> [Value] {
        var result: [Value] = []
        for _ in 0..<Int.random(in: least...most, using: &self) { result.append(make(&self)) }
        return result
    }
}

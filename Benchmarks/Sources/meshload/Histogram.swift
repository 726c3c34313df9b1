// SPDX-License-Identifier: Apache-2.0

/// Counts of durations in nanoseconds, in buckets of 1.6 % width (64 for each doubling).
///
/// Recording is a shift and an increment into memory reserved at creation, so that it
/// can stand inside a measured loop. Values past 2^40 ns (18 minutes) count as 2^40.
struct Histogram: ~Copyable {
    private static let precision = 6
    private static let bucketCount = (41 - precision) << precision

    private let buckets: UnsafeMutablePointer<UInt64>
    private(set) var count: UInt64 = 0
    private(set) var sum: UInt64 = 0
    private(set) var largest: UInt64 = 0

    init() {
        buckets = .allocate(capacity: Self.bucketCount)
        buckets.initialize(repeating: 0, count: Self.bucketCount)
    }

    deinit { buckets.deallocate() }

    mutating func record(_ nanoseconds: UInt64) {
        buckets[Self.index(of: nanoseconds)] += 1
        count += 1
        sum += nanoseconds
        if nanoseconds > largest { largest = nanoseconds }
    }

    var mean: Double { count == 0 ? .nan : Double(sum) / Double(count) }

    /// The smallest bucket value that at least `fraction` of the records do not exceed; NaN if empty.
    func quantile(_ fraction: Double) -> Double {
        guard count > 0 else { return .nan }
        let rank = max(1, UInt64((fraction * Double(count)).rounded(.up)))
        var seen: UInt64 = 0
        for index in 0..<Self.bucketCount {
            seen += buckets[index]
            if seen >= rank { return Double(Self.middle(of: index)) }
        }
        return Double(largest)
    }

    /// Values below 64 have a bucket each; above, the top 6 bits after the leading one choose it.
    static func index(of value: UInt64) -> Int {
        let value = min(value, (1 << 40) - 1)
        guard value >= 1 << precision else { return Int(value) }
        let exponent = 63 - value.leadingZeroBitCount - precision
        return ((exponent + 1) << precision) + Int((value >> UInt64(exponent)) & ((1 << precision) - 1))
    }

    static func middle(of index: Int) -> UInt64 {
        guard index >= 1 << precision else { return UInt64(index) }
        let exponent = (index >> precision) - 1
        let low = UInt64((1 << precision) | (index & ((1 << precision) - 1))) << UInt64(exponent)
        return low + (UInt64(1) << UInt64(exponent)) / 2
    }
}

extension JSONObject {
    /// Adds `mean_us`, `p50_us`, `p90_us`, `p99_us`, `p999_us` and `max_us`.
    mutating func set(latency histogram: borrowing Histogram) {
        set("mean_us", histogram.mean / 1e3)
        set("p50_us", histogram.quantile(0.50) / 1e3)
        set("p90_us", histogram.quantile(0.90) / 1e3)
        set("p99_us", histogram.quantile(0.99) / 1e3)
        set("p999_us", histogram.quantile(0.999) / 1e3)
        set("max_us", Double(histogram.largest) / 1e3)
    }
}

// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import meshload

struct HistogramTests {
    @Test func everyValueLandsInABucketNoWiderThanTwoPercent() {
        for value: UInt64 in [0, 1, 63, 64, 65, 127, 128, 1_000, 8_500, 123_456_789, 1 << 39] {
            let middle = Histogram.middle(of: Histogram.index(of: value))
            #expect(abs(Double(middle) - Double(value)) <= Double(value) * 0.016)
        }
    }

    @Test func bucketsAreInTheOrderOfTheirValues() {
        var last = -1
        for value: UInt64 in 0..<100_000 {
            let index = Histogram.index(of: value)
            #expect(index == last || index == last + 1)
            last = index
        }
    }

    @Test func quantilesOfAKnownDistribution() {
        var histogram = Histogram()
        for value in 1...1000 { histogram.record(UInt64(value * 1000)) }
        #expect(abs(histogram.quantile(0.5) - 500_000) < 10_000)
        #expect(abs(histogram.quantile(0.99) - 990_000) < 20_000)
        #expect(histogram.largest == 1_000_000)
        #expect(histogram.mean == 500_500)
    }

    @Test func anEmptyHistogramHasNoQuantiles() {
        let histogram = Histogram()
        #expect(histogram.quantile(0.5).isNaN)
    }
}

// SPDX-License-Identifier: Apache-2.0

import MeshModel
import TestSupport
import Testing

@Suite struct AliasTableTests {
    /// The probability of each index, in units of 2^-32 of a column.
    private func shares(_ table: AliasTable) -> [Double] {
        var shares = [Double](repeating: 0, count: table.columns.count)
        for (index, column) in table.columns.enumerated() {
            let own = column.threshold == .max ? 4_294_967_296 : Double(column.threshold)
            shares[index] += own
            shares[Int(column.alias)] += 4_294_967_296 - own
        }
        return shares
    }

    private func expectExact(_ weights: [UInt32], sourceLocation: SourceLocation = #_sourceLocation) {
        let table = AliasTable(weights: weights)
        let sum = weights.reduce(0.0) { $0 + Double($1) }
        for (share, weight) in zip(shares(table), weights) {
            let expected = Double(weight) / sum * Double(weights.count) * 4_294_967_296
            // Each column may be rounded by one unit.
            #expect(
                abs(share - expected) <= Double(weights.count),
                "weight \(weight) of \(weights.count): \(share), \(expected)",
                sourceLocation: sourceLocation)
            if weight == 0 { #expect(share == 0, sourceLocation: sourceLocation) }
        }
    }

    @Test(
        arguments: [
            [1], [1, 1], [9, 1], [1, 2, 3], [0, 1], [1, 0, 0, 5], [65535, 1], [1, 1, 1, 1, 1, 1, 1],
            [100, 1, 50, 3, 7],
        ] as [[UInt32]])
    func sharesAreExact(_ weights: [UInt32]) {
        expectExact(weights)
    }

    @Test func equalWeightsNeedNoAlias() {
        let table = AliasTable(weights: [5, 5, 5])
        #expect(table.columns == (0..<3).map { AliasTable.Column(threshold: .max, alias: $0) })
    }

    @Test func randomWeightsAreExact() {
        var random = SplitMix64(seed: 1)
        for _ in 0..<100 {
            let count = Int.random(in: 1...50, using: &random)
            expectExact((0..<count).map { _ in UInt32.random(in: 0...100, using: &random) } + [1])
        }
    }

    @Test func theLargestTable() {
        var random = SplitMix64(seed: 2)
        expectExact((0..<AliasTable.maximumSlots).map { _ in UInt32.random(in: 0...65535, using: &random) })
        expectExact([UInt32](repeating: .max, count: AliasTable.maximumSlots - 1) + [1])
    }

    @Test func emptyIsEmpty() {
        #expect(AliasTable(weights: []).columns.isEmpty)
    }

    /// Drawing as the kernel does comes out as the weights say.
    @Test func drawsFollowTheWeights() {
        let weights: [UInt32] = [90, 9, 1]
        let table = AliasTable(weights: weights)
        var random = SplitMix64(seed: 3)
        var counts = [0, 0, 0]
        for _ in 0..<100_000 {
            let index = Int.random(in: 0..<3, using: &random)
            let column = table.columns[index]
            let keep = column.threshold == .max || UInt32.random(in: .min ... .max, using: &random) < column.threshold
            counts[keep ? index : Int(column.alias)] += 1
        }
        // Five standard deviations.
        #expect(abs(counts[0] - 90_000) < 475)
        #expect(abs(counts[1] - 9000) < 455)
        #expect(abs(counts[2] - 1000) < 160)
    }
}

// SPDX-License-Identifier: Apache-2.0

/// Columns from which one random number draws an index with the probability of its weight.
///
/// A. J. Walker, "An efficient method for generating discrete random variables with general distributions",
/// ACM TOMS 3 (1977), in the O(n) form of M. D. Vose (1991). All sums are exact integers; only each
/// threshold is rounded, to 2^-32.
public struct AliasTable: Hashable, Sendable {
    public struct Column: Hashable, Sendable, BitwiseCopyable {
        /// Take the column's own index if a random number below 2^32 is less than this, or if this is
        /// `UInt32.max`; else ``alias``.
        public let threshold: UInt32
        public let alias: UInt32

        public init(threshold: UInt32, alias: UInt32) {
            self.threshold = threshold
            self.alias = alias
        }
    }

    /// Columns at most. Arbitrary; bounds what one service can take of the shared map.
    public static let maximumSlots = 4096

    /// One for each weight.
    public let columns: [Column]

    /// - Precondition: At most ``maximumSlots`` weights, none above 2^32 - 1, and their sum not 0 unless there are none.
    public init(weights: [UInt32]) {
        let count = UInt64(weights.count)
        let sum = weights.reduce(UInt64(0)) { $0 + UInt64($1) }
        precondition(weights.count <= Self.maximumSlots, "\(weights.count) weights, at most \(Self.maximumSlots)")
        precondition(weights.isEmpty || sum > 0, "no weight is above 0")
        // In units of 1 / (count * sum) every column holds `sum`, and index i is owed weights[i] * count.
        var owed = weights.map { UInt64($0) * count }
        var columns = (0..<weights.count).map { Column(threshold: .max, alias: UInt32($0)) }
        var small = owed.indices.filter { owed[$0] < sum }
        var large = owed.indices.filter { owed[$0] > sum }
        while let less = small.popLast(), let more = large.last {
            // Rounded down: the difference of 2^-32 at most goes to the alias.
            columns[less] = Column(threshold: Self.fraction(owed[less], of: sum), alias: UInt32(more))
            owed[more] -= sum - owed[less]
            if owed[more] <= sum {
                large.removeLast()
                if owed[more] < sum { small.append(more) }
            }
        }
        self.columns = columns
    }

    /// `part / whole` in units of 2^-32, rounded down.
    ///
    /// - Precondition: `part < whole`.
    private static func fraction(_ part: UInt64, of whole: UInt64) -> UInt32 {
        // part < whole <= 4096 * 2^32, so 128 bits are needed on the way.
        let (quotient, _) = whole.dividingFullWidth((part >> 32, part << 32))
        // The greatest threshold means "always", which a part of the whole is not.
        return UInt32(min(quotient, UInt64(UInt32.max) - 1))
    }
}

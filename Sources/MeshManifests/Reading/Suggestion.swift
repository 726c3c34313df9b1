// SPDX-License-Identifier: Apache-2.0

/// "Did you mean": the known word nearest to a mistyped one.
enum Suggestion {
    /// The remedy for an unknown word.
    ///
    /// - Returns: `did you mean "podSelector"?` if one word is near, else the list of what is known.
    static func remedy(for word: String, among known: [String]) -> String {
        if let near = nearest(to: word, among: known) { return "did you mean \"\(near)\"?" }
        return known.isEmpty ? "remove it" : "known here: \(known.joined(separator: ", "))"
    }

    /// The word of `known` at the smallest edit distance, if it is at most a third of the word's length.
    static func nearest(to word: String, among known: [String]) -> String? {
        guard word.utf8.count <= 64 else { return nil }
        let wanted = word.lowercased()
        if let same = known.first(where: { $0.lowercased() == wanted }) { return same }
        let best =
            known
            .map { (distance: distance(Array(wanted.utf8), Array($0.lowercased().utf8)), word: $0) }
            .min { ($0.distance, $0.word) < ($1.distance, $1.word) }
        guard let best, best.distance <= max(1, wanted.utf8.count / 3) else { return nil }
        return best.word
    }

    /// Edit distance where a swap of neighbours counts as one edit (optimal string alignment).
    private static func distance(_ left: [UInt8], _ right: [UInt8]) -> Int {
        if left.isEmpty || right.isEmpty { return max(left.count, right.count) }
        var beforeLast: [Int] = []
        var last = Array(0...right.count)
        for row in 1...left.count {
            var current = [row] + Array(repeating: 0, count: right.count)
            for column in 1...right.count {
                let cost = left[row - 1] == right[column - 1] ? 0 : 1
                current[column] = min(last[column] + 1, current[column - 1] + 1, last[column - 1] + cost)
                if row > 1, column > 1, left[row - 1] == right[column - 2], left[row - 2] == right[column - 1] {
                    current[column] = min(current[column], beforeLast[column - 2] + 1)
                }
            }
            (beforeLast, last) = (last, current)
        }
        return last[right.count]
    }
}

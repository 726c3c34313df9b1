// SPDX-License-Identifier: Apache-2.0

/// Gives every identity, or every service, a number and keeps it, through changes and restarts.
///
/// Numbers are handed out in ascending order and come round only after all others, so a number that was
/// freed is not soon seen again with another meaning. It is never given away before a whole generation
/// has passed in which nobody used it.
public struct NumberRegistry: Sendable {
    /// One number, as it is persisted.
    public struct Entry: Hashable, Sendable {
        public let key: String
        public let number: UInt32

        public init(key: String, number: UInt32) {
            self.key = key
            self.number = number
        }
    }

    private struct Assignment: Sendable {
        let number: UInt32
        /// The generation in which the last user left; `nil` while there is one.
        var freedIn: UInt64?
    }

    /// Freed numbers that are remembered at most, for identities that come back. Arbitrary.
    private static let remembered = 4096

    private var assignments: [String: Assignment] = [:]
    private var taken: Set<UInt32> = []
    /// Keys in the order in which they were freed; some may be in use again.
    private var freed: [String] = []
    private var next: UInt32
    private var generation: UInt64 = 0
    /// Grows whenever ``entries`` change, so that what is persisted need not be made again.
    public private(set) var revision: UInt64 = 0
    private let first: UInt32
    private let limit: UInt32

    /// - Parameters:
    ///   - first: The least number to give.
    ///   - limit: The greatest.
    public init(first: UInt32 = IdentityNumber.first.rawValue, limit: UInt32 = .max) {
        precondition(first <= limit, "no number lies between \(first) and \(limit)")
        self.first = first
        self.limit = limit
        self.next = first
    }

    /// Restores what ``entries`` and ``nextNumber`` were. Numbers out of range and repeated ones are left out.
    public init(
        entries: some Sequence<Entry>, nextNumber: UInt32, first: UInt32 = IdentityNumber.first.rawValue,
        limit: UInt32 = .max
    ) {
        self.init(first: first, limit: limit)
        for entry in entries where (first...limit).contains(entry.number) && assignments[entry.key] == nil {
            guard taken.insert(entry.number).inserted else { continue }
            assignments[entry.key] = Assignment(number: entry.number, freedIn: 0)
            freed.append(entry.key)
        }
        next = min(max(nextNumber, first), limit)
    }

    /// All numbers in use or remembered, by number.
    public var entries: [Entry] {
        assignments.map { Entry(key: $0.key, number: $0.value.number) }.sorted { $0.number < $1.number }
    }

    /// Where the search for a free number goes on.
    public var nextNumber: UInt32 { next }

    /// The number of `key`, new or as before.
    ///
    /// - Returns: `nil` if all numbers are taken.
    mutating func number(for key: String) -> UInt32? {
        if var assignment = assignments[key] {
            assignment.freedIn = nil
            assignments[key] = assignment
            return assignment.number
        }
        guard taken.count <= Int(limit - first) else { return nil }
        while taken.contains(next) { advance() }
        let number = next
        advance()
        taken.insert(number)
        assignments[key] = Assignment(number: number)
        revision += 1
        return number
    }

    /// The last user of the key's number has gone.
    mutating func release(_ key: String) {
        guard assignments[key] != nil else { return }
        assignments[key]?.freedIn = generation
        freed.append(key)
    }

    /// A generation is complete: numbers that nobody used throughout it may be forgotten.
    mutating func endGeneration() {
        generation += 1
        let crowded = taken.count > Int(limit - first) / 2
        // Only now and then, so that the cost per generation is constant.
        guard crowded || freed.count > 2 * Self.remembered else { return }
        var surplus = crowded ? freed.count : freed.count - Self.remembered
        var keep: [String] = []
        for key in freed {
            guard let assignment = assignments[key], let freedIn = assignment.freedIn else { continue }
            // Freed on the way to generation g: still used by g - 1, unused for the first time in g.
            if surplus > 0, freedIn + 1 < generation {
                surplus -= 1
                assignments[key] = nil
                taken.remove(assignment.number)
                revision += 1
            } else {
                keep.append(key)
            }
        }
        freed = keep
    }

    private mutating func advance() {
        next = next == limit ? first : next + 1
    }
}

// SPDX-License-Identifier: Apache-2.0

/// A bucket for every key, up to a number of keys; then the key that has not come for the longest time is forgotten.
///
/// One key for all requests of a route, or one for every source identity or value of a header. All memory is taken at
/// the beginning: 40 bytes a key. Belongs to one worker, so that a limit of a node is divided by their number.
public struct RateLimiter: ~Copyable {
    /// What requests are counted by.
    public enum Subject: Hashable, Sendable {
        /// All requests of the route together.
        case route
        /// The client's SPIFFE ID; all clients without one together.
        case sourceIdentity
        /// The value of a header field, by its name in lower case; all requests without it together.
        case header(String)
    }

    private struct Node: BitwiseCopyable {
        var key: UInt64 = 0
        var bucket = TokenBucket()
        var nextInChain: Int32 = -1
        var newer: Int32 = -1
        var older: Int32 = -1
    }

    public static let defaultKeys = 10_000
    public static let maximumKeys = 1_000_000

    public let limit: RateLimit
    public let capacity: Int
    private let nodes: UnsafeMutablePointer<Node>
    /// The first node of each chain, by the low bits of the key; -1: none.
    private let chains: UnsafeMutablePointer<Int32>
    private let mask: Int
    /// Keys that have a bucket.
    public private(set) var count = 0
    private var newest: Int32 = -1
    private var oldest: Int32 = -1
    /// Buckets that were forgotten though they were not full: their keys have got more than they should. If this grows,
    /// ``capacity`` is too small, or somebody makes keys up.
    public private(set) var forgotten: UInt64 = 0

    /// - Parameter capacity: keys at most, 1 to ``maximumKeys``; of ``Subject/route`` there is one.
    public init(_ limit: RateLimit, capacity: Int = defaultKeys) {
        precondition((1...Self.maximumKeys).contains(capacity), "a rate limiter for \(capacity) keys")
        self.limit = limit
        self.capacity = capacity
        var size = 1
        while size < capacity { size *= 2 }
        mask = size - 1
        nodes = .allocate(capacity: capacity)
        nodes.initialize(repeating: Node(), count: capacity)
        chains = .allocate(capacity: size)
        chains.initialize(repeating: -1, count: size)
    }

    deinit {
        nodes.deallocate()
        chains.deallocate()
    }

    /// The key of some bytes. Keyed with a secret of the process: nobody can choose two that share a bucket.
    public static func key(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
        var hasher = Hasher()
        hasher.combine(bytes: bytes)
        return UInt64(truncatingIfNeeded: hasher.finalize())
    }

    /// Whether a request may pass. It is counted if it may.
    ///
    /// - Parameters:
    ///   - key: of ``key(_:)``; any constant for those that are counted together.
    ///   - now: nanoseconds of a monotonic clock.
    public mutating func take(_ key: UInt64, now: UInt64) -> RateLimitDecision {
        let chain = Int(truncatingIfNeeded: key) & mask
        var index = chains[chain]
        while index >= 0, nodes[Int(index)].key != key { index = nodes[Int(index)].nextInChain }
        if index < 0 {
            index = takeNode(now)
            nodes[Int(index)] = Node(key: key, nextInChain: chains[chain])
            chains[chain] = index
            pushNewest(index)
        } else if index != newest {
            unlink(index)
            pushNewest(index)
        }
        return nodes[Int(index)].bucket.take(limit, now: now)
    }

    private mutating func takeNode(_ now: UInt64) -> Int32 {
        if count < capacity {
            count += 1
            return Int32(count - 1)
        }
        let victim = oldest
        if !nodes[Int(victim)].bucket.isFull(now) { forgotten &+= 1 }
        unlink(victim)
        let chain = Int(truncatingIfNeeded: nodes[Int(victim)].key) & mask
        if chains[chain] == victim {
            chains[chain] = nodes[Int(victim)].nextInChain
        } else {
            var index = chains[chain]
            while nodes[Int(index)].nextInChain != victim { index = nodes[Int(index)].nextInChain }
            nodes[Int(index)].nextInChain = nodes[Int(victim)].nextInChain
        }
        return victim
    }

    private mutating func unlink(_ index: Int32) {
        let node = nodes[Int(index)]
        if node.newer >= 0 { nodes[Int(node.newer)].older = node.older } else { newest = node.older }
        if node.older >= 0 { nodes[Int(node.older)].newer = node.newer } else { oldest = node.newer }
    }

    private mutating func pushNewest(_ index: Int32) {
        nodes[Int(index)].newer = -1
        nodes[Int(index)].older = newest
        if newest >= 0 { nodes[Int(newest)].newer = index } else { oldest = index }
        newest = index
    }
}

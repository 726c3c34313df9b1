// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Testing

@testable import L7Proxy

@Suite struct RateLimitTests {
    @Test func theBurstThenTheRate() throws {
        let limit = try #require(RateLimit(requestsPerSecond: 2, burst: 3))
        var bucket = TokenBucket()
        let now = 50 * second
        let decisions = (0..<4).map { _ in bucket.take(limit, now: now) }
        #expect(decisions.map(\.isAllowed) == [true, true, true, false])
        #expect(decisions.map(\.remaining) == [2, 1, 0, 0])
        #expect(decisions.map(\.waitSeconds) == [0, 0, 1, 1])
        #expect(decisions.map(\.resetSeconds) == [1, 1, 2, 2])
        #expect(!bucket.take(limit, now: now + second / 2 - 1).isAllowed)
        #expect(bucket.take(limit, now: now + second / 2).isAllowed)
        #expect(!bucket.take(limit, now: now + second / 2).isAllowed)
        // A long pause gives the burst back, not more.
        #expect((0..<9).count { _ in bucket.take(limit, now: now + 3600 * second).isAllowed } == 3)
    }

    @Test(arguments: [(0, 1), (1, 0), (1_000_001, 1), (1, 1_000_001)] as [(UInt32, UInt32)])
    func limitsHaveLimits(_ rate: UInt32, _ burst: UInt32) {
        #expect(RateLimit(requestsPerSecond: rate, burst: burst) == nil)
    }

    /// Of any arrivals, in no stretch of time do more pass than the burst and the rate allow; and whoever waits as long as
    /// he is told, passes.
    @Test(arguments: [(1, 1), (3, 7), (1000, 1), (999_999, 50), (1_000_000, 1_000_000)] as [(UInt32, UInt32)])
    func neverMoreThanTheRate(_ rate: UInt32, _ burst: UInt32) throws {
        let limit = try #require(RateLimit(requestsPerSecond: rate, burst: burst))
        var bucket = TokenBucket()
        var randoms = Randoms(UInt64(rate))
        var passed: [UInt64] = []
        var now: UInt64 = second
        for _ in 0..<2000 {
            now += UInt64(randoms.below(Int(2 * second / UInt64(rate))))
            let decision = bucket.take(limit, now: now)
            if decision.isAllowed {
                passed.append(now)
                #expect(decision.waitSeconds == 0 || decision.remaining == 0)
            } else {
                #expect(decision.waitSeconds >= 1)
                var copy = bucket
                #expect(copy.take(limit, now: now + UInt64(decision.waitSeconds) * second).isAllowed)
            }
        }
        for first in stride(from: 0, to: passed.count, by: 37) {
            for last in stride(from: first, to: passed.count, by: 11) {
                let time = Double(passed[last] - passed[first]) / Double(second)
                #expect(Double(last - first + 1) <= Double(burst) + time * Double(rate) + 1e-6)
            }
        }
        #expect(passed.count > 10)
    }

    @Test func keysHaveBucketsOfTheirOwn() throws {
        // Sets of eight places, chosen by the low bits: all these keys share one.
        let limiter = RateLimiter(try #require(RateLimit(requestsPerSecond: 1)), keys: 16)
        func allowed(_ keys: some Sequence<UInt64>, now: UInt64 = 5 * second) -> [Bool] {
            keys.map { limiter.take($0 << 32, now: now).isAllowed }
        }
        #expect(allowed(1...8) == [Bool](repeating: true, count: 8))
        #expect(allowed(1...8) == [Bool](repeating: false, count: 8))
        #expect(limiter.forgotten == 0)
        // None of the eight is full again: the one that is nearest to it goes, the first of equals.
        #expect(allowed(9...9) == [true] && limiter.forgotten == 1)
        #expect(allowed(2...9) == [Bool](repeating: false, count: 8))
        #expect(allowed(1...1) == [true] && limiter.forgotten == 2)
        // A bucket that is full again may be forgotten without harm.
        #expect(allowed(10...17, now: 7 * second) == [Bool](repeating: true, count: 8))
        #expect(limiter.forgotten == 2)
    }

    /// Against a dictionary: with room for them, each key has its own bucket.
    @Test(arguments: [1, 2, 100, 1000]) func bucketsAreExact(_ keys: Int) throws {
        let limit = try #require(RateLimit(requestsPerSecond: 5, burst: 2))
        let limiter = RateLimiter(limit, keys: keys)
        var buckets: [UInt64: TokenBucket] = [:]
        var randoms = Randoms(UInt64(keys))
        var now: UInt64 = second
        for _ in 0..<5000 {
            now += UInt64(randoms.below(20_000_000))
            let key = UInt64(randoms.below(keys)) &* 0x9e37_79b9_7f4a_7c15
            #expect(limiter.take(key, now: now) == buckets[key, default: TokenBucket()].take(limit, now: now))
        }
        #expect(limiter.forgotten == 0)
    }

    /// What several threads are allowed at one moment is the burst, for each key: not a token more, not one less.
    @Test(arguments: [1, 200]) func aLimitIsThatOfAllThreads(_ keys: Int) async throws {
        let limiter = RateLimiter(try #require(RateLimit(requestsPerSecond: 1, burst: 50)), keys: keys)
        let allowed = await withTaskGroup(of: [UInt64].self) { group in
            for thread in 0..<4 {
                group.addTask {
                    var allowed = [UInt64](repeating: 0, count: keys)
                    var randoms = Randoms(UInt64(thread))
                    for _ in 0..<(40 * keys) {
                        let key = randoms.below(keys)
                        if limiter.take(UInt64(key) + 1, now: second).isAllowed { allowed[key] += 1 }
                    }
                    // Until each key has nothing left.
                    for key in 0..<keys {
                        while limiter.take(UInt64(key) + 1, now: second).isAllowed { allowed[key] += 1 }
                    }
                    return allowed
                }
            }
            return await group.reduce(into: [UInt64](repeating: 0, count: keys)) { sums, counts in
                for key in 0..<keys { sums[key] += counts[key] }
            }
        }
        #expect(allowed == [UInt64](repeating: 50, count: keys))
    }

    @Test func workersShareALimiterAsLongAsOneOfThemHasIt() throws {
        let node = NodeLimits()
        let key = ClusterKey(NamespacedName(namespace: "shop", name: "web"), 80)
        let other = ClusterKey(NamespacedName(namespace: "shop", name: "api"), 80)
        let limit = ServicePolicy.Limit(.route, try #require(RateLimit(requestsPerSecond: 1)))
        let changed = ServicePolicy.Limit(.route, try #require(RateLimit(requestsPerSecond: 2)))
        var first: RateLimiter? = node.limiter(key, 0, limit)
        let second = node.limiter(key, 0, limit)
        #expect(first === second)
        #expect(node.limiter(key, 1, limit) !== second && node.limiter(other, 0, limit) !== second)
        #expect(node.limiter(key, 0, changed) !== second)
        #expect(node.count == 1)
        first = nil
        #expect(node.limiter(key, 0, limit) === second)
    }

    @Test func clientsAreTold() throws {
        let limit = try #require(RateLimit(requestsPerSecond: 10, burst: 25))
        var bucket = TokenBucket()
        let first = bucket.take(limit, now: second)
        func text(_ write: (UnsafeMutableRawBufferPointer) -> Int?, room: Int = 128) -> String? {
            withUnsafeTemporaryAllocation(byteCount: room, alignment: 1) { buffer in
                write(buffer).map { String(decoding: UnsafeRawBufferPointer(rebasing: buffer[..<$0]), as: UTF8.self) }
            }
        }
        func named(_ name: String, _ write: (UnsafeRawBufferPointer) -> String?) -> String? {
            Array(name.utf8).withUnsafeBytes(write)
        }
        let policy = { (room: Int) in
            { (name: UnsafeRawBufferPointer) in
                text({ RateLimitFields.policy(limit, name: name, into: $0) }, room: room)
            }
        }
        #expect(named("shop/per-client", policy(128)) == "\"shop/per-client\";q=25;w=3")
        #expect(named("a", { name in text { RateLimitFields.limit(first, name: name, into: $0) } }) == "\"a\";r=24;t=1")
        #expect(named("a\"b", policy(128)) == nil)
        #expect(named("", policy(128)) == nil)
        for room in 0..<14 { #expect(named("a", policy(room)) == (room < 12 ? nil : "\"a\";q=25;w=3")) }
        #expect(text { RateLimitFields.retryAfter(first, into: $0) } == "1")
        var last = first
        for _ in 0..<30 { last = bucket.take(limit, now: second) }
        #expect(!last.isAllowed && text { RateLimitFields.retryAfter(last, into: $0) } == "1")
        #expect(String(repeating: "n", count: 64).utf8.count + 30 < RateLimitFields.maximumLength)
    }
}

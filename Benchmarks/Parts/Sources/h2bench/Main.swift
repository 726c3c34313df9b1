// SPDX-License-Identifier: Apache-2.0

import CMallocCount
import Glibc
import L7Proxy

/// Measures the HTTP/2 core alone: a client session against a server session in memory, one thread, no socket.
///
///     swift run -c release --package-path Benchmarks h2bench [REQUESTS]
///
/// Prints, for each case, requests in a second of processor time (both ends together) in the fastest round and in the
/// middle one, and how often memory was allocated in all rounds. Exits with 1 if it was allocated at all: the steady
/// path must not. With REQUESTS it makes that many of the first case and nothing else, for a count of instructions.
@main
enum H2Bench {
    private static let rounds = 11

    static func main() {
        guard detectorWorks() else {
            print("h2bench: allocations are not counted on this system")
            exit(2)
        }
        if CommandLine.arguments.count > 1 {
            guard let count = Int(CommandLine.arguments[1]), count > 0 else {
                print("usage: h2bench [REQUESTS]")
                exit(2)
            }
            let exchange = Exchange(streams: 100, responseBytes: 1024)
            for _ in 0..<max(1, count / 100) { exchange.round() }
            print("\(exchange.completed) requests")
            return
        }
        var failed = false
        failed = measure("1 stream, 1 KiB", Exchange(streams: 1, responseBytes: 1024), 20_000) || failed
        failed = measure("100 streams, 1 KiB", Exchange(streams: 100, responseBytes: 1024), 200) || failed
        failed = measure("100 streams, no content", Exchange(streams: 100, responseBytes: 0), 200) || failed
        failed = measure("10 streams, 64 KiB", Exchange(streams: 10, responseBytes: 65_536), 200) || failed
        exit(failed ? 1 : 0)
    }

    /// An array must be seen to be allocated, or a count of zero says nothing.
    private static func detectorWorks() -> Bool {
        let before = malloc_count()
        let array = [UInt8](repeating: 1, count: Int.random(in: 1000...2000))
        return array.count > 0 && malloc_count() > before
    }

    /// - Returns: Whether memory was allocated.
    private static func measure(_ name: String, _ exchange: Exchange, _ repetitions: Int) -> Bool {
        var rates = [Double](repeating: 0, count: rounds)
        for _ in 0..<20 { exchange.round() }
        let before = malloc_count()
        for round in 0..<rounds {
            let start = nanoseconds()
            let completed = exchange.completed
            for _ in 0..<repetitions { exchange.round() }
            rates[round] = Double(exchange.completed - completed) * 1e9 / Double(nanoseconds() - start)
        }
        let allocations = malloc_count() - before
        rates.sort()
        print(
            padded(name, 26) + padded("\(Int(rates[rounds - 1])) requests/s", 24)
                + padded("\(Int(rates[rounds / 2])) (median)", 20) + "\(allocations) allocations")
        return allocations > 0
    }

    /// Of this thread on a processor: what others run meanwhile does not count.
    private static func nanoseconds() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    private static func padded(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(1, width - text.count))
    }
}

// SPDX-License-Identifier: Apache-2.0

import CMallocCount
import Glibc
import L7Proxy

/// Measures the HTTP/1.1 core alone: no socket, one thread, the same messages again and again.
///
///     swift run -c release --package-path Benchmarks h1bench
///
/// Prints, for each case, the processor time of one operation in the fastest of some rounds and in the middle one, and how often
/// memory was allocated in all rounds. Exits with 1 if it was allocated at all: the steady path must not.
@main
enum H1Bench {
    private static let rounds = 15
    private static let operations = 100_000

    static func main() {
        guard detectorWorks() else {
            print("h1bench: allocations are not counted on this system")
            exit(2)
        }
        var workbench = Workbench()
        var failed = false
        failed = measure("request: parse", &workbench) { $0.parseRequest() } || failed
        failed = measure("request: parse, forward", &workbench) { $0.forwardRequest() } || failed
        failed = measure("response: parse", &workbench) { $0.parseResponse() } || failed
        failed = measure("response: parse, forward", &workbench) { $0.forwardResponse() } || failed
        failed = measure("body: two chunks", &workbench) { $0.readChunks() } || failed
        exit(failed ? 1 : 0)
    }

    /// An array must be seen to be allocated, or a count of zero says nothing.
    private static func detectorWorks() -> Bool {
        let before = malloc_count()
        let array = [UInt8](repeating: 1, count: Int.random(in: 1000...2000))
        return array.count > 0 && malloc_count() > before
    }

    /// - Returns: Whether memory was allocated.
    private static func measure(
        _ name: String, _ workbench: inout Workbench, _ operation: (inout Workbench) -> Int
    ) -> Bool {
        var times = [Double](repeating: 0, count: rounds)
        var sum = operation(&workbench)
        let before = malloc_count()
        for round in 0..<rounds {
            let start = nanoseconds()
            for _ in 0..<operations { sum &+= operation(&workbench) }
            times[round] = Double(nanoseconds() - start) / Double(operations)
        }
        let allocations = malloc_count() - before
        times.sort()
        precondition(sum != 0, "nothing was done")
        let columns = [
            padded(name, 26), padded("\(tenths(times[0])) ns", 12),
            padded("\(tenths(times[rounds / 2])) ns (median)", 22),
            "\(allocations) allocations",
        ]
        print(columns.joined())
        return allocations > 0
    }

    /// Of this thread on a processor: what others run meanwhile does not count.
    private static func nanoseconds() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    private static func tenths(_ value: Double) -> Double { (value * 10).rounded() / 10 }

    private static func padded(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(1, width - text.count))
    }
}

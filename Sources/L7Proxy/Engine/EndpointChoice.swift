// SPDX-License-Identifier: Apache-2.0

/// Chooses the endpoint of an attempt. The one place where that is decided.
enum EndpointChoice {
    /// What a worker remembers for one Service port between choices. Of one snapshot.
    struct Memory: BitwiseCopyable {
        var next: UInt32 = 0
    }

    /// - Parameters:
    ///   - endpoints: Ready ones, of one Service port. All weights are taken as equal.
    ///   - random: uniform over all values. Where a worker begins is left to chance, so that workers do not agree.
    /// - Returns: Its index, or `nil` if there is none.
    @inline(__always)
    static func choose(
        _ endpoints: UnsafeBufferPointer<ProxyEndpoint>, _ memory: inout Memory, random: UInt64
    ) -> Int? {
        let count = UInt32(truncatingIfNeeded: endpoints.count)
        guard count > 1 else { return count == 0 ? nil : 0 }
        if memory.next == 0 { memory.next = UInt32(truncatingIfNeeded: random >> 32) | 1 }
        let index = memory.next % count
        memory.next &+= 1
        return Int(index)
    }
}

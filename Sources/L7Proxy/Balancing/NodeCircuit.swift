// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// What all workers of a node do of one cluster's work at once.
///
/// One number for each resource, changed by compare-and-swap: no more than the limit is ever in use, and nobody waits.
final class NodeCircuit: Sendable {
    private let connections = Atomic<UInt32>(0)
    private let pending = Atomic<UInt32>(0)
    private let requests = Atomic<UInt32>(0)
    private let retries = Atomic<UInt32>(0)

    /// Takes one if fewer than `limit` are in use. - Returns: Whether it was taken.
    @inline(__always)
    func begin(_ resource: CircuitBreaker.Resource, limit: UInt32) -> Bool {
        switch resource {
        case .connection: Self.take(connections, limit)
        case .pending: Self.take(pending, limit)
        case .request: Self.take(requests, limit)
        case .retry: Self.take(retries, limit)
        }
    }

    /// Counts some that are in use whatever the limit.
    func add(_ count: UInt32, of resource: CircuitBreaker.Resource) {
        switch resource {
        case .connection: connections.wrappingAdd(count, ordering: .relaxed)
        case .pending: pending.wrappingAdd(count, ordering: .relaxed)
        case .request: requests.wrappingAdd(count, ordering: .relaxed)
        case .retry: retries.wrappingAdd(count, ordering: .relaxed)
        }
    }

    @inline(__always)
    func remove(_ count: UInt32, of resource: CircuitBreaker.Resource) {
        switch resource {
        case .connection: connections.wrappingSubtract(count, ordering: .relaxed)
        case .pending: pending.wrappingSubtract(count, ordering: .relaxed)
        case .request: requests.wrappingSubtract(count, ordering: .relaxed)
        case .retry: retries.wrappingSubtract(count, ordering: .relaxed)
        }
    }

    func inUse(_ resource: CircuitBreaker.Resource) -> UInt32 {
        switch resource {
        case .connection: connections.load(ordering: .relaxed)
        case .pending: pending.load(ordering: .relaxed)
        case .request: requests.load(ordering: .relaxed)
        case .retry: retries.load(ordering: .relaxed)
        }
    }

    // Relaxed: the numbers guard no other memory.
    @inline(__always)
    private static func take(_ number: borrowing Atomic<UInt32>, _ limit: UInt32) -> Bool {
        var known = number.load(ordering: .relaxed)
        while known < limit {
            let (isDone, found) = number.weakCompareExchange(expected: known, desired: known &+ 1, ordering: .relaxed)
            if isDone { return true }
            known = found
        }
        return false
    }
}

// SPDX-License-Identifier: Apache-2.0

/// How much of a cluster's work one worker does at once. What is beyond is answered with 503 at once: an overloaded
/// service recovers only if its clients stop waiting in ever longer queues.
public struct CircuitLimits: Hashable, Sendable, BitwiseCopyable {
    /// Connections to endpoints, idle ones too.
    public var connections: UInt32
    /// Requests that wait for a connection.
    public var pending: UInt32
    /// Requests that have been sent and not answered in full.
    public var requests: UInt32
    /// Of these, those that are not the first try.
    public var retries: UInt32

    /// The field's defaults, except that of retries: those are bounded by ``RetryBudget``.
    public init(connections: UInt32 = 1024, pending: UInt32 = 1024, requests: UInt32 = 1024, retries: UInt32 = 1024) {
        self.connections = connections
        self.pending = pending
        self.requests = requests
        self.retries = retries
    }

    /// The part of one of several workers that share a limit, rounded up: none may be without any.
    public func share(ofWorkers workers: Int) -> CircuitLimits {
        func part(_ limit: UInt32) -> UInt32 {
            let number = UInt64(max(workers, 1))
            return UInt32(truncatingIfNeeded: (UInt64(limit) + number - 1) / number)
        }
        return CircuitLimits(
            connections: part(connections), pending: part(pending), requests: part(requests), retries: part(retries))
    }
}

/// Counts what a cluster does at once, against its limits.
public struct CircuitBreaker: Sendable, BitwiseCopyable {
    public enum Resource: UInt8, CaseIterable, Sendable {
        case connection
        case pending
        case request
        case retry
    }

    /// A lower limit than what is in use lets nothing new begin until enough has ended.
    public var limits: CircuitLimits
    private var used = InlineArray<4, UInt32>(repeating: 0)
    private var refused = InlineArray<4, UInt64>(repeating: 0)

    public init(_ limits: CircuitLimits) { self.limits = limits }

    /// Takes one of a resource.
    ///
    /// - Returns: Whether there was one; if so, ``end(_:)`` must give it back.
    @inline(__always)
    public mutating func begin(_ resource: Resource) -> Bool {
        let index = Int(resource.rawValue)
        if used[index] >= limit(resource) {
            refused[index] &+= 1
            return false
        }
        used[index] &+= 1
        return true
    }

    @inline(__always)
    public mutating func end(_ resource: Resource) {
        let index = Int(resource.rawValue)
        precondition(used[index] > 0, "a circuit's resource was given back twice")
        used[index] &-= 1
    }

    /// How many are in use.
    public func inUse(_ resource: Resource) -> UInt32 { used[Int(resource.rawValue)] }

    /// How often there was none.
    public func refusals(_ resource: Resource) -> UInt64 { refused[Int(resource.rawValue)] }

    @inline(__always)
    private func limit(_ resource: Resource) -> UInt32 {
        switch resource {
        case .connection: limits.connections
        case .pending: limits.pending
        case .request: limits.requests
        case .retry: limits.retries
        }
    }
}

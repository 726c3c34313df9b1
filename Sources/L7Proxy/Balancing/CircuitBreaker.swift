// SPDX-License-Identifier: Apache-2.0

/// How much of a cluster's work a node does at once. What is beyond is answered with 503 at once: an overloaded
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

    @inline(__always)
    subscript(_ resource: CircuitBreaker.Resource) -> UInt32 {
        switch resource {
        case .connection: connections
        case .pending: pending
        case .request: requests
        case .retry: retries
        }
    }
}

/// Counts what a cluster does at once, against its limits.
///
/// One worker's counts, and those of all workers of the node where they share a limit. What nothing limits is counted by
/// the worker alone: no other one's cache is disturbed.
public struct CircuitBreaker: Sendable, BitwiseCopyable {
    public enum Resource: UInt8, CaseIterable, Sendable {
        case connection
        case pending
        case request
        case retry
    }

    /// A lower limit than what is in use lets nothing new begin until enough has ended.
    public var limits: CircuitLimits {
        didSet {
            for resource in Resource.allCases {
                switch (oldValue[resource] < .max, limits[resource] < .max) {
                case (false, true): shared?._withUnsafeGuaranteedRef { $0.add(inUse(resource), of: resource) }
                case (true, false): shared?._withUnsafeGuaranteedRef { $0.remove(inUse(resource), of: resource) }
                default: break
                }
            }
        }
    }
    /// `nil`: the limits are this worker's alone. Kept alive by whoever has joined it.
    private var shared: Unmanaged<NodeCircuit>?
    private var used = InlineArray<4, UInt32>(repeating: 0)
    private var refused = InlineArray<4, UInt64>(repeating: 0)

    public init(_ limits: CircuitLimits) { self.limits = limits }

    /// Takes one of a resource.
    ///
    /// - Returns: Whether there was one; if so, ``end(_:)`` must give it back.
    @inline(__always)
    public mutating func begin(_ resource: Resource) -> Bool {
        let index = Int(resource.rawValue)
        let limit = limits[resource]
        let isFree =
            if limit < .max, let shared {
                shared._withUnsafeGuaranteedRef { $0.begin(resource, limit: limit) }
            } else {
                used[index] < limit
            }
        guard isFree else {
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
        if limits[resource] < .max { shared?._withUnsafeGuaranteedRef { $0.remove(1, of: resource) } }
    }

    /// Counts together with the node's other workers from now on.
    ///
    /// - Parameter circuit: Lives until ``leave()``.
    mutating func join(_ circuit: NodeCircuit) {
        leave()
        shared = Unmanaged.passUnretained(circuit)
        for resource in Resource.allCases where limits[resource] < .max { circuit.add(inUse(resource), of: resource) }
    }

    /// Takes back what is counted with the others. - Precondition: Nothing is begun or ended after it but ``join(_:)``.
    func leave() {
        for resource in Resource.allCases where limits[resource] < .max {
            shared?._withUnsafeGuaranteedRef { $0.remove(inUse(resource), of: resource) }
        }
    }

    /// How many are in use here.
    public func inUse(_ resource: Resource) -> UInt32 { used[Int(resource.rawValue)] }

    /// How often there was none.
    public func refusals(_ resource: Resource) -> UInt64 { refused[Int(resource.rawValue)] }
}

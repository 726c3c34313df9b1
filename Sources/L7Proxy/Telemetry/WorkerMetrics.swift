// SPDX-License-Identifier: Apache-2.0

/// The counters of one worker: plain integers that nobody else touches.
///
/// Counting allocates nothing and shares nothing: all memory is there from the beginning. Another thread asks the worker
/// for a ``snapshot()``, between two events.
public struct WorkerMetrics: ~Copyable {
    /// A flow of ``MetricFlow`` in this worker, to be kept with a connection.
    public struct FlowNumber: Hashable, Sendable, BitwiseCopyable {
        let index: Int32
    }

    /// Upper bounds of Envoy's histograms, of which Istio's dashboards are made: milliseconds or bytes. One in 2 is 0.5.
    static let doubledBounds: InlineArray<19, UInt64> = [
        1, 2, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 60_000, 120_000, 600_000, 1_200_000,
        3_600_000, 7_200_000,
    ]
    /// A series: requests, then for duration, request and response bytes a sum and a count for each bucket.
    static let bucketCount = 20
    static let histogramLength = 1 + bucketCount
    static let seriesLength = 1 + 3 * histogramLength

    /// What tells the series of a flow apart.
    struct Key: Hashable, Sendable, BitwiseCopyable {
        let flow: Int32
        let kind: RequestSample.Kind
        let grpcStatus: Int8
        let status: UInt16
        let reason: UInt8

        var hash: UInt64 {
            let packed =
                UInt64(UInt32(bitPattern: flow)) << 32 | UInt64(status) << 16 | UInt64(UInt8(bitPattern: grpcStatus))
                << 8
                | UInt64(reason) << 1 | UInt64(kind.rawValue)
            // The finalizer of SplitMix64.
            var mixed = (packed ^ packed >> 30) &* 0xbf58_476d_1ce4_e5b9
            mixed = (mixed ^ mixed >> 27) &* 0x94d0_49bb_1331_11eb
            return mixed ^ mixed >> 31
        }
    }

    /// TCP connections of a flow.
    struct Connections: Sendable, BitwiseCopyable {
        var opened: UInt64 = 0
        var closed: UInt64 = 0
        /// That never got one to a backend.
        var failed: UInt64 = 0
        var sent: UInt64 = 0
        var received: UInt64 = 0
    }

    private let seriesLimit: Int
    private let flowLimit: Int
    private var flows: [MetricFlow: FlowNumber] = [:]
    private var flowLabels: [String] = []
    /// The last one is for flows beyond the limit.
    private var connections: [Connections]
    /// Index of a series or -1; a power of two, at most half of them used.
    private var slots: [Int32]
    private var keys: [Key] = []
    /// The last one is for what is beyond the limit.
    private var values: [UInt64]
    private var overflows: UInt64 = 0
    /// Copies for mirrors, by the reason of their end.
    private var mirrors = [UInt64](repeating: 0, count: ReplyReason.allCases.count)

    /// - Parameters:
    ///   - seriesLimit: of requests. What does not fit is counted in one series whose labels are `overflow`: who can
    ///     make up labels must not be able to take memory. A series takes 512 bytes.
    ///   - flowLimit: pairs of ends, likewise.
    public init(seriesLimit: Int = 4096, flowLimit: Int = 4096) {
        precondition(seriesLimit > 0 && flowLimit > 0 && seriesLimit < 1 << 24, "limits of metrics must be positive")
        self.seriesLimit = seriesLimit
        self.flowLimit = flowLimit
        connections = [Connections](repeating: Connections(), count: flowLimit + 1)
        var capacity = 2
        while capacity < 2 * seriesLimit { capacity *= 2 }
        slots = [Int32](repeating: -1, count: capacity)
        keys.reserveCapacity(seriesLimit)
        values = [UInt64](repeating: 0, count: (seriesLimit + 1) * Self.seriesLength)
    }

    /// The number of a flow, equal for equal flows. Allocates if the flow is new.
    public mutating func number(of flow: MetricFlow) -> FlowNumber {
        if let known = flows[flow] { return known }
        guard flowLabels.count < flowLimit else {
            overflows += 1
            return FlowNumber(index: Int32(flowLimit))
        }
        let number = FlowNumber(index: Int32(flowLabels.count))
        flows[flow] = number
        flowLabels.append(flow.labels)
        return number
    }

    // MARK: Counting

    public mutating func count(_ request: RequestSample, of flow: FlowNumber) {
        let key = Key(
            flow: flow.index, kind: request.kind, grpcStatus: request.grpcStatus, status: request.status,
            reason: request.reason.rawValue)
        let base = series(key) * Self.seriesLength
        values[base] &+= 1
        add(request.duration, base + 1)
        add(request.requestBytes, base + 1 + Self.histogramLength)
        add(request.responseBytes, base + 1 + 2 * Self.histogramLength)
    }

    /// Counts a copy of a request, of which nothing else is counted: its client has asked once.
    public mutating func countMirror(_ reason: ReplyReason) { mirrors[Int(reason.rawValue)] &+= 1 }

    public mutating func countOpened(of flow: FlowNumber) { connections[Int(flow.index)].opened &+= 1 }

    public mutating func countClosed(of flow: FlowNumber) { connections[Int(flow.index)].closed &+= 1 }

    public mutating func countFailed(of flow: FlowNumber) { connections[Int(flow.index)].failed &+= 1 }

    /// Bytes as the server sees them, on both sides: received are those that the client sent.
    public mutating func count(sent: UInt64, received: UInt64, of flow: FlowNumber) {
        connections[Int(flow.index)].sent &+= sent
        connections[Int(flow.index)].received &+= received
    }

    private mutating func series(_ key: Key) -> Int {
        var slot = Int(truncatingIfNeeded: key.hash) & (slots.count - 1)
        while slots[slot] >= 0 {
            if keys[Int(slots[slot])] == key { return Int(slots[slot]) }
            slot = (slot + 1) & (slots.count - 1)
        }
        guard keys.count < seriesLimit else {
            overflows &+= 1
            return seriesLimit
        }
        slots[slot] = Int32(keys.count)
        keys.append(key)
        return keys.count - 1
    }

    private mutating func add(_ value: UInt64, _ histogram: Int) {
        values[histogram] &+= value
        var bucket = 0
        while bucket < Self.bucketCount - 1 {
            let bound = Self.doubledBounds[bucket]
            // Without doubling the value, which might not fit: value <= bound / 2.
            if value <= bound / 2 { break }
            bucket += 1
        }
        values[histogram + 1 + bucket] &+= 1
    }

    // MARK: Reading

    /// What was counted so far. Allocates, and copies, so that the next count does not.
    public func snapshot() -> MetricsSnapshot {
        let used = keys.count * Self.seriesLength
        let overflow = seriesLimit * Self.seriesLength
        return MetricsSnapshot(
            flowLabels: flowLabels.map { $0 }, connections: connections.prefix(flowLabels.count).map { $0 },
            overflowConnections: connections[flowLimit], keys: keys.map { $0 }, values: values[..<used].map { $0 },
            overflowValues: values[overflow..<overflow + Self.seriesLength].map { $0 }, overflows: overflows,
            mirrors: mirrors.map { $0 })
    }
}

/// The counters of a worker at one time.
public struct MetricsSnapshot: Sendable {
    let flowLabels: [String]
    let connections: [WorkerMetrics.Connections]
    let overflowConnections: WorkerMetrics.Connections
    let keys: [WorkerMetrics.Key]
    let values: [UInt64]
    let overflowValues: [UInt64]
    /// Times that something was counted without its own labels.
    public let overflows: UInt64
    let mirrors: [UInt64]
}

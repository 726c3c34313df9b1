// SPDX-License-Identifier: Apache-2.0

import Identity
import L7Proxy
import LinuxIO
import MeshModel
import ProxyProtocol

/// Tells the log and the metrics what became of tunnels. Belongs to the worker's thread.
final class TunnelSink: HBONESink {
    /// Bytes of lines of a turn; a tunnel is too seldom for more.
    private static let capacity = 64 << 10
    private static let lineCapacity = 8 << 10
    private static let flowLimit = 1024

    private let gate: TunnelGate
    private let failures: TunnelFailures
    private let complaints: Complaints
    private let log: AccessLog?
    private let writer: AccessLogWriter
    private let lines: UnsafeMutableRawBufferPointer
    private var used = 0
    private var count: UInt64 = 0
    private var counters = WorkerMetrics(seriesLimit: 1, flowLimit: flowLimit)

    /// - Parameter log: `nil`: no line is written.
    init(
        _ gate: TunnelGate, _ failures: TunnelFailures, _ complaints: Complaints,
        log: (log: AccessLog, form: AccessLogWriter.Form)?
    ) {
        self.gate = gate
        self.failures = failures
        self.complaints = complaints
        self.log = log?.log
        writer = AccessLogWriter(log?.form ?? .json)
        lines = .allocate(byteCount: Self.capacity, alignment: 16)
    }

    deinit { lines.deallocate() }

    override func opened(_ record: HBONERecord) -> WorkerMetrics.FlowNumber? {
        // What a worker of requests carries through it, requests or not, that worker counts.
        guard !record.isHandedOn else { return nil }
        let flow = flow(record)
        counters.countOpened(of: flow)
        return flow
    }

    override func record(_ record: HBONERecord) {
        if let flow = record.flow {
            counters.countClosed(of: flow)
            // As the server sees them.
            let (client, server) =
                record.direction == .outbound
                ? (record.received, record.sent) : (record.sent, record.received)
            counters.count(sent: server, received: client, of: flow)
        }
        if record.reason != .finished { failures.add(.tunnel, record.direction, record.reason) }
        write(record)
    }

    override func failed(_ failure: HBONEFailure) {
        failures.add(.connection, failure.direction, failure.reason)
        complaints.add(.tunnel, text(failure))
    }

    /// Names both pods: what lies between them is to be looked at.
    private func text(_ failure: HBONEFailure) -> String {
        let plan = gate.plan
        func name(_ address: IPAddress) -> String { plan?.workload(at: address).map { "\($0.name), " } ?? "" }
        let own = "\(name(failure.local))\(failure.local)"
        let other = "\(name(failure.address))\(SocketEndpoint(failure.address, failure.port))"
        let (source, destination) = failure.direction == .inbound ? (other, own) : (own, other)
        return "connection for tunnels from (\(source)) to (\(destination)): \(failure.reason.text)"
            + (failure.detail.map { ": \($0)" } ?? "")
    }

    override func turnEnded() {
        log?.append(UnsafeRawBufferPointer(rebasing: lines[..<used]), lines: count)
        (used, count) = (0, 0)
    }

    override func metrics() -> MetricsSnapshot? { counters.snapshot() }

    // MARK: - Metrics

    private func flow(_ record: HBONERecord) -> WorkerMetrics.FlowNumber {
        let plan = gate.plan
        let domain = plan?.snapshot.trustDomain
        var flow = MetricFlow(
            reporter: record.direction == .inbound ? .destination : .source,
            source: MetricNames.peer(plan?.workload(at: record.source), provedIn: domain),
            destination: MetricNames.peer(plan?.workload(at: record.destination), provedIn: domain),
            security: .mutualTLS)
        // Only our own clients' word: what a peer says of the Service is nobody's proof.
        if record.direction == .outbound, let service = record.service {
            let parts = service.split(separator: ".", maxSplits: 2)
            flow.service = service
            if parts.count == 3 { (flow.serviceName, flow.serviceNamespace) = (String(parts[0]), String(parts[1])) }
        }
        return counters.number(of: flow)
    }

    // MARK: - Log

    private func write(_ record: HBONERecord) {
        guard log != nil else { return }
        if Self.capacity - used < Self.lineCapacity { turnEnded() }
        let plan = gate.plan
        var line = AccessLogRecord()
        let age = SystemClock.monotonic &- record.startedAt
        line.startTime = (SystemClock.wall &- age) / 1000
        line.duration = (record.endedAt &- record.startedAt) / 1_000_000
        line.tunnelEnd = record.reason.name
        line.direction = record.direction == .inbound ? .inbound : .outbound
        // As the pod sees it whose proxy this is.
        (line.bytesSent, line.bytesReceived) = (record.received, record.sent)
        let (own, peer) = (record.identity?.description ?? "", record.peer?.description ?? "")
        let (client, server) = record.direction == .outbound ? (own, peer) : (peer, own)
        let source = plan?.workload(at: record.source)?.name
        let destination = plan?.workload(at: record.destination)?.name
        let texts = [
            SocketEndpoint(record.source, record.sourcePort).description,
            SocketEndpoint(record.destination, record.port).description, source?.name ?? "", source?.namespace ?? "",
            destination?.name ?? "", destination?.namespace ?? "", client, server, record.service ?? "",
            record.reason == .finished ? "" : "\(record.reason.text)" + (record.detail.map { ": \($0)" } ?? ""),
        ]
        Self.withBytes(of: texts) { bytes in
            line.source.address = bytes[0]
            line.destination.address = bytes[1]
            (line.source.workload, line.source.namespace) = (bytes[2], bytes[3])
            (line.destination.workload, line.destination.namespace) = (bytes[4], bytes[5])
            (line.source.identity, line.destination.identity) = (bytes[6], bytes[7])
            line.service = bytes[8]
            line.detail = bytes[9]
            used += writer.write(line, into: UnsafeMutableRawBufferPointer(rebasing: lines[used...]))
        }
        count += 1
    }

    /// Lends the bytes of texts; of an empty one `nil`.
    private static func withBytes(of texts: [String], _ body: ([UnsafeRawBufferPointer?]) -> Void) {
        var all: [UInt8] = []
        var ranges: [Range<Int>] = []
        for text in texts {
            let start = all.count
            all.append(contentsOf: text.utf8)
            ranges.append(start..<all.count)
        }
        all.withUnsafeBytes { memory in
            body(ranges.map { $0.isEmpty ? nil : UnsafeRawBufferPointer(rebasing: memory[$0]) })
        }
    }
}

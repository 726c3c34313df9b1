// SPDX-License-Identifier: Apache-2.0

import L7Proxy
import LinuxIO

/// Makes a line of each request of one worker. Lines are collected for a turn of the worker's loop; nothing is
/// allocated for one.
final class AccessLogSink: RequestSink {
    /// Room for all lines of most turns; what does not fit goes on earlier.
    private static let capacity = 64 * 1024
    /// Every line fits whose values are not unusual; others are cut by the writer.
    private static let lineCapacity = 4096
    /// Snapshots whose rules still have names: a request that began before them is logged without its route.
    private static let kept = 4

    private let log: AccessLog
    private let writer: AccessLogWriter
    private let lines: UnsafeMutableRawBufferPointer
    private let scratch: UnsafeMutableRawBufferPointer
    private var used = 0
    private var count: UInt64 = 0
    /// The newest is the last.
    private var snapshots: [ProxySnapshot] = []

    init(_ log: AccessLog, _ form: AccessLogWriter.Form) {
        self.log = log
        writer = AccessLogWriter(form)
        lines = .allocate(byteCount: Self.capacity, alignment: 16)
        scratch = .allocate(byteCount: 3 * EndpointText.longest, alignment: 16)
    }

    deinit {
        lines.deallocate()
        scratch.deallocate()
    }

    override func published(_ snapshot: ProxySnapshot) {
        if snapshots.count == Self.kept { snapshots.removeFirst() }
        snapshots.append(snapshot)
    }

    override func turnEnded() {
        log.append(UnsafeRawBufferPointer(rebasing: lines[..<used]), lines: count)
        (used, count) = (0, 0)
    }

    override func record(_ record: borrowing RequestRecord, _ text: borrowing RequestText) {
        if Self.capacity - used < Self.lineCapacity { turnEnded() }
        var line = AccessLogRecord()
        describe(record, in: &line)
        if let message = text.message {
            line.method = text.head.methodRange.bytes(in: message)
            line.path = text.head.target.bytes(in: message)
            line.authority = text.head.authority.bytes(in: message)
            for field in text.fields {
                let value = field.valueRange.bytes(in: message)
                switch field.name {
                case .userAgent: line.userAgent = value
                case .xRequestId: line.requestID = value
                case .xForwardedFor: line.forwardedFor = value
                case .traceparent: line.traceID = TraceContext.traceID(of: value)
                default: break
                }
            }
        }
        used += writer.write(line, into: UnsafeMutableRawBufferPointer(rebasing: lines[used...]))
        count += 1
    }

    private func describe(_ record: borrowing RequestRecord, in line: inout AccessLogRecord) {
        let origin = record.origin
        let age = SystemClock.monotonic &- record.startedAt
        line.startTime = (SystemClock.wall &- age) / 1000
        line.status = record.status
        if record.grpcStatus >= 0 { line.grpcStatus = UInt32(record.grpcStatus) }
        if record.flags.contains(.http2) { line.protocolName = "HTTP/2" }
        if record.flags.contains(.tcp) {
            line.isConnection = true
            line.protocolName = record.flags.contains(.tls) ? "TLS" : "TCP"
        }
        line.isMirror = record.flags.contains(.mirror)
        line.reason = ReplyReason(record.reason)
        line.duration = (record.endedAt &- record.startedAt) / 1_000_000
        if record.answeredAt > 0 { line.upstreamDuration = (record.answeredAt &- record.sentAt) / 1_000_000 }
        line.attempts = UInt32(record.attempts)
        if record.flags.contains(.dryRunDiffers) {
            line.dryRun = record.reason == .denied ? "allowed" : "denied"
        } else if record.flags.contains(.dryRunLimited) {
            line.dryRun = "rate_limited"
        }
        line.source.address = address(0) { EndpointText.write(origin.client, origin.clientPort, into: $0) }
        line.destination.address = address(1) {
            EndpointText.write(origin.destination, origin.destinationPort, into: $0)
        }
        let endpoint = record.endpoint
        if record.attempts > 0 {
            line.upstreamAddress = address(2) { EndpointText.write(endpoint.address, endpoint.port, into: $0) }
        }
        // As the pod sees it whose proxy this is.
        switch origin.direction {
        case .outbound:
            line.direction = .outbound
            (line.bytesSent, line.bytesReceived) = (record.requestBytes, record.responseBytes)
        case .inbound:
            line.direction = .inbound
            (line.bytesSent, line.bytesReceived) = (record.responseBytes, record.requestBytes)
        }
        guard let newest = snapshots.last else { return }
        line.service = newest.serviceText(origin)
        let sender =
            origin.isProved ? newest.remotePodText(origin.client) : newest.workloadText(origin.sourceNetwork)
        if let source = sender {
            (line.source.workload, line.source.namespace) = (source.name, source.namespace)
        }
        if origin.direction == .inbound, let pod = newest.workloadText(origin.network) {
            (line.destination.workload, line.destination.namespace) = (pod.name, pod.namespace)
        }
        let generation = record.generation
        if let snapshot = snapshots.last(where: { $0.generation == generation }) {
            line.route = snapshot.ruleText(record.rule)
            line.decidedBy = snapshot.decisionText(record.decision)
        }
    }

    private func address(
        _ place: Int, _ write: (UnsafeMutableRawBufferPointer) -> UnsafeRawBufferPointer
    ) -> UnsafeRawBufferPointer {
        let start = place * EndpointText.longest
        return write(UnsafeMutableRawBufferPointer(rebasing: scratch[start..<start + EndpointText.longest]))
    }
}

// SPDX-License-Identifier: Apache-2.0

import L7Proxy
import MeshModel

/// Counts the requests of one worker under Istio's names, and hands records on to the access log if there is one.
///
/// Names of both ends are looked up once for each pair in each snapshot, and found in a small table afterwards.
final class MetricsSink: RequestSink {
    /// Pairs that the table holds; a power of two. Another pair in the same place is looked up again.
    private static let places = 1024
    /// Half a kilobyte of memory each, and some 40 KB of the page.
    private static let seriesLimit = 1024

    private struct Place: BitwiseCopyable {
        /// Of the snapshot; 0: nothing is here.
        var generation: UInt64 = 0
        var network: UInt64 = 0
        /// Of a pod of another node, which has no network here.
        var clientHigh: UInt64 = 0
        var clientLow: UInt64 = 0
        var destinationNetwork: UInt64 = 0
        var high: UInt64 = 0
        var low: UInt64 = 0
        var service: Int32 = -1
        var isProved = false
        var flow: WorkerMetrics.FlowNumber?

        func isSame(_ other: Place) -> Bool {
            generation == other.generation && network == other.network
                && clientHigh == other.clientHigh && clientLow == other.clientLow
                && destinationNetwork == other.destinationNetwork && high == other.high && low == other.low
                && service == other.service && isProved == other.isProved
        }

        var index: Int {
            var hash = low ^ (high &* 0x9e37_79b9_7f4a_7c15) ^ ((network ^ clientLow) &* 0xc2b2_ae3d_27d4_eb4f)
            hash = (hash ^ UInt64(truncatingIfNeeded: service)) &* 0xff51_afd7_ed55_8ccd
            return Int(truncatingIfNeeded: hash >> 40) & (MetricsSink.places - 1)
        }
    }

    private let log: AccessLogSink?
    private var counters = WorkerMetrics(seriesLimit: seriesLimit)
    private let table: UnsafeMutablePointer<Place>
    private var names: MetricNames?

    init(log: AccessLogSink?) {
        self.log = log
        table = .allocate(capacity: Self.places)
        table.initialize(repeating: Place(), count: Self.places)
    }

    deinit { table.deallocate() }

    override func published(_ snapshot: ProxySnapshot) {
        names = MetricNames(snapshot)
        log?.published(snapshot)
    }

    override func turnEnded() { log?.turnEnded() }

    override func metrics() -> MetricsSnapshot? { counters.snapshot() }

    override func record(_ record: borrowing RequestRecord, _ text: borrowing RequestText) {
        if record.flags.contains(.mirror) {
            counters.countMirror(ReplyReason(record.reason))
            log?.record(record, text)
            return
        }
        if record.flags.contains(.tcp) {
            if record.sentAt == 0 { counters.countFailed(of: flow(record)) }
            log?.record(record, text)
            return
        }
        var isCall = false
        if let message = text.message {
            for field in text.fields where field.name == .contentType {
                isCall = GRPCRequest.isContentType(field.valueRange.bytes(in: message))
            }
        }
        let sample = RequestSample(
            kind: isCall ? .grpc : .http, status: record.status, grpcStatus: record.grpcStatus,
            reason: ReplyReason(record.reason),
            duration: (record.endedAt &- record.startedAt) / 1_000_000, requestBytes: record.requestBytes,
            responseBytes: record.responseBytes)
        counters.count(sample, of: flow(record))
        log?.record(record, text)
    }

    override func relayOpened(_ record: borrowing RequestRecord) -> WorkerMetrics.FlowNumber? {
        let number = flow(record)
        counters.countOpened(of: number)
        return number
    }

    override func relayMoved(_ flow: WorkerMetrics.FlowNumber, sent: UInt64, received: UInt64) {
        counters.count(sent: sent, received: received, of: flow)
    }

    override func relayClosed(_ flow: WorkerMetrics.FlowNumber) { counters.countClosed(of: flow) }

    private func flow(_ record: borrowing RequestRecord) -> WorkerMetrics.FlowNumber {
        let origin = record.origin
        let isInbound = origin.direction == .inbound
        let address = record.attempts > 0 ? record.endpoint.address : origin.destination
        let isProved = names?.isProved(record) ?? false
        var wanted = Place(
            generation: record.generation,
            network: origin.sourceNetwork, clientHigh: origin.isProved ? origin.client.high : 0,
            clientLow: origin.isProved ? origin.client.low : 0,
            destinationNetwork: isInbound ? origin.network : 0, high: address.high, low: address.low,
            service: record.service, isProved: isProved)
        let index = wanted.index
        if table[index].isSame(wanted), let flow = table[index].flow { return flow }
        let flow = counters.number(
            of: names?.flow(copy record, address, isProved: isProved) ?? MetricNames.unknown(origin.direction))
        wanted.flow = flow
        table[index] = wanted
        return flow
    }
}

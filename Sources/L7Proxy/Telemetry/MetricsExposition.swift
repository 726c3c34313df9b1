// SPDX-License-Identifier: Apache-2.0

/// Writes the counters of all workers as Prometheus reads them: text format 0.0.4.
/// https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
public struct MetricsExposition {
    public static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    private static let overflowLabels = MetricFlow.overflowLabels
    private static let bounds = [
        "0.5", "1", "5", "10", "25", "50", "100", "250", "500", "1000", "2500", "5000", "10000", "30000", "60000",
        "300000", "600000", "1800000", "3600000", "+Inf",
    ]

    /// Sums by the labels of the series.
    private var requests: [String: [UInt64]] = [:]
    private var connections: [String: WorkerMetrics.Connections] = [:]
    private var overflows: UInt64 = 0
    private var mirrors = [UInt64](repeating: 0, count: ReplyReason.allCases.count)

    public init(_ workers: [MetricsSnapshot]) {
        for worker in workers { add(worker) }
    }

    private mutating func add(_ worker: MetricsSnapshot) {
        overflows &+= worker.overflows
        for (index, count) in worker.mirrors.enumerated() { mirrors[index] &+= count }
        let length = WorkerMetrics.seriesLength
        for (index, key) in worker.keys.enumerated() {
            let flow = Int(key.flow) < worker.flowLabels.count ? worker.flowLabels[Int(key.flow)] : Self.overflowLabels
            add(worker.values[index * length..<(index + 1) * length], "\(flow),\(key.labels)")
        }
        if worker.overflowValues[0] > 0 {
            add(worker.overflowValues[...], "\(Self.overflowLabels),\(WorkerMetrics.Key.overflowLabels)")
        }
        for (labels, connections) in zip(worker.flowLabels, worker.connections) { add(connections, labels) }
        add(worker.overflowConnections, Self.overflowLabels)
    }

    private mutating func add(_ values: ArraySlice<UInt64>, _ labels: String) {
        var sums = requests[labels] ?? [UInt64](repeating: 0, count: values.count)
        for (index, value) in values.enumerated() { sums[index] &+= value }
        requests[labels] = sums
    }

    private mutating func add(_ more: WorkerMetrics.Connections, _ labels: String) {
        guard more.opened > 0 || more.closed > 0 || more.failed > 0 || more.sent > 0 || more.received > 0 else {
            return
        }
        var sum = connections[labels] ?? WorkerMetrics.Connections()
        sum.opened &+= more.opened
        sum.closed &+= more.closed
        sum.failed &+= more.failed
        sum.sent &+= more.sent
        sum.received &+= more.received
        connections[labels] = sum
    }

    /// The page, in an order that does not vary.
    public func text() -> String {
        var page = ""
        let series = requests.sorted { $0.key < $1.key }
        Self.header("istio_requests_total", "counter", "Requests.", &page)
        for (labels, values) in series { page += "istio_requests_total{\(labels)} \(values[0])\n" }
        let histograms = [
            (
                "istio_request_duration_milliseconds",
                "Milliseconds from the first byte of a request to the last of its response."
            ),
            ("istio_request_bytes", "Bytes of the bodies of requests."),
            ("istio_response_bytes", "Bytes of the bodies of responses."),
        ]
        for (number, (name, help)) in histograms.enumerated() {
            Self.header(name, "histogram", help, &page)
            for (labels, values) in series {
                let first = 1 + number * WorkerMetrics.histogramLength
                Self.histogram(name, labels, values[first..<first + WorkerMetrics.histogramLength], &page)
            }
        }
        let flows = connections.sorted { $0.key < $1.key }
        let counters: [(String, String, KeyPath<WorkerMetrics.Connections, UInt64>)] = [
            ("istio_tcp_connections_opened_total", "Connections opened.", \.opened),
            ("istio_tcp_connections_closed_total", "Connections closed.", \.closed),
            ("istio_tcp_connections_failed_total", "Connections that were refused or not made.", \.failed),
            ("istio_tcp_sent_bytes_total", "Bytes that servers sent.", \.sent),
            ("istio_tcp_received_bytes_total", "Bytes that servers received.", \.received),
        ]
        for (name, help, value) in counters {
            Self.header(name, "counter", help, &page)
            for (labels, sums) in flows {
                page += "\(name){\(labels),request_protocol=\"tcp\",response_flags=\"-\"} \(sums[keyPath: value])\n"
            }
        }
        let copies = "sockmesh_proxy_mirrored_requests_total"
        Self.header(copies, "counter", "Copies of requests for mirrors, by how they ended.", &page)
        for reason in ReplyReason.allCases where mirrors[Int(reason.rawValue)] > 0 {
            page += "\(copies){reason=\"\(reason.text)\"} \(mirrors[Int(reason.rawValue)])\n"
        }
        let name = "sockmesh_proxy_metric_overflows_total"
        Self.header(
            name, "counter", "Times that something was counted without its own labels, for want of room.", &page)
        return page + "\(name) \(overflows)\n"
    }

    private static func header(_ name: String, _ type: String, _ help: String, _ page: inout String) {
        page += "# HELP \(name) \(help)\n# TYPE \(name) \(type)\n"
    }

    /// - Parameter values: The sum, then the count of each bucket alone.
    private static func histogram(_ name: String, _ labels: String, _ values: ArraySlice<UInt64>, _ page: inout String)
    {
        var count: UInt64 = 0
        for (bound, bucket) in zip(bounds, values.dropFirst()) {
            count &+= bucket
            page += "\(name)_bucket{\(labels),le=\"\(bound)\"} \(count)\n"
        }
        page += "\(name)_sum{\(labels)} \(values[values.startIndex])\n\(name)_count{\(labels)} \(count)\n"
    }
}

extension MetricFlow {
    fileprivate static var overflowLabels: String {
        var peer = MetricPeer()
        peer.workload = "overflow"
        var flow = MetricFlow(reporter: .destination, source: peer, destination: peer, security: .unknown)
        flow.service = "overflow"
        return flow.labels
    }
}

extension WorkerMetrics.Key {
    fileprivate static let overflowLabels =
        "request_protocol=\"unknown\",response_code=\"0\",grpc_response_status=\"\",response_flags=\"overflow\""

    fileprivate var labels: String {
        let flags = ReplyReason(rawValue: reason)?.responseFlags.description ?? "-"
        return "request_protocol=\"\(kind.text)\",response_code=\"\(status)\","
            + "grpc_response_status=\"\(grpcStatus < 0 ? "" : String(grpcStatus))\",response_flags=\"\(flags)\""
    }
}

// SPDX-License-Identifier: Apache-2.0

import L7Proxy
import Testing

@Suite struct MetricsTests {
    private static func flow(_ workload: String = "web") -> MetricFlow {
        var source = MetricPeer()
        source.workload = "db"
        source.principal = "spiffe://cluster.local/ns/shop/sa/db"
        var destination = MetricPeer()
        destination.workload = workload
        var flow = MetricFlow(reporter: .destination, source: source, destination: destination, security: .mutualTLS)
        flow.service = "web.shop.svc.cluster.local"
        return flow
    }

    private static func sample(
        status: UInt16 = 200, grpc: Int8 = -1, reason: ReplyReason = .none, duration: UInt64 = 3
    ) -> RequestSample {
        RequestSample(
            kind: grpc < 0 ? .http : .grpc, status: status, grpcStatus: grpc, reason: reason, duration: duration,
            requestBytes: 10, responseBytes: 2_000_000)
    }

    @Test func counts() throws {
        var worker = WorkerMetrics(seriesLimit: 8, flowLimit: 4)
        let web = worker.number(of: Self.flow())
        #expect(web == worker.number(of: Self.flow()) && web != worker.number(of: Self.flow("db")))
        for duration: UInt64 in [0, 1, 2, 10, 3_600_000, 3_600_001, 10_000_000] {
            worker.count(Self.sample(duration: duration), of: web)
        }
        worker.count(Self.sample(status: 200, grpc: 7, reason: .policyDenied), of: web)
        worker.countOpened(of: web)
        worker.count(sent: 5, received: 7, of: web)
        worker.count(sent: 6, received: 0, of: web)
        // Two workers are one to who reads.
        let page = try PrometheusPage(MetricsExposition([worker.snapshot(), worker.snapshot()]).text())
        let plain: [String: String] = [
            "reporter": "destination", "source_workload": "db", "destination_workload": "web",
            "destination_service": "web.shop.svc.cluster.local", "response_code": "200", "request_protocol": "http",
            "response_flags": "-", "grpc_response_status": "", "connection_security_policy": "mutual_tls",
            "source_principal": "spiffe://cluster.local/ns/shop/sa/db", "destination_principal": "unknown",
        ]
        #expect(page.value("istio_requests_total", plain) == 14)
        #expect(page.value("istio_requests_total", ["grpc_response_status": "7", "response_flags": "UAEX"]) == 2)
        let duration = "istio_request_duration_milliseconds"
        let buckets: [(String, Double)] = [
            ("0.5", 2), ("1", 4), ("5", 6), ("10", 8), ("1800000", 8), ("3600000", 10), ("+Inf", 14),
        ]
        for (bound, count) in buckets {
            var labels = plain
            labels["le"] = bound
            #expect(page.value(duration + "_bucket", labels) == count, "\(bound)")
        }
        #expect(page.value(duration + "_count", plain) == 14)
        #expect(page.value(duration + "_sum", plain) == 34_400_028)
        #expect(page.value("istio_response_bytes_sum", plain) == 28_000_000)
        #expect(page.value("istio_tcp_sent_bytes_total", ["destination_workload": "web"]) == 22)
        #expect(page.value("istio_tcp_received_bytes_total", ["destination_workload": "web"]) == 14)
        #expect(page.value("istio_tcp_connections_opened_total", ["request_protocol": "tcp"]) == 2)
        #expect(page.value("istio_tcp_connections_closed_total", [:]) == 0)
        #expect(page.value("sockmesh_proxy_metric_overflows_total", [:]) == 0)
    }

    /// Whoever makes up labels takes no memory, and nothing is lost but the labels.
    @Test func limits() throws {
        var worker = WorkerMetrics(seriesLimit: 3, flowLimit: 2)
        for name in ["a", "b", "c", "d"] {
            let flow = worker.number(of: Self.flow(name))
            worker.countOpened(of: flow)
            for status: UInt16 in [200, 404] { worker.count(Self.sample(status: status), of: flow) }
        }
        let snapshot = worker.snapshot()
        let page = try PrometheusPage(MetricsExposition([snapshot]).text())
        let all = page.samples.filter { $0.name == "istio_requests_total" }
        #expect(all.count == 4 && all.reduce(0) { $0 + $1.value } == 8)
        #expect(page.value("istio_requests_total", ["response_flags": "overflow"]) == 5)
        #expect(page.value("istio_tcp_connections_opened_total", ["destination_workload": "overflow"]) == 2)
        // Two flows and five requests.
        #expect(snapshot.overflows == 7)
    }

    @Test func snapshotsStandStill() throws {
        var worker = WorkerMetrics(seriesLimit: 4, flowLimit: 4)
        let flow = worker.number(of: Self.flow())
        worker.count(Self.sample(), of: flow)
        let before = worker.snapshot()
        worker.count(Self.sample(), of: flow)
        #expect(try PrometheusPage(MetricsExposition([before]).text()).value("istio_requests_total", [:]) == 1)
        #expect(
            try PrometheusPage(MetricsExposition([worker.snapshot()]).text()).value("istio_requests_total", [:]) == 2)
    }

    @Test(arguments: ["a\"b\\c\nd", "\\n", "{}=,\"", "é", "\u{0}\r\u{2028}"])
    func labelValuesAreEscaped(_ value: String) throws {
        var worker = WorkerMetrics(seriesLimit: 4, flowLimit: 4)
        worker.count(Self.sample(), of: worker.number(of: Self.flow(value)))
        let page = try PrometheusPage(MetricsExposition([worker.snapshot()]).text())
        let expected = value == "\u{0}\r\u{2028}" ? "???" : value
        #expect(page.value("istio_requests_total", ["destination_workload": expected]) == 1)
    }

    @Test func anEmptyPageIsValid() throws {
        let page = try PrometheusPage(MetricsExposition([]).text())
        #expect(page.samples.count == 1 && page.types.count == 11)
    }
}

/// Reads text format 0.0.4 strictly: every sample after the HELP and TYPE of its family, families together, histograms
/// complete and ascending, no series twice.
struct PrometheusPage {
    struct Sample {
        let name: String
        let labels: [String: String]
        let value: Double
    }

    struct Defect: Error {
        let line: String
    }

    var types: [String: String] = [:]
    var samples: [Sample] = []

    init(_ text: String) throws {
        var family = ""
        var seen: Set<String> = []
        guard text.hasSuffix("\n") else { throw Defect(line: text) }
        for line in text.split(separator: "\n", omittingEmptySubsequences: false).dropLast().map(String.init) {
            let words = line.split(separator: " ", maxSplits: 3).map(String.init)
            if line.hasPrefix("# HELP ") {
                family = words[2]
                guard types[family] == nil, words.count == 4 else { throw Defect(line: line) }
            } else if line.hasPrefix("# TYPE ") {
                guard words[2] == family, types[family] == nil, ["counter", "histogram"].contains(words[3]) else {
                    throw Defect(line: line)
                }
                types[family] = words[3]
            } else {
                let sample = try Self.sample(line)
                let suffix = String(sample.name.dropFirst(family.count))
                let suffixes = types[family] == "histogram" ? ["_bucket", "_sum", "_count"] : [""]
                guard sample.name.hasPrefix(family), suffixes.contains(suffix), sample.value >= 0,
                    seen.insert("\(sample.name)\(sample.labels.sorted { $0.key < $1.key })").inserted
                else { throw Defect(line: line) }
                if suffix == "_bucket", let last = samples.last, last.name == sample.name, sample.labels["le"] != "0.5",
                    last.value > sample.value
                {
                    throw Defect(line: line)
                }
                samples.append(sample)
            }
        }
    }

    private static func sample(_ line: String) throws -> Sample {
        var rest = line[...]
        let name = rest.prefix { $0.isLetter || $0 == "_" }
        rest = rest.dropFirst(name.count)
        var labels: [String: String] = [:]
        if rest.first == "{" {
            rest = rest.dropFirst()
            while rest.first != "}" {
                let key = rest.prefix { $0.isLetter || $0 == "_" }
                rest = rest.dropFirst(key.count)
                guard !key.isEmpty, rest.hasPrefix("=\"") else { throw Defect(line: line) }
                rest = rest.dropFirst(2)
                var value = ""
                while let character = rest.popFirst(), character != "\"" {
                    guard character == "\\" else {
                        value.append(character)
                        continue
                    }
                    switch rest.popFirst() {
                    case "n": value += "\n"
                    case "\\": value += "\\"
                    case "\"": value += "\""
                    default: throw Defect(line: line)
                    }
                }
                guard labels.updateValue(value, forKey: String(key)) == nil else { throw Defect(line: line) }
                if rest.first == "," { rest = rest.dropFirst() }
            }
            rest = rest.dropFirst()
        }
        guard rest.first == " ", let value = Double(rest.dropFirst()) else { throw Defect(line: line) }
        return Sample(name: String(name), labels: labels, value: value)
    }

    /// The value of the first series that has these labels among its own.
    func value(_ name: String, _ labels: [String: String]) -> Double? {
        samples.first { sample in
            sample.name == name && labels.allSatisfy { sample.labels[$0.key] == $0.value }
        }?.value
    }
}

// SPDX-License-Identifier: Apache-2.0

/// Asks for the metrics of the agent, and of the proxy that serves: what Prometheus gets.
public struct MetricsRequest: AdminCall {
    public typealias Item = MetricsPart
    public static let method = "metrics"
    public static let access = AdminAccess.read

    public init() {}
}

/// A part of the page: whole lines of Prometheus' text format, which ``ExpositionReader`` reads when all are together.
public struct MetricsPart: Codable, Equatable, Sendable {
    public var text: String

    public init(text: String) {
        self.text = text
    }

    /// A page in parts of about a size that the protocol carries well.
    ///
    /// - Parameter size: bytes of a part; more only where a line is longer.
    public static func parts(of page: [UInt8], size: Int = 256 << 10) -> [MetricsPart] {
        let newline = UInt8(ascii: "\n")
        var parts: [MetricsPart] = []
        var rest = page[...]
        while !rest.isEmpty {
            let end: Int
            if rest.count <= size {
                end = rest.endIndex
            } else if let last = rest.prefix(size).lastIndex(of: newline) {
                end = last + 1
            } else {
                end = rest.firstIndex(of: newline).map { $0 + 1 } ?? rest.endIndex
            }
            parts.append(MetricsPart(text: String(decoding: rest[..<end], as: UTF8.self)))
            rest = rest[end...]
        }
        return parts
    }
}

/// One line of the page.
public struct MetricSample: Codable, Equatable, Sendable {
    /// With the suffix that a histogram's lines have: `istio_request_bytes_bucket`.
    public var name: String
    /// `counter`, `gauge`, `histogram`, `summary` or `untyped`: of the metric that the line is part of.
    public var type: String
    public var labels: [String: String]
    public var value: Double

    public init(name: String, type: String, labels: [String: String] = [:], value: Double) {
        self.name = name
        self.type = type
        self.labels = labels
        self.value = value
    }
}

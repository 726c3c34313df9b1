// SPDX-License-Identifier: Apache-2.0

/// The labels of one end of requests. Made when a configuration is, never for a request.
/// https://istio.io/latest/docs/reference/config/metrics/
public struct MetricPeer: Hashable, Sendable {
    public var workload = ""
    public var namespace = ""
    /// `spiffe://...`; empty unless it is proved.
    public var principal = ""
    public var app = ""
    public var version = ""
    public var cluster = ""
    public var canonicalService = ""
    public var canonicalRevision = ""

    public init() {}

    func labels(_ end: String) -> [(name: String, value: String)] {
        [
            ("\(end)_workload", workload), ("\(end)_workload_namespace", namespace), ("\(end)_principal", principal),
            ("\(end)_app", app), ("\(end)_version", version), ("\(end)_cluster", cluster),
            ("\(end)_canonical_service", canonicalService), ("\(end)_canonical_revision", canonicalRevision),
        ]
    }
}

/// What requests between two ends on one side of the mesh have in common.
public struct MetricFlow: Hashable, Sendable {
    public enum Reporter: String, Sendable {
        case source, destination
    }

    public enum Security: String, Sendable {
        case mutualTLS = "mutual_tls"
        case none
        case unknown
    }

    public var reporter: Reporter
    public var source: MetricPeer
    public var destination: MetricPeer
    /// `web.shop.svc.cluster.local`
    public var service = ""
    public var serviceName = ""
    public var serviceNamespace = ""
    public var security: Security

    public init(reporter: Reporter, source: MetricPeer, destination: MetricPeer, security: Security) {
        self.reporter = reporter
        self.source = source
        self.destination = destination
        self.security = security
    }

    /// What Prometheus has between the braces, for all metrics of the flow. A value that is missing is `unknown`.
    var labels: String {
        let labels =
            [("reporter", reporter.rawValue)] + source.labels("source") + destination.labels("destination") + [
                ("destination_service", service), ("destination_service_name", serviceName),
                ("destination_service_namespace", serviceNamespace),
                ("connection_security_policy", security.rawValue),
            ]
        return labels.map { "\($0.0)=\"\($0.1.isEmpty ? "unknown" : Self.escaped($0.1))\"" }.joined(separator: ",")
    }

    /// Version 0.0.4 of the text format escapes `\`, `"` and line feeds. Other control characters are legal there and
    /// written as `?`, so that a page stays readable; so are line ends that some readers know besides.
    private static func escaped(_ value: String) -> String {
        var result = ""
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\\": result += "\\\\"
            case "\"": result += "\\\""
            case "\n": result += "\\n"
            case "\u{0}"..."\u{1f}", "\u{7f}"..."\u{9f}", "\u{2028}", "\u{2029}": result += "?"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}

/// One request, as the metrics count it.
public struct RequestSample: Sendable, BitwiseCopyable {
    public enum Kind: UInt8, Sendable, BitwiseCopyable {
        case http, grpc

        var text: String { self == .http ? "http" : "grpc" }
    }

    public var kind: Kind
    /// 0: none was sent.
    public var status: UInt16
    /// -1: none.
    public var grpcStatus: Int8
    public var reason: ReplyReason
    /// Milliseconds.
    public var duration: UInt64
    public var requestBytes: UInt64
    public var responseBytes: UInt64

    public init(
        kind: Kind, status: UInt16, grpcStatus: Int8 = -1, reason: ReplyReason = .none, duration: UInt64,
        requestBytes: UInt64, responseBytes: UInt64
    ) {
        self.kind = kind
        self.status = status
        self.grpcStatus = grpcStatus
        self.reason = reason
        self.duration = duration
        self.requestBytes = requestBytes
        self.responseBytes = responseBytes
    }
}

// SPDX-License-Identifier: Apache-2.0
import MeshModel

extension MeshPolicyField {
    /// The value for a person; `nil`: the settings do not have it.
    func text(of settings: MeshPolicySettings) -> String? {
        switch self {
        case .maxConnections: settings.maxConnections.map { "\($0)" }
        case .maxPending: settings.maxPending.map { "\($0)" }
        case .connectTimeout: settings.connectTimeout.map { "\($0)" }
        case .idleTimeout: settings.idleTimeout.map { "\($0)" }
        case .maxRequestHeadersKb: settings.maxRequestHeadersKb.map { "\($0)" }
        case .maxConcurrentStreams: settings.maxConcurrentStreams.map { "\($0)" }
        case .poolPerClient: settings.poolPerClient.map { "\($0)" }
        case .requestTimeout: settings.requestTimeout.map { "\($0)" }
        case .backendRequestTimeout: settings.backendRequestTimeout.map { "\($0)" }
        case .retryBudget:
            settings.retryBudget.map {
                "\($0.percent) % of \($0.interval), and \($0.minimumCount) in \($0.minimumInterval) in any case"
            }
        case .outlierDetection:
            settings.outlierDetection.map {
                "after \($0.consecutiveServerErrors) 5xx, \($0.consecutiveGatewayErrors) gateway errors or "
                    + "\($0.consecutiveConnectFailures) failed connects, for \($0.baseEjectionTime), "
                    + "at most \($0.maxEjectionPercent) %"
            }
        case .algorithm: settings.algorithm.map(\.text)
        case .locality: settings.locality.map(\.rawValue)
        case .rateLimits: settings.rateLimits.map { $0.map(\.text).joined(separator: "; ") }
        case .fault: settings.fault.map(\.text)
        case .protocolOverrides:
            settings.protocolOverrides.map { overrides in
                overrides.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value.rawValue)" }.joined(separator: ", ")
            }
        case .detect: settings.detect.map(\.rawValue)
        case .detectTimeout: settings.detectTimeout.map { "\($0)" }
        }
    }
}

extension MeshPolicySettings.Algorithm {
    fileprivate var text: String {
        switch self {
        case .roundRobin: "RoundRobin"
        case .leastRequest: "LeastRequest"
        case .maglev(.sourceAddress): "Maglev by the client's address"
        case .maglev(.header(let name)): "Maglev by header \(name)"
        }
    }
}

extension MeshPolicySettings.RateLimit {
    var text: String {
        let subject =
            switch key {
            case .route: "for all"
            case .sourceIdentity: "for each client identity"
            case .header(let name): "for each value of header \(name)"
            }
        return "\(requestsPerSecond)/s, burst \(burst), \(subject)"
    }
}

extension MeshPolicySettings.Fault {
    var text: String {
        var words: [String] = []
        if let delay { words.append("delay of \(delay)") }
        switch abort {
        case .httpStatus(let status)?: words.append("answer \(status)")
        case .grpcStatus(let status)?: words.append("answer grpc-status \(status)")
        case nil: break
        }
        return "\(words.joined(separator: ", ")) for \(percent) %"
    }
}

// SPDX-License-Identifier: Apache-2.0

/// Why the proxy itself answered a request, or ended it, instead of passing on what the upstream said.
///
/// The text is stable: it is in access logs (`reason`) and in docs/errors.md, and people search for it. It is never
/// sent to the client.
public enum ReplyReason: UInt8, CaseIterable, Sendable, BitwiseCopyable {
    /// The answer is the upstream's own.
    case none

    // The request.
    case malformedRequest, headerTooLarge, bodyTooLarge, ambiguousPath, expectationFailed, unsupportedUpgrade
    // Decided here.
    case noRoute, invalidRoute, policyDenied, policyPending, rateLimited, circuitOpen, faultAbort, redirected,
        corsPreflight
    case maxForwards, retryBudgetSpent, draining, overloaded
    // The upstream.
    case noHealthyEndpoint, upstreamConnectFailure, upstreamConnectTimeout, upstreamTLSFailure, upstreamReset
    case upstreamProtocolError, requestTimeout, backendRequestTimeout, upstreamIdleTimeout
    // The client.
    case clientReset, clientTimeout
    // A copy of a request.
    case mirrorDropped

    public var text: StaticString {
        switch self {
        case .none: "-"
        case .malformedRequest: "malformed_request"
        case .headerTooLarge: "header_too_large"
        case .bodyTooLarge: "body_too_large"
        case .ambiguousPath: "ambiguous_path"
        case .expectationFailed: "expectation_failed"
        case .unsupportedUpgrade: "unsupported_upgrade"
        case .noRoute: "no_route"
        case .invalidRoute: "invalid_route"
        case .policyDenied: "policy_denied"
        case .policyPending: "policy_pending"
        case .rateLimited: "rate_limited"
        case .circuitOpen: "circuit_open"
        case .faultAbort: "fault_abort"
        case .redirected: "redirected"
        case .corsPreflight: "cors_preflight"
        case .maxForwards: "max_forwards"
        case .retryBudgetSpent: "retry_budget_spent"
        case .draining: "draining"
        case .overloaded: "overloaded"
        case .noHealthyEndpoint: "no_healthy_endpoint"
        case .upstreamConnectFailure: "upstream_connect_failure"
        case .upstreamConnectTimeout: "upstream_connect_timeout"
        case .upstreamTLSFailure: "upstream_tls_failure"
        case .upstreamReset: "upstream_reset"
        case .upstreamProtocolError: "upstream_protocol_error"
        case .requestTimeout: "request_timeout"
        case .backendRequestTimeout: "backend_request_timeout"
        case .upstreamIdleTimeout: "upstream_idle_timeout"
        case .clientReset: "client_reset"
        case .clientTimeout: "client_timeout"
        case .mirrorDropped: "mirror_dropped"
        }
    }

    /// What dashboards made for Istio expect as `response_flags`.
    /// https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage (RESPONSE_FLAGS)
    public var responseFlags: StaticString {
        switch self {
        case .none, .expectationFailed, .unsupportedUpgrade, .redirected, .corsPreflight, .maxForwards: "-"
        case .malformedRequest, .headerTooLarge, .ambiguousPath, .bodyTooLarge: "DPE"
        case .noRoute, .invalidRoute: "NR"
        case .policyDenied, .policyPending: "UAEX"
        case .rateLimited: "RL"
        case .circuitOpen: "UO"
        case .faultAbort: "FI"
        case .retryBudgetSpent: "URX"
        case .draining, .overloaded, .mirrorDropped: "OM"
        case .noHealthyEndpoint: "UH"
        case .upstreamConnectFailure, .upstreamConnectTimeout, .upstreamTLSFailure: "UF"
        case .upstreamReset: "UC"
        case .upstreamProtocolError: "UPE"
        case .requestTimeout, .backendRequestTimeout: "UT"
        case .upstreamIdleTimeout: "SI"
        case .clientReset: "DC"
        case .clientTimeout: "DT"
        }
    }

    /// The gRPC status of the answer to a gRPC request.
    /// https://github.com/grpc/grpc/blob/master/doc/statuscodes.md
    public var grpcStatus: UInt8 {
        switch self {
        case .none, .corsPreflight, .maxForwards: 0
        case .clientReset: 1
        case .malformedRequest, .headerTooLarge, .ambiguousPath, .expectationFailed, .upstreamProtocolError: 13
        case .requestTimeout, .backendRequestTimeout, .clientTimeout, .upstreamIdleTimeout: 4
        case .policyDenied: 7
        case .bodyTooLarge, .rateLimited: 8
        case .noRoute, .unsupportedUpgrade: 12
        case .policyPending, .invalidRoute, .circuitOpen, .faultAbort, .redirected, .retryBudgetSpent, .draining,
            .overloaded, .noHealthyEndpoint, .upstreamConnectFailure, .upstreamConnectTimeout, .upstreamTLSFailure,
            .upstreamReset, .mirrorDropped:
            14
        }
    }
}

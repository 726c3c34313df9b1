// SPDX-License-Identifier: Apache-2.0

extension ReplyReason {
    /// What the log and the metrics call the engine's reason.
    public init(_ code: ReasonCode) {
        self =
            switch code {
            case .forwarded, .tunnelEnded: .none
            case .redirected: .redirected
            case .preflight: .corsPreflight
            case .malformedRequest, .bodyMalformed: .malformedRequest
            case .hopsExhausted: .maxForwards
            case .targetTooLong, .headTooLarge: .headerTooLarge
            case .headTimeout, .bodyTimeout: .clientTimeout
            case .bodyTooLarge: .bodyTooLarge
            case .methodNotSupported: .unsupportedUpgrade
            case .ambiguousPath: .ambiguousPath
            case .denied: .policyDenied
            case .policyPending: .policyPending
            case .rateLimited: .rateLimited
            case .faultInjected: .faultAbort
            case .noRoute, .unknownDestination: .noRoute
            case .ruleNotSupported, .invalidBackend, .noWeight: .invalidRoute
            case .noEndpoint: .noHealthyEndpoint
            case .legRefused, .connectFailed: .upstreamConnectFailure
            case .connectTimeout: .upstreamConnectTimeout
            case .tooManyWaiting, .tooManyConnections, .circuitOpen: .circuitOpen
            case .retryBudgetSpent: .retryBudgetSpent
            case .outOfMemory: .overloaded
            case .backendReset, .responseCut: .upstreamReset
            case .backendMalformed, .responseHeadTooLarge: .upstreamProtocolError
            case .requestTimeout: .requestTimeout
            case .backendTimeout: .backendRequestTimeout
            case .responseStalled: .upstreamIdleTimeout
            case .clientGone: .clientReset
            case .drainDeadline: .draining
            case .mirrorDropped: .mirrorDropped
            }
    }
}

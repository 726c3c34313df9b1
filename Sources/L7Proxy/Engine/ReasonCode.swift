// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// Why a request ended as it did. One per request, in its record; never told to the client, who gets the status.
public enum ReasonCode: UInt8, CaseIterable, Sendable, BitwiseCopyable {
    /// The backend's response was passed on, whatever its status.
    case forwarded
    /// The connection is a tunnel since the backend agreed to an upgrade, and has ended.
    case tunnelEnded

    // Answers of a rule.
    case redirected, preflight

    // The request.
    case malformedRequest, targetTooLong, headTooLarge, headTimeout, bodyMalformed, bodyTimeout, bodyTooLarge
    case methodNotSupported, ambiguousPath, denied, policyPending, rateLimited, faultInjected, hopsExhausted

    // Routing.
    case noRoute, ruleNotSupported, invalidBackend, noWeight, noEndpoint, unknownDestination

    // The way to a backend.
    case legRefused, connectFailed, connectTimeout, tooManyWaiting, tooManyConnections, circuitOpen, retryBudgetSpent
    case outOfMemory

    // The backend.
    case backendReset, backendMalformed, responseHeadTooLarge, requestTimeout, backendTimeout, responseStalled

    // Neither side's answer could be finished.
    case clientGone, responseCut, drainDeadline

    /// A copy for a mirror was too slow, or one too many.
    case mirrorDropped

    /// Of a request that cannot be read.
    init(_ defect: MalformedMessage) {
        self =
            switch defect.requestStatus {
            case 414: .targetTooLong
            case 431: .headTooLarge
            case 501: .methodNotSupported
            default: .malformedRequest
            }
    }

    /// The status of the local reply; 0 if there is none to give. The one table of statuses, but for those of
    /// ``MeshModel/RouteAnswer``: logs and metrics have that of the record.
    public var status: UInt16 {
        switch self {
        case .forwarded, .tunnelEnded, .redirected, .clientGone, .responseCut, .drainDeadline, .mirrorDropped: 0
        case .preflight: RouteAnswer.preflight.status
        case .hopsExhausted: RouteAnswer.hopsExhausted.status
        case .malformedRequest, .bodyMalformed, .ambiguousPath: 400
        case .denied: 403
        case .noRoute: RouteAnswer.noRoute.status
        case .headTimeout, .bodyTimeout: 408
        case .bodyTooLarge: 413
        case .targetTooLong: 414
        case .rateLimited: 429
        case .headTooLarge: 431
        case .ruleNotSupported, .invalidBackend: RouteAnswer.ruleNotSupported.status
        case .noWeight: RouteAnswer.noWeight.status
        case .methodNotSupported: RouteAnswer.methodNotSupported.status
        case .backendReset, .backendMalformed, .responseHeadTooLarge: 502
        case .policyPending, .noEndpoint, .unknownDestination, .legRefused, .connectFailed, .tooManyWaiting,
            .tooManyConnections,
            .circuitOpen, .retryBudgetSpent, .outOfMemory, .faultInjected:
            503
        case .connectTimeout, .requestTimeout, .backendTimeout, .responseStalled: 504
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

extension HBONEReason {
    /// One word, for the access log and the metrics: what they are grouped by.
    public var name: StaticString {
        switch self {
        case .finished: "finished"
        case .refused(let refusal): refusal.name
        case .peerRefused(status: 401): "peer_denied"
        case .peerRefused(status: 503): "peer_unavailable"
        case .peerRefused: "peer_refused"
        case .applicationReset: "application_reset"
        case .peerReset: "peer_reset"
        case .connectionLost: "connection_lost"
        case .peerSilent: "peer_silent"
        case .policyChanged: "policy_changed"
        case .peerRejected: "peer_rejected"
        case .identityGone: "identity_gone"
        case .drained: "drained"
        case .noIdentity: "no_identity"
        case .noSocket: "no_socket"
        case .dialRefused: "dial_refused"
        case .dialTimedOut: "dial_timeout"
        case .handshakeFailed: "handshake_failed"
        case .handshakeTimedOut: "handshake_timeout"
        case .protocolError: "protocol_error"
        case .tooMany: "too_many"
        case .outOfMemory: "out_of_memory"
        }
    }
}

extension HBONERefusal {
    /// As ``HBONEReason/name``.
    public var name: StaticString {
        switch self {
        case .notConnect: "not_connect"
        case .malformedTarget: "malformed_target"
        case .otherAddress: "other_address"
        case .denied: "denied"
        case .unknownWorkload: "unknown_workload"
        case .unknownService: "unknown_service"
        case .unknownPort: "unknown_port"
        case .ownPort: "own_port"
        case .tooMany: "too_many"
        case .connectFailed: "connect_failed"
        case .connectTimedOut: "connect_timeout"
        }
    }
}

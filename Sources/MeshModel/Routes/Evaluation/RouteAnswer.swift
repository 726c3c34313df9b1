// SPDX-License-Identifier: Apache-2.0

/// What is answered instead of a backend because of what routes say of a request, and of the request alone: the same for
/// whoever carries it and for whoever tells what would become of it.
public enum RouteAnswer: Sendable {
    /// Routes are attached, and no rule of them matches.
    case noRoute
    /// The rule has a filter that the mesh does not have.
    case ruleNotSupported
    /// Every backend of the rule has the weight 0.
    case noWeight
    /// A CORS preflight, allowed or not.
    case preflight
    /// OPTIONS that must not be passed on (RFC 9110 section 7.6.2).
    case hopsExhausted
    /// CONNECT, or TRACE that must not be passed on.
    case methodNotSupported

    public var status: UInt16 {
        switch self {
        case .noRoute: 404
        case .ruleNotSupported, .noWeight: 500
        case .preflight, .hopsExhausted: 204
        case .methodNotSupported: 501
        }
    }
}
